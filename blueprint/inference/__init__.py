"""Decoding: what is drawn from a model's distributions, token by token, as ids or as text."""
