"""The bundle, and all that runs its model on pictures."""
