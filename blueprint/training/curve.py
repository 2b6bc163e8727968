"""The picture of a run's loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.files import atomic_path
from blueprint.training.data.unigram import Unigram
from blueprint.training.metrics import Row

TRAIN, HELD_OUT, BASELINE = "#4c78a8", "#e4572e", "#7f7f7f"


def draw(
    path: Path,
    rows: Sequence[Row],
    baseline: Unigram | None,
    title: str,
    to_bits: Callable[[float], float | None] | None = None,
    unit: str = "nats per token",
) -> None:
    """Draw training and held-out loss over steps beside the unigram baseline, where there is one; `to_bits` adds bits
    per byte, `unit` is what the loss is measured in."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    trained = _points(rows, "loss")
    held_out = _points(rows, "validation_loss")
    if trained:
        many = len(trained) > 40
        axes.plot(
            *zip(*trained, strict=True), color=TRAIN, alpha=0.3 if many else 1, lw=1.2, label=None if many else "train"
        )
        if many:
            axes.plot(*zip(*smooth(trained), strict=True), color=TRAIN, lw=1.8, label="train (smoothed)")
    if held_out:
        axes.plot(*zip(*held_out, strict=True), color=HELD_OUT, lw=1.8, marker="o", ms=4, label="validation")
    values = [value for _, value in [*trained, *held_out]]
    top = max(values, default=1.0)
    if baseline is not None:
        axes.axhline(baseline.nats, color=BASELINE, ls="--", lw=1.2, label=f"unigram baseline ({baseline.nats:.2f})")
        values.append(baseline.nats)
        # The first steps tower above everything; what is learned lies below.
        top = min(max(values), 2 * baseline.nats)
    axes.set(xlabel="optimizer step", ylabel=f"loss ({unit})", title=title)
    low = min(values, default=0.0)
    axes.set_ylim(low - 0.08 * (top - low or 1), top + 0.08 * (top - low or 1))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    factor = None if to_bits is None else to_bits(1.0)
    if factor is not None:

        def scaled(by: float) -> Callable[[Any], Any]:
            return lambda values: np.asarray(values) * by

        right = axes.secondary_yaxis("right", functions=(scaled(factor), scaled(1 / factor)))
        right.set_ylabel("held-out text: bits per byte")
    with atomic_path(path) as temporary:
        figure.savefig(temporary)


def smooth(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A centred mean over about a twentieth of the points, shorter at both ends."""
    reach = max(1, len(points) // 40)
    out = []
    for index, (step, _) in enumerate(points):
        near = min(reach, index, len(points) - 1 - index)
        window = [value for _, value in points[index - near : index + near + 1]]
        out.append((step, math.fsum(window) / len(window)))
    return out


def _points(rows: Sequence[Row], name: str) -> list[tuple[float, float]]:
    return [(row["step"], row[name]) for row in rows if name in row and math.isfinite(row[name])]
