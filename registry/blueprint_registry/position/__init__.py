"""Positions inside an attention."""
