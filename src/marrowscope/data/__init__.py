"""Labelled cells: read them into a manifest, and split it without leaks."""
