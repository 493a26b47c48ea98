"""Figures of merit and the mathematics of counts: numbers in, numbers out."""
