"""Normalisations of the last axis."""
