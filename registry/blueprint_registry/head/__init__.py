"""Hidden states to the output."""
