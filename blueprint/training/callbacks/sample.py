"""Samples of text now and then: what the model has learned so far, in its own words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from blueprint.files import room_for, write_atomic
from blueprint.schema.spec import Samples
from blueprint.training.error import TrainError
from blueprint.training.strategies.layout import read_outside
from blueprint.training.strategies.parallel import Parallel

_HEAD = re.compile(r"^=== step (\d+) ===$", re.MULTILINE)


class Sampler(pl.Callback):
    """Draws text every so many optimizer steps, shows it, and adds it to samples.txt.

    Drawing disturbs nothing: every batch begins with generators of its own.
    """

    def __init__(
        self,
        said: Samples,
        tokenizer: Any,
        path: Path,
        steps: int,
        show: Callable[[str], None],
        start_id: int | None = None,
    ) -> None:
        self.said, self.tokenizer, self.path, self.steps, self.show = said, tokenizer, path, steps, show
        self.start_id, self._step = start_id, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin at the step a checkpoint left."""
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw where a step that is due has ended."""
        step = trainer.global_step
        if step == self._step:
            return
        self._step = step
        # Where every process has a part of the model, all draw the same.
        draws = trainer.is_global_zero or isinstance(trainer.strategy, Parallel)
        if draws and (step % self.said.every_n_steps == 0 or step == self.steps):
            with read_outside(pl_module.model):  # type: ignore[arg-type]
                text = draw(pl_module.model, self.tokenizer, self.said, seed=step, start_id=self.start_id)
            if text is not None and trainer.is_global_zero:
                add(self.path, step, text)
                self.show(f"sample at step {step}:\n{indented(text)}")


def draw(model: Any, tokenizer: Any, said: Samples, seed: int, start_id: int | None = None) -> str | None:
    """A prompt and its continuation, or a source and what is written for it; None for a model that writes no text."""
    from blueprint.inference.generate import generate
    from blueprint.inference.prompt import reads_source

    if not hasattr(model, "project"):
        return None
    ids, room = prompt(model, tokenizer, said, start_id)
    training = model.training
    device = next(model.parameters()).device
    more: dict[str, Any] = {"start_id": start_id, "eos_id": tokenizer.eos_id} if reads_source(model) else {}
    try:
        model.eval()
        # A state that grows would be compiled anew for every length.
        with torch.compiler.set_stance("force_eager"):
            drawn = generate(
                model, ids[None].to(device), max_new_tokens=room, temperature=said.temperature, seed=seed, **more
            )
    finally:
        model.train(training)
    row: list[int] = drawn[0].tolist()
    if not more:
        text: str = tokenizer.decode(row)
        return text
    written = row[1:-1] if row[-1] == tokenizer.eos_id else row[1:]
    return f"{said.prompt} → {tokenizer.decode(written)}"


def prompt(model: Any, tokenizer: Any, said: Samples, start_id: int | None = None) -> tuple[torch.Tensor, int]:
    """The ids (T,) of the prompt or source, and how many tokens may follow; raises `TrainError` where the model has no
    room for one, or nothing to begin a target with."""
    from blueprint.inference.prompt import reads_source
    from blueprint.inference.text import prompt_ids, source_ids

    reads = reads_source(model)
    ids = torch.tensor((source_ids if reads else prompt_ids)(tokenizer, said.prompt))
    if not len(ids):
        ids = torch.tensor([tokenizer.eos_id or 0])
    sites, room = model.plan.model.sides(model.plan.site), said.tokens
    most = sites["decoder"].max_length
    if most is not None:
        room = min(room, most - (1 if reads else len(ids)))
    full, what = (sites["encoder"].max_length, "source") if reads else (most, "model")
    if full is not None and len(ids) > full - (0 if reads else 1):
        raise TrainError(
            f"`sample.prompt` takes {len(ids)} tokens, for which the {what}'s max_length of {full} has no room\n"
            "  = fix: shorten it, or say `sample: null`"
        )
    if reads and start_id is None:
        raise TrainError("nothing says which id a target begins with\n  = fix: say an `objective`, or `sample: null`")
    return ids, room


def add(path: Path, step: int, text: str) -> None:
    """Append a sample to samples.txt."""
    with room_for(path), open(path, "a", encoding="utf-8", errors="replace") as file:
        file.write(f"=== step {step} ===\n{indented(text)}\n\n")


def cut(path: Path, after: int) -> None:
    """Remove the samples past step `after`: they belong to a future that did not happen; and one that was cut short."""
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    # An empty line ends a sample, and none has one within.
    end = text.rfind("\n\n") + 2 if "\n\n" in text else 0
    end = next((found.start() for found in _HEAD.finditer(text) if int(found[1]) > after), end)
    if end < len(text):
        write_atomic(path, text[:end])


def indented(text: str) -> str:
    """The text with a bar before every line, so that no line of it is taken for a heading; other controls are shown."""
    lines = re.split(r"\r\n|\r|\n", text)
    shown = ("".join(c if c.isprintable() or c == "\t" else f"\\x{ord(c):02x}" for c in line) for line in lines)
    return "\n".join(f"| {line}" for line in shown)
