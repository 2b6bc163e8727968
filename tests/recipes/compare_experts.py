"""The recipe with experts against its dense twin, and against itself without a balance, over seeds.

All variants of a seed see the same tokens in the same order, and begin from the same weights where they have the same.
Printed of each run: the held-out loss at its end; after the first `WARM_UP` of its steps the load of the busiest expert
over the mean, at its worst in any layer, of `WINDOW` steps together (one step's tokens are few) and of one step; the
same at the end; how many experts had nearly nothing to do at the end.

    python tests/recipes/compare_experts.py [--seeds 1 2 3] [--jobs 2] [--picture experts.png]
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

import blueprint as bp

RECIPES = Path(__file__).resolve().parents[2] / "specs" / "recipes"
#: What each run is: the recipe, and what is changed of it.
VARIANTS: dict[str, tuple[str, list[str]]] = {
    "experts": ("experts.yaml", []),
    "unbalanced": ("experts.yaml", ["model.block.feed_forward.balance=null"]),
    "dense": ("experts_dense.yaml", []),
}
#: The share of the steps in which a balance may still be at work.
WARM_UP = 0.4
#: How many steps' tokens are counted together.
WINDOW = 20
#: Below this share of the mean load an expert is idle.
IDLE = 0.1


class Watch(pl.Callback):
    """What a run did, step by step: the loss on the tokens alone, and the load of experts over the mean."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.loads: list[Tensor] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take in a step, (L, E) of its load."""
        terms = [value for name, value in outputs.items() if name.endswith("_loss")]
        self.losses.append(float(outputs["objective"] - sum(terms)))
        settled: dict[str, dict[str, Tensor]] = pl_module.settled  # type: ignore[assignment]
        layers = [told["load"] for told in settled.values() if "load" in told]
        if layers:
            self.loads.append(torch.stack(layers))


@dataclass(frozen=True)
class Found:
    """What came of a run: S steps, L layers with experts, E experts, W windows of steps."""

    variant: str
    seed: int
    loss: float
    seconds: float
    loss_S: Tensor
    load_SLE: Tensor | None

    def load_WLE(self, window: int = WINDOW) -> Tensor:
        """The load over the mean, of every `window` steps in a row."""
        assert self.load_SLE is not None
        return self.load_SLE.unfold(0, window, 1).mean(-1)

    def busiest(self, window: int = WINDOW) -> float:
        """The highest load over the mean after the warm-up, in any layer at any time."""
        load_WLE = self.load_WLE(window)
        return float(load_WLE[int(WARM_UP * len(load_WLE)) :].max())

    def at_the_end(self) -> float:
        """The same of the last window."""
        return float(self.load_WLE()[-1].max())

    def idle(self) -> int:
        """How many experts of all layers had nearly nothing to do in the last window."""
        return int((self.load_WLE()[-1] < IDLE).sum())


def train(variant: str, seed: int, *, steps: int | None = None, overrides: Sequence[str] = ()) -> Found:
    """Train one variant from one seed."""
    name, changed = VARIANTS[variant]
    said = [f"seed={seed}", *changed, *([] if steps is None else [f"trainer.max_steps={steps}"]), *overrides]
    watch, began = Watch(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = bp.fit(bp.load(RECIPES / name, said), Path(folder) / "run", progress=False, callbacks=[watch])
    loads = torch.stack(watch.loads) if watch.loads else None
    loss = float(run.summary["validation_loss"])
    return Found(variant, seed, loss, time.process_time() - began, torch.tensor(watch.losses), loads)


HEAD = f"{'':<12}{'seed':>5}{'loss':>9}{'busiest':>9}{'one step':>10}{'at the end':>12}{'idle':>6}{'CPU s':>7}"


def line(of: Found) -> str:
    """A run's row under `HEAD`."""
    told = ""
    if of.load_SLE is not None:
        told = f"{of.busiest():>9.2f}{of.busiest(1):>10.2f}{of.at_the_end():>12.2f}{of.idle():>6}"
    return f"{of.variant:<12}{of.seed:>5}{of.loss:>9.4f}{told:<37}{of.seconds:>7.0f}"


def below_dense(found: Sequence[Found], variant: str) -> list[float]:
    """By how much a variant's loss lies under that of dense, for each seed that both had."""
    dense = {of.seed: of.loss for of in found if of.variant == "dense"}
    return [dense[of.seed] - of.loss for of in found if of.variant == variant and of.seed in dense]


def draw(path: Path, found: Sequence[Found]) -> None:
    """The first seed's loads through time, layer by layer, and on the same tokens the lead over dense of all seeds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [of for of in found if of.load_SLE is not None and of.seed == found[0].seed]
    figure: Any = Figure(figsize=(10, 5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subfigures(2, 1, height_ratios=[3, 2])
    axes = above.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    image = None
    for one, of in zip(axes, shown, strict=True):
        rows_WR = of.load_WLE().flatten(1)
        layers, experts = of.load_WLE().shape[1:]
        extent = (WINDOW, len(of.loss_S), layers * experts, 0)
        colours = {"cmap": "RdBu_r", "vmin": 0, "vmax": 2, "interpolation": "antialiased"}
        image = one.imshow(rows_WR.T, aspect="auto", extent=extent, **colours)
        one.hlines([experts * layer for layer in range(1, layers)], WINDOW, len(of.loss_S), color="black", lw=1.5)
        one.set(title=of.variant, xlabel="optimizer step")
        one.set_yticks([experts * (i + 0.5) for i in range(layers)], [f"layer {i + 1}" for i in range(layers)])
        one.tick_params(axis="y", length=0)
    above.colorbar(image, ax=list(axes), extend="max", label="load over the mean")
    curve = below.subplots()
    dense = {of.seed: of.loss_S for of in found if of.variant == "dense"}
    for variant, colour in (("experts", "#4c78a8"), ("unbalanced", "#e4572e")):
        for number, of in enumerate(of for of in found if of.variant == variant and of.seed in dense):
            lead_W = (dense[of.seed] - of.loss_S).unfold(0, 50, 1).mean(-1)
            steps = range(50, len(of.loss_S) + 1)
            curve.plot(steps, lead_W, color=colour, lw=1.2, alpha=0.8, label=None if number else variant)
    curve.axhline(0, color="black", lw=0.8)
    curve.set(xlabel="optimizer step", ylabel="nats below dense", xlim=(0, None))
    curve.legend(frameon=False)
    curve.grid(alpha=0.25)
    curve.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main() -> int:
    """Train every variant from every seed, print a row for each and draw them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--steps", type=int)
    parser.add_argument("--jobs", type=int, default=1, help="how many runs at once, one thread each")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("overrides", nargs="*", help="changes to every spec, such as optimizer.lr=1e-3")
    said = parser.parse_args()
    pairs = [(variant, seed) for seed in said.seeds for variant in said.variants]
    found: list[Found] = []
    print(HEAD, flush=True)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(said.jobs, spawn, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for run in [pool.submit(train, *pair, steps=said.steps, overrides=said.overrides) for pair in pairs]:
            found.append(run.result())
            print(line(found[-1]), flush=True)
    for variant in said.variants:
        less = below_dense(found, variant) if variant != "dense" else []
        if less:
            print(f"{variant}: {', '.join(f'{by:+.4f}' for by in less)} below dense, mean {statistics.mean(less):+.4f}")
    if said.picture is not None:
        draw(said.picture, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
