"""Mixers: how the tokens of a sequence see each other."""
