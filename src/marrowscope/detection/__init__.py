"""Whole fields: open them, find their cells, flag those that cannot be read."""
