"""Sentences: what numbers and codes of the packages below mean, in words for people."""
