"""The steps by which the tables came to be, each for good once it is released."""
