"""The token-wise part of a block."""
