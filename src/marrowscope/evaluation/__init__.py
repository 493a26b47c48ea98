"""Measure a bundle on labelled cells, compare bundles, and show where they fail."""
