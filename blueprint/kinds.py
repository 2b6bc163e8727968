"""The kinds a spec has places for, each with the one signature its modules keep to.

The engine calls modules only by these signatures, whoever wrote them. `B` batch, `T` tokens, `D` width; `flow`
(`blueprint.ops.Flow`) is made once a forward and holds positions, padding, segments and shared parts; `terms` are
named scalars (an empty dict where there are none), logged by name: one whose name ends in `_loss` is a loss, weighted
by the part itself, and joins what training minimises; any other is a statistic. Equal names are added up.

A module may have `settle(everyone) -> statistics`, called after every optimizer step of a training: it changes what
follows the step's measurements and not its gradients, and tells what it has measured since, named tensors of one number
or of several (a load, expert by expert). `everyone` sums a tensor over all processes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PositiveFloat

from blueprint.component import Component, Fault, Faults, Section, Site, rule

if TYPE_CHECKING:
    import numpy as np

    from blueprint.choice import Choice
    from blueprint.visible import Visible


class Attention(Component, kind="attention"):
    """The sequence mixer of a block: how tokens see each other.

    Module: `(x_BTD, flow, state=None) -> (x_BTD, terms)`. One that decodes step by step has the trait `incremental`
    and offers `new_state(batch, length, dtype, device)`; without it, decoding runs the whole prefix each time. One with
    the trait `memory` also builds at a site that is `across`: there it reads `flow.memory`, what it computes of that
    once lives in its state, and `visible` is what of the memory it sees. `steady(length) -> int or None`, where it has
    one, tells up to how many tokens what is kept of `length` stays what it would be anew (None: for ever); past that,
    decoding makes the state anew from the whole sequence.
    """

    #: Fields that speak of the places of tokens in one sequence, and so mean nothing across: what stands there then.
    across: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def visible(self, at: Site) -> Visible | None:
        """Which keys a query may see here, or None where the mixer is no attention."""
        return None

    def choice(self, at: Site, length: int, device: str) -> Choice | None:
        """What will compute attention over `length` tokens on a kind of device ("cpu", "cuda"), for the plan to tell;
        None where the mixer has no backends.
        """
        return None


class Mask(Component, kind="mask"):
    """Which keys a query may see, symbolically. Causality is the stack's; a mask only narrows. No module."""

    def visible(self, at: Site) -> Visible:
        """The symbolic mask at this site."""
        raise TypeError(f"mask `{self.spec_name}` does not say what is visible")


class Position(Component, kind="position"):
    """Positions inside an attention.

    Module, each hook optional: `rotate(x_BHTE, position_BT) -> x_BHTE`;
    `bias(q_position_BT, k_position_BS) -> (1 or B, H, T, S)`, added to the scaled scores;
    `score_bias(project_q, project_k)`, given what makes queries (H, N, E) and keys (G, N, E) of vectors (N, D) and
    called once a forward, for a function `(q_BHTE, k_BGSE, q_position_BT, k_position_BS) -> (B, H, T, S)` that is
    scaled and added to the scores; `value_bias(p_BHTS, q_position_BT, k_position_BS) -> (B, H, T, V)`, added to what
    the weights p gather. Functions of positions, never of array indices. One whose rotations follow the length of the
    sequence has `steady(length)`, as an attention's. The site's `width` is the head's width, its
    `value_dim` that of a head's values.
    """

    def asks(self) -> frozenset[str]:
        """What attention must be able to do for it: `bias` (add to scores), `content` (show it queries and keys),
        `values` (add to what is gathered)."""
        return self.traits & {"bias", "content", "values"}


class Norm(Component, kind="norm"):
    """A normalisation over the last axis. Module: `(x) -> x`, the same shape; the site's `width` is that axis."""

    inherits: ClassVar[bool] = True
    fallback: ClassVar[str | None] = "rms"
    float32_role: ClassVar[str | None] = "norm"


class FeedForward(Component, kind="feed_forward"):
    """The token-wise part of a block. Module: `(x_BTD, flow) -> (x_BTD, terms)`. One whose tokens do depend on each
    other has an attribute `incremental` that is false."""

    def serves(self, at: Site) -> str | None:
        """What of it serves a token, in words for the plan to tell; None where that is all of it."""
        return None


class Router(Component, kind="router"):
    """Which experts a token goes to. Module: `(x_BTD, flow) -> blueprint.ops.Routing` of all B · T tokens, in order.

    The site's `extra` says how many `experts` there are, and whether anything beside the router counts by its groups
    (`counted`). `gives` names what its routings hold for balances besides
    the choices: `probability` where choices follow it, `weight` where weights are learned, `logits`, or a name of
    `more`; `correction` where the module has a buffer of that name, (E,), that is added to what experts are chosen by
    and to nothing else; and `weigh` where routings hold `score_NE` and the module has
    `weigh(routing, expert_NK) -> weight_NK`, what it gives other choices of the tokens (the number of experts: no
    choice). Padding may be routed like any token:
    what becomes of it is seen to elsewhere, unless the router chooses among tokens. One with the trait `looks_ahead`
    chooses among all tokens of a sequence, later ones too.
    """

    float32_role: ClassVar[str | None] = "router"

    @property
    def gives(self) -> frozenset[str]:
        """What its routings hold for balances besides the choices."""
        return frozenset({"probability", "weight", "logits"})

    def choices(self, at: Site) -> float:
        """How many experts a token passes through, on average."""
        raise TypeError(f"router `{self.spec_name}` does not say how many experts a token passes through")

    @property
    def group_count(self) -> int | None:
        """How many groups of equal size it holds the experts in, if it does: a balance may count by them."""
        return None

    @property
    def groups_kept(self) -> int | None:
        """How many of those groups may serve a token."""
        return None

    def fewest(self, at: Site) -> int:
        """How few experts keep its structure, for trying out what is too large to run."""
        return 4


class Balance(Component, kind="balance"):
    """What keeps experts evenly used. Module: `(routing, flow) -> terms`, called while a model learns; its losses are
    weighted already.

    `needs` names what the router must give. One that acts by the load that the router asked for over a whole optimizer
    step, whatever room there was, has a method `adjust(router, load_E)`, called after it: the correction that some
    routers give is a tensor `correction` (E,) of theirs. The site's `extra` says how many `experts` there are, how many
    `choices` a token makes on average, the `groups` of the router, and how many of them are `kept`.
    """

    lasts: ClassVar[bool] = False

    @property
    def needs(self) -> frozenset[str]:
        """What the router must give for it."""
        return frozenset()


class Block(Component, kind="block"):
    """One layer: a mixer and a feed-forward with their norms and residuals.

    Module: `(x_BTD, flow, state=None) -> (x_BTD, terms)` and `new_state` as a mixer's. A block that can read a memory
    (`at.memory`) does so by an attention called `cross_attention`, which its site marks as `across`; in a stack that
    has a memory, what is not said of it is what `attention` says.
    """


class Residual(Component, kind="residual"):
    """How a sublayer's output joins the stream. Module: `(x_BTD, y_BTD) -> x_BTD`."""


class Embedding(Component, kind="embedding"):
    """Inputs to vectors. Module: `(input, flow) -> x_BTD`, the input being what `takes` names; `tokens.weight`
    (vocabulary, width) where it has a table that a head may tie to, and `token_types` where it reads the flow's types
    of tokens."""

    #: The input it takes, by its name on the public face: `input_ids` (B, T), or another, of `input_shape`.
    takes: ClassVar[str] = "input_ids"

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """The shape of one input, the batch aside; None for ids, of which there may be any number."""
        return None

    def tokens_of(self, at: Site) -> int | None:
        """How many tokens one input becomes, where that is always the same; None: as many as ids are given."""
        return None

    def table_width(self, at: Site) -> int | None:
        """The width of the token table that a head may tie to; None where there is none."""
        return at.width


class Positions(Component, kind="positions"):
    """Absolute positions added to the embeddings. Module: `(flow) -> x_BTD` (or broadcastable)."""

    beside: ClassVar[dict[str, Any]] = {"model.block.attention.position": "none"}


class Pool(Component, kind="pool"):
    """What stands for a whole sequence. Module: `(x_BTD, flow or None) -> x_BP`, P being `pooled_width`; padding, of
    which the flow tells (no flow: there is none), counts for nothing."""

    def pooled_width(self, at: Site) -> int:
        """The width of the vector."""
        return at.width


class Contrast(Component, kind="contrast"):
    """How the vectors of two towers are compared. Module: `(image_ID or None, text_JD or None) -> (logits_IJ or None,
    vectors)`, the vectors by side; the site's `extra` holds the width of each side's."""


class Head(Component, kind="head"):
    """Hidden states to the output. Module: `(x_BTD, table_VD or None, flow or None) -> logits`; `tie` uses the
    embedding's table. Logits are those of every token, or of the whole sequence (B, labels) where the head has the
    trait `pooled`; such a head reads of the flow which tokens are padding (no flow: none is). One whose logits are over
    the vocabulary has the trait `vocabulary`.
    """

    float32_role: ClassVar[str | None] = "head"
    float32_result: ClassVar[bool] = True

    @property
    def classes(self) -> int | None:
        """How many classes the logits are of; None where they are of tokens, or of none."""
        return None


class Init(Component, kind="init"):
    """Initial weights. Object: `fill(role, tensor, fan_in, fan_out, generator, layers)` in place; no module.

    Roles: `linear`, `residual` (an output projection into the stream), `embedding`, `head`; biases are zero, and
    every other parameter keeps what its module's constructor or `reset_parameters` gave it.
    """

    lasts: ClassVar[bool] = False


class Objective(Component, kind="objective"):
    """What is minimised. Object: `(model, batch) -> (loss, metrics)`, loss a mean in nats, of which `metrics` has the
    plain cross-entropy (`loss`) and what it is a mean over (`tokens`: how many predictions); no module.

    One that reads logits of whole sequences has the trait `pooled`, as the heads that give them; one whose targets are
    tokens that the model must not see has the trait `next_token`; one that predicts tokens of running text as they
    stand there has `running`, and one that predicts all of them `every_token`. An object may offer `scores()`,
    torchmetrics by name: held-out batches then have `predicted` among their metrics, of the shape of the batch's
    labels.
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
