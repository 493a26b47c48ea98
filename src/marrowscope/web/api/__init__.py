"""The programming interface under `/api/v1`, which the pages use too."""
