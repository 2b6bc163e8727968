"""What a spec trains on: its source turned into token files, and the samples cut from them. No Lightning here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from blueprint.kinds import DataSource, Tokenizer
from blueprint.schema.spec import Data, Spec
from blueprint.training.data import DataError
from blueprint.training.data.build import build
from blueprint.training.data.dataset import Samples
from blueprint.training.data.loader import batches_per_epoch
from blueprint.training.data.packing import PACKINGS, Packing
from blueprint.training.data.store import Split, Tokens
from blueprint.training.data.unigram import Unigram, bits_per_byte, unigram
from blueprint.training.error import TrainError


class Documents:
    """A source's documents, iterable again and again; what the source finds wrong is the user's to mend."""

    def __init__(self, source: DataSource) -> None:
        self.source = source

    def __iter__(self) -> Iterator[tuple[str, str]]:
        with self._named():
            yield from self.source.documents()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise DataError(f"data.source `{self.source.spec_name}`: {error}") from error


class Fingerprinted(Documents):
    """Documents whose source tells without reading them whether they are still the same."""

    def fingerprint(self) -> str:
        """The source's own fingerprint."""
        with self._named():
            found: str = self.source.fingerprint()  # type: ignore[attr-defined]
            return found


@dataclass(frozen=True)
class Text:
    """The token files of a spec and how they are cut into samples."""

    spec: Spec
    data: Data
    tokens: Tokens
    tokenizer: Tokenizer

    @property
    def packing(self) -> Packing:
        """How documents become samples."""
        length = self.data.length or getattr(self.spec.model, "max_length", None)
        options: dict[str, Any] = {"positions": "restart"} if self.data.positions == "restart" else {}
        if self.data.packing == "single":
            options["pad_id"] = self.tokenizer.pad_id
        return PACKINGS[self.data.packing](length, **options)

    @cached_property
    def train(self) -> Samples:
        """The training samples, in the order of the run."""
        return self._samples(self.tokens.train, self.spec.seed if self.data.shuffle else None)

    @cached_property
    def validation(self) -> Samples:
        """Every held-out sample, as they lie."""
        return self._samples(self.tokens.validation, None)

    def held_out(self, batches: int) -> Samples:
        """The samples that `batches` validation batches read: all of them where they fit, else always the same lot."""
        if batches_per_epoch(self.validation, self.data.batch_size) <= batches:
            return self.validation
        return self._samples(self.tokens.validation, self.spec.seed)

    def _samples(self, split: Split, order: int | None) -> Samples:
        objective = self.spec.objective
        change = None if objective is None else objective.change(self.tokenizer)
        return Samples(split, self.packing, seed=order, change=change, lots=self.spec.seed)

    @property
    def batches(self) -> int:
        """Training batches in an epoch."""
        return batches_per_epoch(self.train, self.data.batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run; the last batch of an epoch always ends a step."""
        trainer = self.spec.trainer
        found = [] if trainer.max_steps is None else [trainer.max_steps]
        if trainer.max_epochs is not None:
            found.append(trainer.max_epochs * -(-self.batches // trainer.accumulate_grad_batches))
        return min(found)

    @cached_property
    def baseline(self) -> Unigram:
        """What a model that knows only token frequencies scores on the held-out text."""
        return unigram(self.tokens.train, self.tokens.validation)

    def bits_per_byte(self, nats: float) -> float:
        """Nats per held-out token as bits per byte of its text."""
        return bits_per_byte(nats, self.tokens.validation)

    def identity(self) -> dict[str, str]:
        """Hashes by which another run can tell whether it reads the same data."""
        return {
            "content": self.tokens.content,
            "train": self.tokens.train.hash,
            "validation": self.tokens.validation.hash,
            "tokenizer": self.tokens.index["tokenizer"],
        }


def ready_to_train(spec: Spec) -> None:
    """Raise `TrainError` where a spec describes a model but not how to train it."""
    missing = []
    if spec.data is None:
        missing.append("`data` says what to learn from, such as `data: {source: stdlib, length: 256}`")
    if spec.objective is None:
        missing.append("`objective` says what the model learns")
    if spec.tokenizer is None:
        missing.append("`tokenizer` says how text becomes ids, such as `tokenizer: byte`")
    if spec.trainer.max_steps is None and spec.trainer.max_epochs is None:
        missing.append("`trainer` says how long, such as `trainer: {max_steps: 1000}`")
    if missing:
        raise TrainError("the spec does not say how to train:" + "".join(f"\n  = missing: {line}" for line in missing))


def prepare(spec: Spec, *, cache: Path | None = None, progress: bool | None = None) -> Text:
    """The data of a spec; token files are built if the cache has none. Raises `TrainError` and `DataError`."""
    if spec.data is None or spec.tokenizer is None:
        ready_to_train(spec)
    assert spec.data is not None
    assert spec.tokenizer is not None
    source = spec.data.source
    tokens = build(
        (Fingerprinted if hasattr(source, "fingerprint") else Documents)(source),
        spec.tokenizer,  # type: ignore[arg-type]
        source=f"data.source `{source.spec_name}`",
        validation=spec.data.validation,
        seed=spec.seed,
        cache=cache,
        progress=progress,
    )
    return Text(spec, spec.data, tokens, spec.tokenizer)
