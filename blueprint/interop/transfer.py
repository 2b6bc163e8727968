"""Moving tensors: one rule's worth at a time, from where they lie to where they belong, bit for bit.

What is the same tensor on both sides goes from file to file without being looked at. For the rest, memory holds one
tensor of theirs and one of ours, which is a stack where ours stacks them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from blueprint.interop.error import CheckpointError
from blueprint.interop.moves import Move, Theirs
from blueprint.interop.pattern import Part, Pattern
from blueprint.interop.rearrange import Array, Shape, copy, views
from blueprint.interop.safetensors_io import BITS, ITEM, Stored

_BLOCK = 1 << 20
View = tuple[tuple[str, ...], Array]


class Tensor(Protocol):
    """A tensor that can be read: in a file, or in memory."""

    @property
    def dtype(self) -> str:
        """The number format, as safetensors calls it."""

    @property
    def shape(self) -> Shape:
        """The size of every axis."""

    @property
    def nbytes(self) -> int:
        """How many bytes it has."""

    def read(self) -> Array:
        """Its bits."""


class Sink(Protocol):
    """Where tensors go."""

    def put(self, name: str, array: Array) -> None:
        """Take a tensor's bits."""

    def put_stored(self, name: str, tensor: Stored) -> None:
        """Take a tensor as it lies in a file."""


@dataclass(frozen=True)
class Sinks:
    """Several places for tensors; `names` says under which names each is wanted, which may be several or none."""

    places: Mapping[str, Sink]
    names: Mapping[str, Sequence[str]]

    def put(self, name: str, array: Array) -> None:
        """Give a tensor's bits to everyone who wants them."""
        for each in self.names[name]:
            self.places[each].put(each, array)

    def put_stored(self, name: str, tensor: Stored) -> None:
        """Give a tensor as it lies in a file to everyone who wants it."""
        for each in self.names[name]:
            self.places[each].put_stored(each, tensor)


def move_in(move: Move, theirs: Mapping[str, Tensor], ours: Mapping[str, Shape], sink: Sink) -> None:
    """Make our tensors of theirs."""
    if move.operator is None:
        _pass(theirs[move.theirs[0].names[0]], move.ours[0], sink)
        return
    item = ITEM[theirs[move.theirs[0].names[0]].dtype]
    made = [np.empty(ours[name], BITS[item]) for name in move.ours]
    targets = _views(made, move.operator.right, move)
    for operand, pattern in zip(move.theirs, move.operator.left, strict=True):
        for index, name in enumerate(operand.names):
            for part, source in views(theirs[name].read(), _within(operand, pattern), move.sizes).items():
                copy(_at(targets, part, operand, index), source)
    for name, array in zip(move.ours, made, strict=True):
        sink.put(name, array)


def move_out(move: Move, ours: Mapping[str, Tensor], sink: Sink) -> None:
    """Make their tensors of ours."""
    if move.operator is None:
        _pass(ours[move.ours[0]], move.theirs[0].names[0], sink)
        return
    formats = {ours[name].dtype for name in move.ours}
    if len(formats) > 1:
        named = ", ".join(move.ours)
        raise CheckpointError(f"{named} become one tensor, and are of different number formats: {', '.join(formats)}")
    sources = _views([ours[name].read() for name in move.ours], move.operator.right, move)
    for operand, pattern in zip(move.theirs, move.operator.left, strict=True):
        for index, name in enumerate(operand.names):
            shape = operand.shape if operand.stacked is None else operand.shape[1:]
            made = np.empty(shape, BITS[ITEM[next(iter(formats))]])
            for part, target in views(made, _within(operand, pattern), move.sizes).items():
                copy(target, _at(sources, part, operand, index))
            sink.put(name, made)


def same_bits(one: Stored, other: Stored) -> bool:
    """Whether two tensors in files are the same, read block by block."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    with open(one.file, "rb") as a, open(other.file, "rb") as b:
        return all(
            os.pread(a.fileno(), size, one.start + at) == os.pread(b.fileno(), size, other.start + at)
            for at in range(0, one.nbytes, _BLOCK)
            for size in [min(_BLOCK, one.nbytes - at)]
        )


def _pass(tensor: Tensor, name: str, sink: Sink) -> None:
    if isinstance(tensor, Stored):
        sink.put_stored(name, tensor)
    else:
        sink.put(name, tensor.read())


def _views(arrays: Sequence[Array], patterns: Sequence[Pattern], move: Move) -> dict[Part, View]:
    return {
        part: view
        for array, pattern in zip(arrays, patterns, strict=True)
        for part, view in views(array, pattern, move.sizes).items()
    }


def _within(operand: Theirs, pattern: Pattern) -> Pattern:
    """The pattern of one tensor of a stack."""
    return pattern if operand.stacked is None else pattern[1:]


def _at(found: Mapping[Part, View], part: Part, operand: Theirs, index: int) -> View:
    """A part of ours, at the place of one tensor of a stack."""
    if operand.stacked is None:
        return found[part]
    names, array = found[part | {operand.stacked}]
    axis = names.index(operand.stacked)
    return (*names[:axis], *names[axis + 1 :]), array[(slice(None),) * axis + (index,)]
