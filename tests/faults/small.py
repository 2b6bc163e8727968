"""A run of a second with all that a run writes, and how it is told from another, bit for bit."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blueprint.training import checkpoint as checkpoints
from blueprint.training import metrics
from blueprint.training.verify import _equal, _leaves
from tests.faults.commands import Command, Ended, Server

STEPS, EVERY = 10, 3
#: What depends on the clock, and no file of the run's own.
CLOCK = ("tokens_per_second", "data_wait")
WORDS = ("the", "spec", "is", "model", "run", "data", "norm", "head", "layer", "token")
SPEC = """
name: small
model:
  type: decoder
  d_model: 32
  layers: 2
  max_length: 32
  block:
    attention: {heads: 2}
    dropout: 0.1
    feed_forward: {type: experts, experts: 4, router: {type: top_k, k: 2}, expert: {type: mlp, d_ff: 32}}
tokenizer: {type: bpe, vocab_size: 300}
data:
  source: {type: text, path: PATH}
  stages: [exact_duplicates]
  length: 16
  batch_size: 8
  validation: 0.2
ema: {decay: 0.9}
optimizer: {type: adamw, lr: 3e-3}
schedule: {type: cosine, warmup_steps: 2}
trainer: {max_steps: STEPS, val_check_interval: 3, limit_val_batches: 2, log_every_n_steps: 1, accelerator: cpu}
checkpoint: {every_n_steps: EVERY, keep: 3}
sample: {every_n_steps: 2, prompt: the, tokens: 8}
"""


@dataclass(frozen=True)
class Place:
    """A folder for one case: its run, its cache, and the spec that all share."""

    root: Path
    spec: Path
    server: Server

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.root / "run"

    @property
    def trace(self) -> Path:
        """What every batch was, as it was read; on another disk, that may have no room."""
        return self.server.folder / f"trace{str(self.root).replace('/', '-')}"

    def said(self, word: str, *words: str, **more: Any) -> dict[str, Any]:
        """How the server is told to `train` into the run's folder, or do another command on it."""
        where = (str(self.spec), "-o", str(self.run)) if word == "train" else (str(self.run),)
        options = ("-q",) if word in ("train", "resume") else ()
        return {
            "trace": str(self.trace),
            "cache": self.root / "cache",
            **more,
            "words": (word, *where, *options, *words),
        }

    def start(self, word: str, *words: str, **more: Any) -> Command:
        """Start a command."""
        said = self.said(word, *words, **more)
        return self.server.start(*said.pop("words"), **said)

    def ended(self, word: str, *words: str, **more: Any) -> Ended:
        """The same, to its end."""
        return self.start(word, *words, **more).end()

    def begun(self) -> str:
        """Which of `train` and `resume` goes on here."""
        return "resume" if (self.run / "spec.yaml").exists() else "train"

    def finish(self, **more: Any) -> Ended:
        """Go on to the end with what is said to go on; the other is refused and names it."""
        word = self.begun()
        if word == "train" and not self.run.exists():
            return self.ended(word, **more)
        other = self.ended("train" if word == "resume" else "resume", **more)
        assert other.code == 1, other.said
        assert f"blueprint {word}" in other.said, other.said
        return self.ended(word, **more)


def place(root: Path, server: Server, **said: Any) -> Place:
    """A folder with a text and the spec."""
    root.mkdir(parents=True, exist_ok=True)
    drawn, text = random.Random(0), root / "text"
    text.mkdir()
    for number in range(40):
        words = " ".join(drawn.choice(WORDS) for _ in range(16))
        (text / f"{number:02d}.txt").write_text(f"{words} {number % 37}\n")
    spec = SPEC.replace("PATH", str(text))
    for name, value in {"STEPS": STEPS, "EVERY": EVERY, **said}.items():
        spec = spec.replace(name, str(value))
    (root / "spec.yaml").write_text(spec)
    return Place(root, root / "spec.yaml", server)


def beside(where: Place, name: str) -> Place:
    """Another case of the same text and spec."""
    root = where.root.parent / f"{name}-{time.monotonic_ns()}"
    root.mkdir()
    return Place(root, where.spec, where.server)


def rows(run: Path) -> list[dict[str, float]]:
    """The metrics, without what depends on the clock."""
    return [{k: v for k, v in row.items() if k not in CLOCK} for row in metrics.read(run / "metrics.csv")]


def differences(whole: Place, other: Place) -> list[str]:
    """What of a run that was broken off differs from one that never was: nothing, if all is well."""
    found = []
    a, b = (dict(_all(each)) for each in (whole.run, other.run))
    found += [name for name in {**a, **b} if not _equal(a.get(name), b.get(name))]
    seen, wanted = traced(other), dict(traced(whole))
    # A batch may have been read twice; it was the same each time, and none was left out.
    found += [f"batch {number}" for number, what in seen if wanted.get(number) != what]
    found += [f"batch {number} was never read" for number in wanted.keys() - dict(seen).keys()]
    one, two = (sorted(names(each.run)) for each in (whole, other))
    return found + ([f"files {sorted(set(one) ^ set(two))}"] if one != two else [])


def names(folder: Path) -> list[str]:
    """The files of a folder, also half-written ones."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def half_written(folder: Path) -> list[str]:
    """What interrupted writers left."""
    return [name for name in names(folder) if Path(name).name.startswith(".") and Path(name).name != ".lock"]


def traced(where: Place) -> list[tuple[int, str]]:
    """(number, what it held and lost) of every batch that was read, in order."""
    lines = where.trace.read_text().splitlines() if where.trace.exists() else []
    return [(number, f"{data} {loss}") for number, data, loss in map(json.loads, lines)]


def _all(run: Path) -> list[tuple[str, Any]]:
    """Everything that a run leaves and that does not depend on the clock."""
    found = []
    for path in checkpoints.listing(run / "checkpoints"):
        content = checkpoints.read(path)
        for part in ("state_dict", "optimizer_states", "lr_schedulers", checkpoints.AVERAGED, "global_step"):
            found += [(f"{path.name} {part}{key}", value) for key, value in _leaves(content[part])]
    found.append(("metrics", rows(run)))
    found += [(name, (run / name).read_text()) for name in ("samples.txt", "statistics.csv")]
    summary = json.loads((run / "summary.json").read_text())
    return [*found, *((f"summary {name}", summary[name]) for name in ("status", "step", "loss", "validation_loss"))]
