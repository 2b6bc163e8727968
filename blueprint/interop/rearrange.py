"""Apply what `pattern` reads: sizes from shapes, and arrays moved to the other side and back, exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from blueprint.interop.pattern import (
    Axis,
    Name,
    Part,
    Pattern,
    Product,
    RearrangeFault,
    Rearrangement,
    Sum,
    extent,
    written,
)

Array = NDArray[Any]
Shape = tuple[int, ...]
Sizes = Mapping[str, int]

#: Elements along both sides of what is copied at once, where axes change places.
TILE = 256


def solve(
    rearrangement: Rearrangement, left: Sequence[Shape | None], right: Sequence[Shape | None], said: Sizes
) -> dict[str, int]:
    """The size of every name, from the shapes that are known and from what is `said`.

    Raises `RearrangeFault` where they contradict each other, or leave one open.
    """
    known = dict(said)
    pairs = [*zip(rearrangement.left, left, strict=True), *zip(rearrangement.right, right, strict=True)]
    for pattern, shape in pairs:
        if shape is not None and len(shape) != len(pattern):
            axes = f"{len(pattern)} {'axis' if len(pattern) == 1 else 'axes'}"
            raise RearrangeFault(f"`{written(pattern)}` has {axes}, the tensor {len(shape)}", *extent(pattern))
    count = -1
    while count != len(known):
        count = len(known)
        for pattern, shape in pairs:
            for axis, size in zip(pattern, shape or (), strict=shape is not None):
                _assign(axis, size, known)
    open_ = sorted(rearrangement.names - set(known))
    if open_:
        named = ", ".join(f"`{name}`" for name in open_)
        raise RearrangeFault(f"the size of {named} does not follow from the shapes: say it under `sizes`")
    return known


def identity(axes: int, first: str = "") -> Rearrangement:
    """What changes nothing about a tensor of so many axes, the `first` named."""
    names = tuple(Name(first if first and n == 0 else f"_{n}") for n in range(axes))
    return Rearrangement((names,), (names,))


def shape(pattern: Pattern, sizes: Sizes) -> Shape:
    """The shape of a tensor whose axes have these sizes."""
    return tuple(_size(axis, sizes) for axis in pattern)  # type: ignore[misc]


def views(array: Array, pattern: Pattern, sizes: Sizes) -> dict[Part, tuple[tuple[str, ...], Array]]:
    """The parts of an array: for each its names in order and a view with an axis for every name."""
    found = _walk(array, list(pattern), sizes)
    return {frozenset(names): (tuple(names), view) for names, view in found}


def apply(rearrangement: Rearrangement, arrays: Sequence[Array], sizes: Sizes, *, back: bool = False) -> list[Array]:
    """The arrays of the other side: ours from theirs, or theirs from ours with `back`; every name has its size."""
    sides = (rearrangement.left, rearrangement.right)
    sources, targets = sides[::-1] if back else sides
    found = {
        part: view
        for pattern, array in zip(sources, arrays, strict=True)
        for part, view in views(array, pattern, sizes).items()
    }
    out = [np.empty(shape(pattern, sizes), arrays[0].dtype) for pattern in targets]
    for pattern, array in zip(targets, out, strict=True):
        for part, target in views(array, pattern, sizes).items():
            copy(target, found[part])
    return out


def copy(target: tuple[tuple[str, ...], Array], source: tuple[tuple[str, ...], Array]) -> None:
    """Copy a part into the same part of another array, its axes in whichever order."""
    order = [source[0].index(name) for name in target[0]]
    to, from_ = target[1], source[1].transpose(order)
    axes = [axis for axis, size in enumerate(to.shape) if size > 1]
    fast = {min(axes, key=lambda axis, array=array: abs(array.strides[axis]), default=0) for array in (to, from_)}  # type: ignore[misc]
    if len(fast) < 2:
        to[...] = from_
        return
    # What runs fast on one side runs slowly on the other: in tiles, both stay within the processor's cache.
    one, other = sorted(fast)
    for i in range(0, to.shape[one], TILE):
        rows = (*(slice(None),) * one, slice(i, i + TILE))
        for j in range(0, to.shape[other], TILE):
            tile = (*rows, *(slice(None),) * (other - one - 1), slice(j, j + TILE))
            to[tile] = from_[tile]


def _walk(array: Array, axes: list[Axis], sizes: Sizes) -> Iterator[tuple[list[str], Array]]:
    for at, axis in enumerate(axes):
        if isinstance(axis, Product):
            split = _unflattened(array, at, shape(axis.terms, sizes))
            yield from _walk(split, [*axes[:at], *axis.terms, *axes[at + 1 :]], sizes)
            return
        if isinstance(axis, Sum):
            start = 0
            for term in axis.terms:
                stop = start + shape((term,), sizes)[0]
                slab = array[(slice(None),) * at + (slice(start, stop),)]
                yield from _walk(slab, [*axes[:at], term, *axes[at + 1 :]], sizes)
                start = stop
            return
    yield [str(axis) for axis in axes], array


def _unflattened(array: Array, at: int, sizes: Shape) -> Array:
    # By strides, since `reshape` copies in silence where it finds no view, and what is written to a copy is lost.
    step = array.strides[at]
    steps = [step * math.prod(sizes[n + 1 :]) for n in range(len(sizes))]
    return as_strided(
        array,
        (*array.shape[:at], *sizes, *array.shape[at + 1 :]),
        (*array.strides[:at], *steps, *array.strides[at + 1 :]),
    )


def _size(axis: Axis, sizes: Sizes) -> int | None:
    if isinstance(axis, Name):
        return sizes.get(axis.text)
    found = [_size(term, sizes) for term in axis.terms]
    if None in found:
        return None
    return math.prod(found) if isinstance(axis, Product) else sum(found)  # type: ignore[arg-type]


def _assign(axis: Axis, size: int, known: dict[str, int]) -> None:
    """Learn what an axis of a known size tells of its names."""
    found = _size(axis, known)
    if found is not None:
        if found != size:
            raise RearrangeFault(f"`{axis}` is {found} by its names, and {size} in the tensor", *extent((axis,)))
    elif isinstance(axis, Name):
        known[axis.text] = size
    else:
        sizes = [_size(term, known) for term in axis.terms]
        missing = [term for term, each in zip(axis.terms, sizes, strict=True) if each is None]
        rest = [each for each in sizes if each is not None]
        if len(missing) > 1:
            return
        if isinstance(axis, Sum):
            left, fits = size - sum(rest), size >= sum(rest)
        else:
            whole = math.prod(rest)
            # Nothing follows from an empty axis.
            if not whole:
                return
            left, fits = size // whole, size % whole == 0
        if not fits:
            said = (" × " if isinstance(axis, Product) else " + ").join(map(str, rest))
            raise RearrangeFault(f"`{axis}` is {size} in the tensor, which {said} does not fit", *extent((axis,)))
        _assign(missing[0], left, known)
