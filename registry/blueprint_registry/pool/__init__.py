"""One vector for a whole sequence."""
