"""Train the network that detects cells on whole fields."""
