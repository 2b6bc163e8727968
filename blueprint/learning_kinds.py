"""The kinds of what a model learns from and by: objectives, tokenizers, sources and stages, optimizers, schedules.

They are spoken of as `blueprint.kinds`, beside the parts of models.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PositiveFloat

from blueprint.component import Component, Fault, Faults, Section, rule

if TYPE_CHECKING:
    import numpy as np


class Objective(Component, kind="objective"):
    """What is minimised. Object: `(model, batch) -> (loss, metrics)`, loss a mean in nats, of which `metrics` has the
    plain cross-entropy (`loss`) and what it is a mean over (`tokens`: how many predictions); no module.

    One that reads logits of whole sequences has the trait `pooled`, as the heads that give them; one whose targets are
    tokens that the model must not see has the trait `next_token`; one that predicts tokens of running text, or of what
    is made of it, has `running`, and one that predicts all of them as they stand there `every_token`. An object may
    offer `scores()`, torchmetrics by name: held-out batches then have `predicted` among their metrics, of the shape of
    the batch's labels.
    """

    formulas: ClassVar[bool] = False

    #: The kinds of model it can train, by `model.type`.
    models: ClassVar[frozenset[str]] = frozenset()
    #: The kinds of samples it reads, as sources give them (`DataSource.gives`).
    samples: ClassVar[frozenset[str]] = frozenset({"text"})

    #: What its loss is measured in; a cross-entropy is in nats.
    measure: ClassVar[str] = "nats"
    #: What its loss is a mean over, where that is not what its samples say.
    unit: ClassVar[str | None] = None

    def fits_labels(self, labels: int | None, outputs: int) -> Fault | None:
        """What is wrong with so many labels in the data (None: not known yet) for a head of so many outputs."""
        if labels is None or labels <= outputs:
            return None
        what = f"the data has {labels} labels, but the model's head tells {outputs} apart"
        return Fault(what, "model.head.labels", f"say `labels: {labels}` in `model.head`")

    def cut(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """What its samples need to know of a tokenizer that `fits` besides the end of a text."""
        return {}

    def fits(self, tokenizer: Tokenizer) -> Faults:
        """What the objective needs of a tokenizer and does not find in this one; no torch."""
        return None

    def fits_length(self, tokenizer: Tokenizer, length: int, longest: int | None) -> Faults:
        """What is in the way of making its samples from `length` tokens each, for a model that reads `longest`."""
        return None

    def change(self, tokenizer: Tokenizer) -> Callable[[dict[str, Any], str], dict[str, Any]] | None:
        """What is made of a sample before it is learned from, or None for nothing.

        The function takes the arrays of a sample, (T,) each, and a word: whatever it draws by lot it draws from the
        word alone, which tells seed, split, epoch and sample. It can be pickled, and its arrays are new ones.
        """
        return None

    def start_id(self, tokenizer: Tokenizer) -> int | None:
        """The id that it teaches a decoder to begin a target with; None where it writes no targets for sources."""
        return None


class Tokenizer(Component, kind="tokenizer"):
    """Text to ids and back. Object: `encode(text)`, `decode(ids)`, `vocab_size`, `eos_id`, `fingerprint`.

    One that learns from the training documents says in `learned` which field then names the file that `train` gives the
    text of; until then it is `untrained`: its sizes and the ids of its special tokens are known, and nothing else.
    """

    formulas: ClassVar[bool] = False

    beside: ClassVar[dict[str, Any]] = {"model.vocab_size": None}
    #: The fields that name files it cannot do without: runs, builds and checkpoints keep copies of them.
    kept: ClassVar[tuple[str, ...]] = ()
    #: The field that names a tokenizer's file, and what pretrained models call that file; None: there is no such.
    reads: ClassVar[tuple[str, str] | None] = None
    #: The field that names the file it was trained into; None: there is nothing to learn.
    learned: ClassVar[str | None] = None

    @property
    def vocab_size(self) -> int | None:
        """How many ids there are, where that is known without data."""
        return None

    @property
    def counted(self) -> str:
        """What says how many ids there are, in words."""
        return "its type"

    @property
    def known(self) -> int | None:
        """How many of the ids stand for something: all, unless training found less to learn."""
        return self.vocab_size

    @property
    def mask_id(self) -> int | None:
        """The id that stands for a token that is to be told, if there is one."""
        return None

    @property
    def pad_id(self) -> int | None:
        """The id that fills up short samples, if there is one of its own."""
        return None

    @property
    def special_ids(self) -> tuple[int, ...]:
        """The ids that stand for no text, in order."""
        return ()

    @property
    def sentinel_ids(self) -> tuple[int, ...]:
        """Ids that stand for no text and that objectives give a meaning, in order: T5's `<extra_id_0>`, …"""
        found = (self.id_of(f"<extra_id_{number}>") for number in range(self.vocab_size or 0))
        return tuple(each for each in takewhile(lambda one: one is not None, found) if each is not None)

    def id_of(self, token: str) -> int | None:
        """The id of a token that is spelt so, special ones among them; None where there is none."""
        return None

    def begins_word(self) -> np.ndarray[Any, Any] | None:
        """(vocab_size,) bool: whether a token begins a word, or None where the ids do not tell.

        Raises `NotKnown` where only training will tell.
        """
        return None

    @property
    def untrained(self) -> bool:
        """Whether it has yet to learn what it writes."""
        return self.learned is not None and getattr(self, self.learned) is None

    def train(self, texts: Iterable[str]) -> str:
        """The text of the file that it learns from texts, which may be read more than once; raises ValueError."""
        raise TypeError(f"tokenizer `{self.spec_name}` learns nothing")

    def encode(self, text: str) -> np.ndarray[Any, Any]:
        """The ids of a text."""
        raise TypeError(f"tokenizer `{self.spec_name}` does not encode")

    def document(self, text: str) -> np.ndarray[Any, Any]:
        """The ids of a whole text as it is learned from, without its end: with what a template puts around it."""
        return self.encode(text)

    def prompt(self, text: str) -> np.ndarray[Any, Any]:
        """The ids of a text that is to be gone on with: with what a template puts before it."""
        return self.encode(text)

    @property
    def framed(self) -> bool:
        """Whether a template puts anything around a text."""
        return False

    def normal(self, text: str) -> str:
        """What comes back of a text whose every part is known: all of it, unless the tokenizer says otherwise."""
        return text

    def exported(self) -> dict[str, str]:
        """The files by which other libraries open it, their texts by their names."""
        return {}


class DataSource(Component, kind="source"):
    """Where documents come from. One that can tell without reading whether they are still the same, and still read in
    the same way, has a method `fingerprint() -> str | None`; None where it cannot tell after all.
    """

    formulas: ClassVar[bool] = False

    #: What kind of samples its documents make; an objective reads some of them.
    gives: ClassVar[str] = "text"

    def documents(self) -> Iterator[tuple[str, Any]]:
        """Every document as (name, content), in an order that is always the same.

        The content is what `gives` says: `text`, a str; `pairs`, (source, target), two of them; `labelled`,
        (text, label); `scored`, (text, number), the number as it is written; `images`, (pixels, label), the pixels as
        bytes in the order channel, row, column.
        """
        raise TypeError(f"source `{self.spec_name}` gives no documents")

    def classes(self, *, read: bool = False) -> list[str] | None:
        """The names of the labels, in the order of their numbers; None where there are none, or where they are known
        only once the documents are `read`."""
        return None


@dataclass(frozen=True, slots=True)
class Document:
    """A document on its way from a source to samples."""

    name: str
    #: The text; of a pair, its source and its target.
    texts: tuple[str, ...]
    label: str | None = None
    #: Documents of one group go to the same side of the split; None: the document's own text decides.
    group: str | None = None
    #: Whether it is made up out of another, so that nothing is measured on it.
    only_train: bool = False


class Dropped(Exception):
    """A document that a stage leaves out; the message says why, in words that many such documents share."""


class Stage(Component, kind="stage"):
    """What is done to a source's documents before samples are cut from them, once for a content and its settings.

    A stage either looks at each document alone (`each`), or compares them (`over`, of those with the trait `compares`).
    """

    formulas: ClassVar[bool] = False
    beside: ClassVar[dict[str, Any]] = {"data.source": "stdlib"}

    #: The kinds of samples (`DataSource.gives`) it works on.
    takes: ClassVar[frozenset[str]] = frozenset({"text", "pairs", "labelled", "scored"})
    #: Whether it makes several documents of one, which then are a group.
    divides: ClassVar[bool] = False

    def each(self, document: Document, lot: str) -> Iterator[Document]:
        """What becomes of one document; raises `Dropped` where nothing does. What it draws it draws from `lot` alone, a
        word that tells seed, stage and document. It runs in processes of its own: the stage is pickled."""
        raise TypeError(f"stage `{self.spec_name}` does nothing")

    def over(self, documents: Iterable[Document]) -> Iterator[Document | Dropped]:
        """For every document, in order, what becomes of it; `documents` can be read more than once and do not fit in
        memory."""
        raise TypeError(f"stage `{self.spec_name}` does nothing")

    def fingerprint(self) -> str:
        """What tells this stage from any that gives other documents. Raises ValueError where it cannot work."""
        return json.dumps([self.version, self.to_plain()])


class WeightGroup(Section):
    """Weights of which an optimizer is told something else than of the others."""

    parts: Annotated[list[str], Field(min_length=1)]
    """How the names of its weights begin (`embedding`, `layers.0`); `*` stands for any letters of a step
    (`layers.*.attention`), `**` for any number of steps (`**.router`). The first group that names a weight has it."""
    lr: PositiveFloat | None = None
    """Their learning rate, in place of the optimizer's."""
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Their weight decay, in place of the optimizer's; vectors never decay."""

    @rule("lr", "weight_decay", "parts")
    def _says_something(lr: float | None, weight_decay: float | None, parts: list[str]) -> Faults:
        if lr is None and weight_decay is None:
            return Fault("the group changes nothing", "parts", "say its `lr` or its `weight_decay`")
        return None


class Optimizer(Component, kind="optimizer"):
    """What moves the weights. Object: `(weights) -> torch.optim.Optimizer`, of the parameters that learn.

    Each of the `weights` (`blueprint.ops.Weight`) tells its name, its role, and the `lr` and `weight_decay` that are
    said of it alone; `blueprint.ops.parameter_groups` makes torch's groups of them.
    """

    formulas: ClassVar[bool] = False

    groups: list[WeightGroup] = []
    """Parts of the model that learn at a rate of their own, or decay otherwise."""


class Schedule(Component, kind="schedule"):
    """The learning rate through time: `factor(step, total)` multiplies the optimizer's `lr`; no torch."""

    formulas: ClassVar[bool] = False

    def factor(self, step: int, total: int) -> float:
        """The multiplier at optimizer step `step` (from 0) of `total`."""
        raise TypeError(f"schedule `{self.spec_name}` has no factor")
