"""Blocks: how the parts of a layer are put together."""
