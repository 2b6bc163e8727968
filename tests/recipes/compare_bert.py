"""The classifier that begins from the small BERT against the same from random weights, over seeds.

Both have the first run's tokens, the same examples in the same order and the same settings; of each the share of right
labels on held-out texts is printed, which nothing was learned from.

    python tests/recipes/compare_bert.py runs/bert descriptions [KEY=VALUE …] [--seeds 1 2 3] [--picture bert.png]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import blueprint as bp
from blueprint.training import metrics
from blueprint.training.evaluate import evaluate

CLASSIFIER = Path(__file__).resolve().parents[2] / "specs" / "recipes" / "bert_classifier.yaml"
VARIANTS = ("tuned", "scratch")


@dataclass(frozen=True)
class Found:
    """What came of a classifier: the share of held-out texts told right, and through its steps that of the examples
    kept back from it."""

    variant: str
    seed: int
    accuracy: float
    loss: float
    seconds: float
    curve: list[tuple[float, float]]


def train(variant: str, seed: int, run: Path, data: Path, overrides: Sequence[str] = ()) -> Found:
    """Train one variant from one seed, and measure it on all held-out texts."""
    begins = [f"start.from={run}"] if variant == "tuned" else ["start=null", f"tokenizer.path={run / 'tokenizer.json'}"]
    said = [f"seed={seed}", *begins, f"data.source.path={data / 'labelled.jsonl'}", *overrides]
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        made = bp.fit(bp.load(CLASSIFIER, said), Path(folder) / "run", progress=False)
        held_out = evaluate(made.folder, [f"data.source.path={data / 'held_out.jsonl'}"])
        rows = metrics.read(made.folder / "metrics.csv")
    curve = [(row["step"], row["validation_accuracy"]) for row in rows if "validation_accuracy" in row]
    accuracy = held_out["scores"]["accuracy"]
    return Found(variant, seed, accuracy, held_out["nats"], time.process_time() - began, curve)


HEAD = f"{'':<10}{'seed':>5}{'right':>9}{'loss':>9}{'CPU s':>7}"


def line(of: Found) -> str:
    """A row under `HEAD`."""
    return f"{of.variant:<10}{of.seed:>5}{of.accuracy:>9.1%}{of.loss:>9.4f}{of.seconds:>7.0f}"


def lead(found: Sequence[Found]) -> list[float]:
    """By how much more the tuned one tells right, for each seed."""
    scratch = {of.seed: of.accuracy for of in found if of.variant == "scratch"}
    return [of.accuracy - scratch[of.seed] for of in found if of.variant == "tuned" and of.seed in scratch]


def draw(path: Path, run: Path, found: Sequence[Found]) -> None:
    """The loss of the first run, and how both variants of every seed learned."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from blueprint.training.curve import smooth

    figure = Figure(figsize=(10, 4), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    rows = metrics.read(run / "metrics.csv")
    trained = [(row["step"], row["loss"]) for row in rows if "loss" in row]
    held_out = [(row["step"], row["validation_loss"]) for row in rows if "validation_loss" in row]
    left.plot(*zip(*smooth(trained), strict=True), color="#4c78a8", lw=1.5, label="train (smoothed)")
    left.plot(*zip(*held_out, strict=True), color="#e4572e", marker="o", ms=3, lw=1.5, label="validation")
    baseline = summary(run).get("unigram_loss")
    if isinstance(baseline, float):
        left.axhline(baseline, color="#7f7f7f", ls="--", lw=1.2, label=f"unigram baseline ({baseline:.2f})")
    left.set(xlabel="optimizer step", ylabel="nats per hidden token", title="first, hidden tokens")
    for variant, colour in (("tuned", "#e4572e"), ("scratch", "#4c78a8")):
        for number, of in enumerate(each for each in found if each.variant == variant):
            right.plot(
                *zip(*of.curve, strict=True), color=colour, lw=1.3, marker="o", ms=3, label=None if number else variant
            )
            right.axhline(of.accuracy, color=colour, ls=":", lw=1)
    right.set(
        xlabel="optimizer step",
        ylabel="labels told right",
        title="then, labels (dotted: the held-out texts, at the end)",
    )
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def summary(run: Path) -> dict[str, object]:
    """The figures of a run's end."""
    from blueprint.training.folder import read_json

    return read_json(run / "summary.json")


def main() -> int:
    """Train both from every seed, print a row for each and draw them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="the run to begin from")
    parser.add_argument("data", type=Path, help="the folder of labelled.jsonl and held_out.jsonl")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--picture", type=Path)
    parser.add_argument("overrides", nargs="*", help="changes to both, such as optimizer.lr=1e-3")
    said = parser.parse_args()
    torch.set_num_threads(1)
    found: list[Found] = []
    print(HEAD, flush=True)
    for seed in said.seeds:
        for variant in said.variants:
            found.append(train(variant, seed, said.run.absolute(), said.data.absolute(), said.overrides))
            print(line(found[-1]), flush=True)
    leads = lead(found)
    if leads:
        print(f"tuned above scratch: {', '.join(f'{by:+.1%}' for by in leads)}, mean {statistics.mean(leads):+.1%}")
    if said.picture is not None:
        draw(said.picture, said.run, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
