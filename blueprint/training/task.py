"""What a spec trains on: its source turned into token files, and the samples cut from them. No Lightning here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from blueprint.diagnosis import SpecError
from blueprint.kinds import Tokenizer
from blueprint.plan import placed
from blueprint.schema.data import Data
from blueprint.schema.spec import Spec
from blueprint.training.baseline import of_labels
from blueprint.training.data import DataError
from blueprint.training.data.answers import Answers
from blueprint.training.data.build import build
from blueprint.training.data.dataset import Samples
from blueprint.training.data.learn import learn
from blueprint.training.data.loader import batches_per_epoch
from blueprint.training.data.packing import Packing
from blueprint.training.data.store import Split, Tokens
from blueprint.training.data.tally import Tally
from blueprint.training.data.unigram import Unigram, bits_per_byte, unigram
from blueprint.training.documents import Documents, Fingerprinted, Staged
from blueprint.training.error import TrainError
from blueprint.training.form import Form
from blueprint.training.forms import FORMS, form_of


@dataclass(frozen=True)
class Text:
    """The token files of a spec and how they are cut into samples; they hold what the spec's form of samples keeps."""

    spec: Spec
    data: Data
    tokens: Tokens
    tokenizer: Tokenizer | None
    form: Form
    documents: Documents | Staged
    """What the token files were made of, to be read again."""
    tallies: tuple[Tally, ...] = ()
    """What each stage took, gave and left out."""
    answers: Answers | None = None
    """What models that the objective asks say of the training samples, where that is kept."""

    @cached_property
    def packing(self) -> Packing:
        """How documents become samples."""
        return self.form.packing()

    @cached_property
    def train(self) -> Samples:
        """The training samples, in the order of the run."""
        order = self.spec.seed if self.data.shuffle else None
        return self._samples(self.tokens.train, order, self.answers, bucket=self.data.bucket)

    @cached_property
    def validation(self) -> Samples:
        """Every held-out sample: as they lie, or where the objective compares those of a batch, mixed, always the same
        way."""
        objective = self.spec.objective
        if objective is None or "compares" not in objective.traits:
            return self._samples(self.tokens.validation, None)
        return self._samples(self.tokens.validation, self.spec.seed, once=True)

    def held_out(self, batches: int) -> Samples:
        """The samples that `batches` validation batches read: all of them where they fit, else always the same lot."""
        if batches_per_epoch(self.validation, self.data.batch_size) <= batches:
            return self.validation
        return self._samples(self.tokens.validation, self.spec.seed)

    @cached_property
    def lying(self) -> Samples:
        """The training samples as they lie, each once."""
        return self._samples(self.tokens.train, None)

    def everything(self) -> list[Samples]:
        """Every sample of both splits, as they lie: for data that nothing was learned from."""
        found, wrong = list[Samples](), list[DataError]()
        for split in (self.tokens.train, self.tokens.validation):
            try:
                found.append(self._samples(split, None))
            except DataError as error:  # too little for a sample
                wrong.append(error)
        if not found:
            raise wrong[0]
        return found

    def _samples(
        self, split: Split, order: int | None, beside: Answers | None = None, once: bool = False, bucket: int = 1
    ) -> Samples:
        objective = self.spec.objective
        change = None if objective is None or self.tokenizer is None else objective.change(self.tokenizer)
        dealt: dict[str, Any] = {"batch": self.data.batch_size, "bucket": bucket, "once": once}
        return Samples(split, self.packing, seed=order, change=change, lots=self.spec.seed, beside=beside, **dealt)

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

    def _predicts(self, trait: str) -> bool:
        objective = self.spec.objective
        return self.form.running and objective is not None and trait in objective.traits

    @property
    def told(self) -> bool:
        """Whether a loss tells how many bits running text takes."""
        return self._predicts("every_token")

    @cached_property
    def baseline(self) -> Unigram | None:
        """What a model that knows only token frequencies scores on what is predicted of held-out running text; None
        where that is no tokens."""
        if self.told:
            return unigram(self.tokens.train, self.tokens.validation)
        return of_labels(self.train, self.validation) if self._predicts("running") else None

    @property
    def unit(self) -> str:
        """What a loss is a mean over, in words."""
        said = None if self.spec.objective is None else self.spec.objective.unit
        return said or self.form.unit

    @property
    def measure(self) -> str:
        """What a loss is measured in."""
        return "nats" if self.spec.objective is None else self.spec.objective.measure

    def bits_per_byte(self, nats: float) -> float | None:
        """Nats per held-out token as bits per byte of running text; None where they tell nothing of these."""
        return bits_per_byte(nats, self.tokens.validation) if self.told else None

    def bits_per_byte_of_everything(self, nats: float) -> float | None:
        """The same of nats per token of both splits."""
        splits = (self.tokens.train, self.tokens.validation)
        bits = sum(bits_per_byte(nats, each) * each.bytes for each in splits)
        return bits / sum(each.bytes for each in splits) if self.told else None

    @property
    def vocabulary(self) -> dict[str, int] | None:
        """How many tokens the tokenizer knows (`known`) of those the model has a row for (`size`)."""
        if self.tokenizer is None or self.tokenizer.known is None:
            return None
        return {"size": self.spec.vocab_size, "known": self.tokenizer.known}

    def notes(self) -> Iterator[str]:
        """What a person should know of the data before training begins."""
        said, together = self.data.batch_size, self.spec.trainer.accumulate_grad_batches
        if len(self.train) < said:
            what = "has some of them again" if self.data.shuffle else "has all of them, and no more"
            yield f"`batch_size: {said}` is more than there are samples, {len(self.train):,}: a batch {what}"
        if self.batches < together:
            yield (
                f"`accumulate_grad_batches: {together}` is more than there are: a step has the {self.batches:,} "
                "batches of an epoch"
            )
        tokenizer = self.tokenizer
        if tokenizer is not None and tokenizer.learned is not None and (tokenizer.known or 0) < self.spec.vocab_size:
            yield (
                f"tokenizer `{tokenizer.spec_name}` found {tokenizer.known:,} tokens to learn in the training "
                f"documents, not {self.spec.vocab_size:,}: the model has rows above that which nothing will use "
                f"(`vocab_size: {tokenizer.known}` spares them)"
            )

    @cached_property
    def references(self) -> dict[str, Any]:
        """What the data says of its labels at large, arrays by name; empty where it says nothing."""
        return self.form.references()

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
    if spec.tokenizer is None and tokenized(spec):
        missing.append("`tokenizer` says how text becomes ids, such as `tokenizer: byte`")
    if spec.trainer.max_steps is None and spec.trainer.max_epochs is None:
        missing.append("`trainer` says how long, such as `trainer: {max_steps: 1000}`")
    if missing:
        raise TrainError("the spec does not say how to train:" + "".join(f"\n  = missing: {line}" for line in missing))


def fits_in(text: Text) -> None:
    """Raise `SpecError` where a spec says what does not fit into as many steps as its data gives: `max_epochs` tells
    how many only now."""
    spec, trainer = text.spec, text.spec.trainer.model_copy(update={"max_steps": text.steps})
    said = {name: getattr(spec, name) for name in type(spec).model_fields} | {"trainer": trainer}
    found = [fault for each in spec.rules() if "trainer" in each.reads for fault in each.faults(said)]
    if found:
        raise SpecError([placed(spec, fault) for fault in found])


def tokenized(spec: Spec) -> bool:
    """Whether a spec's samples are of text, or will be when it names any."""
    form = None if spec.data is None else FORMS.get(spec.data.source.gives)
    return form is None or form.tokenized


def prepare(
    spec: Spec, *, cache: Path | None = None, progress: bool | None = None, labels: tuple[str, ...] | None = None
) -> Text:
    """The data of a spec; token files are built if the cache has none, after the tokenizer has learned what it has to:
    the result's own `spec` is with that. `labels` are numbered as other data has them. Raises `TrainError` and
    `DataError`."""
    if spec.data is None or (spec.tokenizer is None and tokenized(spec)):
        ready_to_train(spec)
    assert spec.data is not None
    data = spec.data
    source, form = data.source, form_of(spec, data, labels)
    documents = (Fingerprinted if hasattr(source, "fingerprint") else Documents)(source, form.content)
    with documents.named():
        encoder = form.encoder()
    read = Staged(documents, form, cache, progress) if data.all_stages else documents
    said: dict[str, Any] = {
        "source": f"data.source `{source.spec_name}`",
        "validation": data.validation,
        "seed": spec.seed,
        "cache": cache,
        "progress": progress,
    }
    tokenizer = spec.tokenizer
    if tokenizer is not None and tokenizer.untrained:
        assert tokenizer.learned is not None
        what = f"tokenizer `{tokenizer.spec_name}`"
        path = learn(read, encoder, tokenizer.train, what=what, **said).absolute()
        trained = tokenizer.of({**tokenizer.to_plain(), tokenizer.learned: str(path)})
        spec = spec.model_copy(update={"tokenizer": trained})
        form = form_of(spec, data, labels)
        encoder = form.encoder()
    tokens = build(read, encoder, **said)
    tallies = tuple(read.prepared.tallies) if isinstance(read, Staged) else ()
    return Text(spec, data, tokens, spec.tokenizer, form, read, tallies)
