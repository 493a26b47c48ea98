"""Classify a folder of cells: predictions, counts and a report in one folder."""
