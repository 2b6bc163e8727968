"""The kinds of what a model learns from and by: objectives, tokenizers, sources and stages, optimizers, schedules.

They are spoken of as `blueprint.kinds`, beside the parts of models.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PositiveFloat

from blueprint.component import Component, Fault, Faults, Section, rule

if TYPE_CHECKING:
    import numpy as np


class _OfPart:
    def __init__(self, field: str, usual: Any) -> None:
        self.field, self.usual = field, usual

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        return self.usual if instance is None else getattr(getattr(instance, self.field), self.name)


def of_part(field: str, usual: Any) -> Any:
    """A class variable that an instance takes from the part in one of its fields; the class itself has `usual`."""
    return _OfPart(field, usual)


class Objective(Component, kind="objective"):
    """What is minimised. Object: `(model, batch) -> (loss, metrics)`, loss a mean in nats, of which `metrics` has the
    plain cross-entropy (`loss`) and what it is a mean over (`tokens`: how many predictions); no module. The site's
    `extra` says how many `classes` the model's head tells apart, where it does.

    One that reads logits of whole sequences has the trait `pooled`, as the heads that give them, one that reads classes
    of tokens `tags`, as those; one whose labels are classes has the trait `labels`, and `several` where a sample may
    have any number of them; one whose targets are tokens that the model must not see has the trait `next_token`; one
    that predicts tokens of running text, or of what is made of it, has `running`, and one that predicts all of them as
    they stand there `every_token`; one by which a decoder learns to see prompts both ways has `prefixes`; one whose
    predictions are a softmax's, over tokens or classes, has `softmax`; one whose loss hangs on which samples a batch
    has, because it compares them, has `compares`.

    An object may offer `scores()`, torchmetrics by name: held-out batches then have `predicted` among their metrics, of
    the shape of the batch's labels, or `told`, what each score is updated with, by its name. It may offer
    `refer(model, references)`: before its scores are asked for, it is given what the data says of its labels at large,
    arrays by name (an empty map where that is nothing). Of held-out batches `loss` and `tokens` may be vectors, of
    parts whose means add up; an object of such parts has a `share`, which a training sets to what weighs the mean of so
    many predictions among those of other processes.

    One that asks models which were trained elsewhere names them in `asks`. In training its object then has been given
    them, by `meet(models)`; they are in eval mode, learn nothing and are stored nowhere with the model that learns.
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

    def asks(self) -> Mapping[str, str]:
        """Where the models lie that it asks, by the key that says so (`teacher`): runs, checkpoints or folders. They
        answer the same samples, by as many outputs, as the model that learns."""
        return {}

    def keeps(self) -> str | None:
        """What tells the answers of those models from any others about the same samples, where they are worth keeping
        on disk; None where they are asked anew each time.

        The object then has `answers(batch) -> {name: (B, …)}`, which depend on the sample alone; a training batch has
        those of its samples under their names."""
        return None

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

    def encode_all(self, texts: Sequence[str]) -> list[np.ndarray[Any, Any]]:
        """What `encode` gives for each of many texts."""
        return [self.encode(text) for text in texts]

    def document_all(self, texts: Sequence[str]) -> list[np.ndarray[Any, Any]]:
        """What `document` gives for each of many texts."""
        return [self.document(text) for text in texts]

    def words(self, words: Sequence[str]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The ids of a document of words with a space between each two, and the number of the word that each is of,
        from 0: -1 for what is of none. One that cuts no text at spaces but writes across them says otherwise."""
        import numpy as np

        parts = [np.asarray(self.encode(f" {word}" if number else word)) for number, word in enumerate(words)]
        numbers = [np.full(len(part), number) for number, part in enumerate(parts)]
        return np.concatenate(parts), np.concatenate(numbers)

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
        (text, label); `multi_labelled`, (text, labels); `tagged`, (words, labels), as many; `scored`, (text, number),
        the number as it is written; `images`, (pixels, label), the pixels as bytes in the order channel, row, column;
        `captioned`, (pixels, (texts, label)), the label None where there are no classes.
        """
        raise TypeError(f"source `{self.spec_name}` gives no documents")

    def group(self, name: str) -> str | None:
        """What the document of that name is a part of: all of that is held out, or none. None: its own text decides."""
        return None

    def classes(self, *, read: bool = False) -> list[str] | None:
        """The names of the labels, in the order of their numbers; None where there are none, or where they are known
        only once the documents are `read`."""
        return None

    def prompts(self) -> list[list[str]] | None:
        """Texts that tell of each label, as many of each, in the order of their numbers; None where there are none."""
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
    takes: ClassVar[frozenset[str]] = frozenset({"text", "pairs", "labelled", "multi_labelled", "scored"})
    #: Whether it makes several documents of one, which then are a group.
    divides: ClassVar[bool] = False

    def each(self, document: Document, lot: str) -> Iterator[Document]:
        """What becomes of one document; raises `Dropped` where nothing does. What it draws it draws from `lot` alone, a
        word that tells seed, stage and document. It runs in processes of its own."""
        raise TypeError(f"stage `{self.spec_name}` does nothing")

    def sketch(self, document: Document) -> bytes:
        """What `over` has to know of a document before: `sketch_size` bytes, worked out in processes of their own."""
        return b""

    @property
    def sketch_size(self) -> int:
        """Bytes of each sketch; 0: there are none."""
        return 0

    def over(self, documents: Iterable[Document], sketches: Iterable[bytes]) -> Iterator[Document | Dropped]:
        """For every document, in order, what becomes of it; `documents` can be read more than once and do not fit in
        memory, the `sketches` of all once."""
        raise TypeError(f"stage `{self.spec_name}` does nothing")

    def fingerprint(self) -> str:
        """What tells this stage from any that gives other documents. Raises ValueError where it cannot work."""
        return json.dumps([self.version, self.to_plain()])


class TextScore(Component, kind="text_score"):
    """How near written texts come to those they should have been: 100 for all of them, the more the better.

    Object: `(written, wanted) -> float`, of as many texts each.
    """

    formulas: ClassVar[bool] = False
    beside: ClassVar[dict[str, Any]] = {
        "model.type": "encoder_decoder",
        "model.vocab_size": None,
        "tokenizer": "byte",
        "data.source": "reversal",
    }

    #: What it is called in tables.
    title: ClassVar[str] = ""


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
