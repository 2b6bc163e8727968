"""Data for training: text becomes token files, token files become batches whose order is a pure function of a seed."""

from blueprint.training.data.error import DataError

__all__ = ["DataError"]
