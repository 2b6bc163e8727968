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

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from blueprint.component import Component, Site
from blueprint.data_kinds import DataSource, Document, Dropped, Stage, TextScore, Tokenizer
from blueprint.learning_kinds import Objective, Optimizer, Schedule, WeightGroup, of_part

if TYPE_CHECKING:
    from blueprint.choice import Choice
    from blueprint.visible import Visible

__all__ = [
    "Attention",
    "Balance",
    "Block",
    "Contrast",
    "DataSource",
    "Document",
    "Dropped",
    "Embedding",
    "FeedForward",
    "Head",
    "Init",
    "Mask",
    "Norm",
    "Objective",
    "Optimizer",
    "Pool",
    "Position",
    "Positions",
    "Residual",
    "Router",
    "Schedule",
    "Stage",
    "TextScore",
    "Tokenizer",
    "WeightGroup",
    "of_part",
]


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

    @property
    def reads_positions(self) -> bool:
        """Whether anything in it follows the positions of tokens, beside their order."""
        return True

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

    #: Whether it reads any.
    reads_positions: ClassVar[bool] = True

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
    vectors)`, the vectors by side; `compare(image_IP, text_JP)` gives the logits (I, J) of such vectors, from whatever
    batches; the site's `extra` holds the width of each side's."""


class Head(Component, kind="head"):
    """Hidden states to the output. Module: `(x_BTD, table_VD or None, flow or None) -> logits`; `tie` uses the
    embedding's table. Logits are those of every token, or of the whole sequence (B, labels) where the head has the
    trait `pooled`; such a head reads of the flow which tokens are padding (no flow: none is). One whose logits are over
    the vocabulary has the trait `vocabulary`, one that gives every token's logits over classes `tags`.
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
