"""The picture of a run's statistics: a heat map of what is told in several numbers, curves of what is told in one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint.files import atomic_path
from blueprint.training.statistics import Series

Values = NDArray[np.float64]

#: Time is drawn in at most so many columns; steps that share one are averaged.
COLUMNS = 600
#: Inches: of one number's row, of a part's least and greatest height, between parts, and of a pile of parts.
ROW, LEAST, MOST, GAP, PILE = 0.13, 0.4, 1.3, 0.1, 8.0
WIDTH, CURVES = 7.0, 2.4


def draw(path: Path, found: Mapping[str, Mapping[str, Series]], title: str) -> None:
    """Draw every statistic: of those in several numbers a row for each number of each part, steps going right, and
    beneath them the others, a line for each part and a heavy one for their mean."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    maps = {name: parts for name, parts in found.items() if any(values.ndim == 2 for _, values in parts.values())}
    lines = {name: parts for name, parts in found.items() if name not in maps}
    piles = {name: _piles(parts) for name, parts in maps.items()}
    heights = [max(map(_height, each)) + 1.0 for each in piles.values()] + [CURVES] * bool(lines)
    across = max([len(each) for each in piles.values()] + [1 + (len(lines) > 1)])
    figure = Figure(figsize=(WIDTH * across, sum(heights) + 0.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    bands = np.atleast_1d(figure.subfigures(len(heights), 1, height_ratios=heights))
    for band, (name, each) in zip(bands, piles.items(), strict=False):
        _maps(band, name, each)
    if lines:
        axes = np.atleast_1d(bands[-1].subplots(1, len(lines)))
        for one, (name, parts) in zip(axes, lines.items(), strict=True):
            _curves(one, name, parts)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def _piles(parts: Mapping[str, Series]) -> list[dict[str, Series]]:
    """The parts in order, in as many piles as keep each of them low."""
    several = {part: series for part, series in parts.items() if series[1].ndim == 2}
    count = max(1, math.ceil(_height(several) / PILE))
    size = math.ceil(len(several) / count)
    items = list(several.items())
    return [dict(items[first : first + size]) for first in range(0, len(items), size)]


def _height(parts: Mapping[str, Series]) -> float:
    return sum(_tall(values) + GAP for _, values in parts.values())


def _tall(values: Values) -> float:
    return min(max(values.shape[1] * ROW, LEAST), MOST)


def _maps(figure: Any, name: str, piles: list[dict[str, Series]]) -> None:
    # What is never negative is an amount, of which each number has its share: it is drawn over the mean.
    amount = all(np.nanmin(values) >= 0 for parts in piles for _, values in parts.values())
    everything = np.concatenate([np.abs(values).ravel() for parts in piles for _, values in parts.values()])
    reach = 1.0 if amount else float(np.nanmax(everything)) or 1.0
    middle = 1.0 if amount else 0.0
    shown = {"cmap": "RdBu_r", "vmin": middle - reach, "vmax": middle + reach, "aspect": "auto"}
    image = None
    axes = np.atleast_1d(figure.subplots(1, len(piles)))
    short = _short([part for parts in piles for part in parts])
    last = max(int(steps[-1]) for parts in piles for steps, _ in parts.values())
    for one, parts in zip(axes, piles, strict=True):
        top, ticks, labels = 0.0, [], []
        for part, (steps, values) in parts.items():
            size, tall = values.shape[1], _tall(values)
            over = values / np.maximum(values.mean(1, keepdims=True), 1e-12) if amount else values
            extent = (0.5, last + 0.5, top + tall, top)
            image = one.imshow(columns(steps, over, last).T, extent=extent, interpolation="antialiased", **shown)
            every = next(n for n in (1, 2, 4, 8, 16, 32, 64, 1 << 30) if tall / size * n >= ROW)
            ticks += [top + tall * (index + 0.5) / size for index in range(0, size, every)]
            labels += [str(index) for index in range(0, size, every)]
            where = {"transform": one.get_yaxis_transform(), "rotation": 90, "ha": "center", "va": "center"}
            one.text(-0.075, top + tall / 2, short[part], fontsize=8, **where)
            top += tall + GAP
        one.set(xlim=(0.5, last + 0.5), ylim=(top - GAP, 0), xlabel="optimizer step")
        one.set_yticks(ticks, labels, fontsize=6)
        one.tick_params(axis="y", length=2, pad=1)
        one.spines[:].set_visible(False)
    told = f"{_words(name)} over the part's mean" if amount else _words(name)
    bar = figure.colorbar(image, ax=list(axes), extend="max" if amount else "neither", aspect=30, pad=0.02)
    bar.set_label(told + (" (1: even)" if amount else ""))
    figure.suptitle(f"{_words(name)}, number by number", fontsize=10)


def columns(steps: NDArray[np.int64], values: Values, last: int) -> Values:
    """(C, N), what was told in each of at most `COLUMNS` stretches of time up to step `last`: a mean where it was told
    several times, and where it was not, what was told before (or first of all)."""
    count = min(COLUMNS, last)
    column = np.minimum((steps - 1) * count // last, count - 1)
    told, first = np.unique(column, return_index=True)
    sums = np.add.reduceat(values, first, axis=0)
    means = sums / np.diff([*first, len(steps)])[:, None]
    held: Values = means[np.maximum(np.searchsorted(told, np.arange(count), side="right") - 1, 0)]
    return held


def _curves(axes: Any, name: str, parts: Mapping[str, Series]) -> None:
    from matplotlib import colormaps

    short, many = _short(list(parts)), len(parts) > 1
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(parts)))
    for (part, (steps, values)), colour in zip(parts.items(), colours, strict=True):
        axes.plot(steps, values, color=colour, lw=0.9 if many else 1.8, alpha=0.7 if many else 1, label=short[part])
    alike = len({tuple(steps) for steps, _ in parts.values()}) == 1
    if many and alike:
        steps = next(iter(parts.values()))[0]
        axes.plot(steps, np.mean([values for _, values in parts.values()], 0), color="black", lw=1.8, label="mean")
    axes.set(xlabel="optimizer step", title=_words(name))
    axes.title.set_fontsize(10)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if len(parts) <= 8:
        axes.legend(frameon=False, fontsize=7)


def _short(parts: list[str]) -> dict[str, str]:
    """Names of parts without the end that all of them share."""
    split = [part.split(".") for part in parts]
    while len(parts) > 1 and len({each[-1] for each in split}) == 1 and all(len(each) > 1 for each in split):
        split = [each[:-1] for each in split]
    return {part: ".".join(each) for part, each in zip(parts, split, strict=True)}


def _words(name: str) -> str:
    return name.replace("_", " ")
