"""Terms: what parts say beside their output, named scalars, under one convention.

A term whose name ends in `_loss` is a loss, weighted already by the part that gives it: objectives add it to what they
minimise. Every other term is a statistic. Terms of one name, of several layers, are added up.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

LOSS = "_loss"


def merge_terms(into: dict[str, Tensor], terms: Mapping[str, Tensor]) -> None:
    """Add a part's terms to those of the parts before it, name by name."""
    for name, value in terms.items():
        into[name] = into[name] + value if name in into else value


def with_losses(loss: Tensor, terms: Mapping[str, Tensor]) -> Tensor:
    """The loss with every term that is one added to it."""
    for name, value in terms.items():
        if name.endswith(LOSS):
            loss = loss + value
    return loss
