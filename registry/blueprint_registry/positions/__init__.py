"""Absolute positions, added to the embeddings."""
