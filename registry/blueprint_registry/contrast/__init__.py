"""How the vectors of two towers are compared."""
