"""The recipe of a student with its teacher against the same student on labels alone, over seeds.

Of a seed, teacher and students have the same training digits, and none has seen those held out; both students begin
from the same weights and see the same digits in the same order.

    python tests/recipes/compare_students.py DIGITS [--runs runs/students] [--seeds 1 2 3] [--picture distilled.png]

DIGITS is the folder of digits that specs/recipes/digits.yaml tells of. Runs that are finished are not trained again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blueprint as bp
from blueprint.training import metrics

RECIPES = Path(__file__).resolve().parents[2] / "specs" / "recipes"
VARIANTS = ("teacher", "labels", "distilled")


@dataclass(frozen=True)
class Found:
    """What came of a run on held-out digits: the cross-entropy in nats, the accuracy, and every row of its metrics."""

    variant: str
    seed: int
    loss: float
    accuracy: float
    rows: list[metrics.Row]


def train(variant: str, seed: int, digits: Path, runs: Path, overrides: Sequence[str] = ()) -> Found:
    """Train one variant from one seed, unless that is done already."""
    out = runs / f"{variant}_{seed}"
    if not (out / "summary.json").exists():
        said = [f"seed={seed}", f"data.source.path={digits}", "trainer.accelerator=cpu"]
        more = {
            "teacher": [],
            "labels": ["objective=classification"],
            "distilled": [f"objective.teacher={runs / f'teacher_{seed}'}"],
        }
        recipe = RECIPES / ("digits.yaml" if variant == "teacher" else "distilled.yaml")
        bp.fit(bp.load(recipe, [*said, *more[variant], *overrides]), out, progress=False)
    summary = json.loads((out / "summary.json").read_text())
    accuracy = float(summary["scores"]["accuracy"])
    return Found(variant, seed, float(summary["validation_loss"]), accuracy, metrics.read(out / "metrics.csv"))


def draw(path: Path, found: Sequence[Found]) -> None:
    """The held-out accuracy and loss of both students through training, a line for each seed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, key, what in zip(
        figure.subplots(1, 2),
        ("validation_accuracy", "validation_loss"),
        ("held-out accuracy", "held-out loss, nats a digit"),
        strict=True,
    ):
        for variant, colour in (("labels", "#7f7f7f"), ("distilled", "#e4572e")):
            for number, of in enumerate(each for each in found if each.variant == variant):
                points = [(row["step"], row[key]) for row in of.rows if key in row]
                axes.plot(*zip(*points, strict=True), color=colour, lw=1.2, label=None if number else variant)
        axes.set(xlabel="optimizer step", ylabel=what)
        axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)


def main() -> None:
    """Train what is missing, print a row for each run, and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("digits", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs/students"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--picture", type=Path)
    said = parser.parse_args()
    found = []
    print(f"{'seed':>4} {'':<10}{'loss':>9}{'accuracy':>10}")
    for seed in said.seeds:
        for variant in VARIANTS:
            found.append(train(variant, seed, said.digits.absolute(), said.runs.absolute()))
            print(f"{seed:>4} {variant:<10}{found[-1].loss:>9.4f}{found[-1].accuracy:>10.2%}", flush=True)
    for variant in VARIANTS:
        some = [each for each in found if each.variant == variant]
        loss, accuracy = (statistics.mean(getattr(each, name) for each in some) for name in ("loss", "accuracy"))
        print(f"mean {variant:<10}{loss:>9.4f}{accuracy:>10.2%}")
    if said.picture:
        draw(said.picture, found)


if __name__ == "__main__":
    main()
