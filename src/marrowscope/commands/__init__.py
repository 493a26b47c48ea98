"""The commands, one a file, and what they all share."""
