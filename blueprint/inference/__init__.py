"""Decoding: what is drawn from a model's distributions, token by token, as ids or as text."""

#: New tokens of a text where nothing is said; a command tells it, without torch.
USUAL = 256
