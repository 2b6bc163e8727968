"""The held-out loss and scores of a run through training, as a picture.

python tests/recipes/draw_scores.py runs/towers docs/images/towers.png
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from blueprint.training import metrics


def draw(rows: list[metrics.Row], path: Path) -> None:
    """The loss at the left, in training and held out; at the right every score."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for key, colour, label in (("loss", "#4c78a8", "train"), ("validation_loss", "#e4572e", "held out")):
        points = [(row["step"], row[key]) for row in rows if key in row]
        left.plot(*zip(*points, strict=True), color=colour, lw=1.2, label=label)
    left.set(xlabel="optimizer step", ylabel="loss")
    for name in dict.fromkeys(name for row in rows for name in metrics.scores(row)):
        points = [(row["step"], metrics.scores(row)[name]) for row in rows if name in metrics.scores(row)]
        right.plot(*zip(*points, strict=True), marker=".", lw=1.2, label=name.replace("_", " "))
    right.set(xlabel="optimizer step", ylabel="held-out score", ylim=(0, 1))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path)


if __name__ == "__main__":
    draw(metrics.read(Path(sys.argv[1]) / "metrics.csv"), Path(sys.argv[2]))
