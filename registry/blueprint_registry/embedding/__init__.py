"""Ids to vectors."""
