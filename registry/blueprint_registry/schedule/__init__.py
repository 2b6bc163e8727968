"""The learning rate through time."""
