"""Files and the bytes of pictures: found, opened, read and written."""
