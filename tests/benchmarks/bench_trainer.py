"""What `blueprint train` adds to a training step: its own path against the bare loop, on the same batches.

`bp.fit` trains the 31.6 M-parameter network in the shape of Llama with all that a run has: Lightning, the data module,
seeding, the loss logged, the gradient's norm, metrics.csv. After every `--steps` of its steps a callback hands the
batches it just read to the bare loop of bench_step.py (forward, loss, backward, fused AdamW), which makes as many steps
on a network of its own. Both are thus timed in turn, in one process, one thread; a run's steps are timed whole, from
batch to batch. Checkpoints and validations are not, as how often they come is the user's choice.

    python tests/benchmarks/bench_trainer.py [--steps 3] [--batch 8] [--length 256] [--repeats 7] [--processor] [--json]
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from bench_step import own_loss, step
from figures import OURS, Bar, Clock, Found, parser, tell
from llama_shape import SPEC, ours

import blueprint as bp

BARE = "its bare loop"
BARS = (Bar("its own bare loop", (BARE,), 0.97),)
#: Rounds at the start that are not counted: allocators and kernels settle.
WARM = 1


class Alternate(pl.Callback):
    """Times the run's steps by the lot, and the bare loop's steps on the same batches in between."""

    def __init__(self, steps: int, clock: Clock) -> None:
        self.steps, self.clock = steps, clock
        self.seconds: dict[str, list[float]] = {OURS: [], BARE: []}
        self.batches: list[Mapping[str, Tensor]] = []
        self.bare = step(ours(), own_loss)
        self.began: float | None = None

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, _: int) -> None:
        """Between two steps of the run: is it the other's turn?"""
        if len(self.batches) == self.steps:
            now = self.clock()
            for read in self.batches:
                self.bare(read["input_ids"], read["labels"])
            after = self.clock()
            if self.began is not None:
                self.seconds[OURS].append(now - self.began)
                self.seconds[BARE].append(after - now)
            self.batches, self.began = [], self.clock()
        self.batches.append(batch)


def measure(batch: int, length: int, steps: int, repeats: int, clock: Clock) -> Found:
    """Seconds of `steps` steps of each."""
    torch.set_num_threads(1)
    # The first lot is not timed, and the step that ends the last one begins another.
    lots = repeats + WARM + 1
    alternate = Alternate(steps, clock)
    with tempfile.TemporaryDirectory() as folder:
        text, draw = Path(folder, "text"), random.Random(0)
        text.mkdir()
        for i in range(64):
            (text / f"{i}.txt").write_text("".join(draw.choices("abcdefgh \n", k=2 * batch * length)))
        said = {
            **SPEC,
            "tokenizer": "byte",
            "data": {"source": {"type": "text", "path": str(text)}, "length": length, "batch_size": batch},
            "objective": "causal",
            "optimizer": {"type": "adamw", "lr": 1e-4},
            "trainer": {"max_steps": steps * lots + 1, "accelerator": "cpu", "log_every_n_steps": 10},
        }
        bp.fit(bp.load(said), Path(folder, "run"), progress=False, cache=Path(folder, "cache"), callbacks=[alternate])
    seconds = {name: times[WARM:] for name, times in alternate.seconds.items()}
    title = f"{steps} training steps of a run, fp32, one thread, {batch} x {length} tokens"
    enough = {f"{repeats} rounds were timed": all(len(times) >= repeats for times in seconds.values())}
    return Found(title, steps * batch * length, seconds, BARS, enough)


def main() -> int:
    """Print the figures; 1 if the bar is missed."""
    options = parser(__doc__, repeats=7)
    options.add_argument("--steps", type=int, default=3, help="Steps of a round.")
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--length", type=int, default=256)
    asked = options.parse_args()
    return tell([measure(asked.batch, asked.length, asked.steps, asked.repeats, asked.clock)], asked.json)


if __name__ == "__main__":
    sys.exit(main())
