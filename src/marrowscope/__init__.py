"""Train, evaluate and serve classifiers of single bone marrow cell images."""

__version__ = "1.0.0"
