"""The small language model of Python with byte pairs against its twin that reads bytes, for as much computing.

python tests/recipes/compare_causal.py [KEY=VALUE …] [--runs runs] [--share 1] [--picture causal.png]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import blueprint as bp
from blueprint.training import metrics

RECIPES = Path(__file__).resolve().parents[2] / "specs" / "recipes"
NAMES = ("causal.yaml", "causal_bytes.yaml")


def computing(spec: bp.Spec) -> float:
    """Floating-point operations of a whole run: three times those of its forward passes."""
    assert spec.data is not None
    length, steps = spec.data.length, spec.trainer.max_steps
    assert length is not None
    assert steps is not None
    flops = bp.cost(spec, length=length).flops_per_token
    assert isinstance(flops, float | int)
    return 3 * flops * steps * spec.data.batch_size * length


def line(name: str, spec: bp.Spec, found: dict[str, Any]) -> str:
    """What came of a run: bits for a byte of held-out text, those of its unigram baseline, what it cost."""
    bits, baseline = found["validation_bits_per_byte"], found["unigram_bits_per_byte"]
    cost = f"{computing(spec):>12.3g}{found['parameters']:>12,}{found['seconds']:>7.0f}"
    return f"{name:<14}{bits:>8.4f}{baseline:>10.4f}{cost}"


HEAD = f"{'':<14}{'bits':>8}{'unigram':>10}{'operations':>12}{'parameters':>12}{'s':>7}"


def draw(path: Path, runs: Sequence[tuple[bp.Spec, Path, dict[str, Any]]]) -> None:
    """Bits for a byte of held-out text over the computing done, a line for each run, its baseline dashed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for (spec, folder, found), colour in zip(runs, ("#e4572e", "#4c78a8"), strict=True):
        rows = [row for row in metrics.read(folder / "metrics.csv") if "validation_bits_per_byte" in row]
        each_step = computing(spec) / (spec.trainer.max_steps or 1) / 1e12
        points = [(row["step"] * each_step, row["validation_bits_per_byte"]) for row in rows]
        axes.plot(*zip(*points, strict=True), color=colour, marker="o", ms=3.5, lw=1.6, label=spec.name)
        baseline = found["unigram_bits_per_byte"]
        axes.axhline(baseline, color=colour, ls="--", lw=1, label=f"its unigram baseline ({baseline:.2f})")
    axes.set(xlabel="computing, 10¹² floating-point operations", ylabel="held-out text: bits per byte", xlim=(0, None))
    axes.legend(frameon=False, loc="center right", bbox_to_anchor=(1, 0.75))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main() -> int:
    """Train both, or read what is trained already, print a row for each and draw them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("overrides", nargs="*", help="changes to both, such as seed=2")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="the folder that holds both runs")
    parser.add_argument("--share", type=float, default=1.0, help="share of the steps of both, for a quick look")
    parser.add_argument("--picture", type=Path)
    said = parser.parse_args()
    torch.set_num_threads(1)
    print(HEAD, flush=True)
    found = []
    for name in NAMES:
        whole = bp.load(RECIPES / name, said.overrides)
        steps = round(said.share * (whole.trainer.max_steps or 0))
        spec = bp.load(RECIPES / name, [*said.overrides, f"trainer.max_steps={steps}"])
        folder = said.runs / spec.name
        if not (folder / "summary.json").is_file():
            bp.fit(spec, folder, progress=False)
        found.append((spec, folder, summary_of(folder)))
        print(line(spec.name, spec, found[-1][2]), flush=True)
    if said.picture is not None:
        draw(said.picture, found)
    return 0


def summary_of(folder: Path) -> dict[str, Any]:
    """The figures of a run's end."""
    from blueprint.training.folder import read_json

    return read_json(folder / "summary.json")


if __name__ == "__main__":
    sys.exit(main())
