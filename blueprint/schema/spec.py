"""The spec: every section of the language below `model`, and the rules between sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, PrivateAttr

from blueprint.component import Component, Fault, Faults, FilePath, Section, as_faults, rule, slot
from blueprint.kinds import Attention, Objective, Optimizer, Positions, Router, Schedule, Tokenizer
from blueprint.schema.data import Data
from blueprint.schema.learning import Ema, Recompute
from blueprint.schema.model import TOLD, Model, told_by
from blueprint.schema.pairing import Pairing
from blueprint.schema.precision import PLAYED, PrecisionPolicy, policy_faults
from blueprint.schema.shape import fields
from blueprint.schema.trainer import Trainer
from blueprint.schema.writing import Writing
from blueprint.section import sections
from blueprint.tree import Entry, Map, Scalar

VERSION = 1

Fraction = Annotated[float, Field(ge=0, lt=1)]


class Checkpoints(Section):
    """When a run is saved."""

    every_n_steps: PositiveInt = 100
    """Optimizer steps between checkpoints; the end of the run is always saved."""
    keep: PositiveInt = 2
    """How many of the newest checkpoints stay."""


class Samples(Section):
    """Text drawn now and then while training, to see what the model has learned."""

    every_n_steps: PositiveInt = 100
    """Optimizer steps between samples."""
    prompt: str = "def "
    """What the sample begins with."""
    tokens: PositiveInt = 96
    """How many tokens are drawn."""
    temperature: Annotated[float, Field(ge=0)] = 0.8
    """0 takes the likeliest token each time."""


class Start(Section):
    """Weights to begin from: another run, a checkpoint, or a build folder."""

    from_: FilePath = Field(alias="from")
    """A run folder, a checkpoint file or a folder with weights; relative to the file of the spec that says so."""
    parts: Literal["all"] | list[str] = "all"
    """`all`, or prefixes of the names of the parameters to take (`embedding`, `layers.0`)."""
    strict: bool = True
    """Whether every chosen parameter must be found with the right shape; false takes what fits and lists the rest."""


class Spec(Pairing):
    """A whole spec, valid and complete."""

    #: Keys of a spec's text that have done their work before it is validated.
    read_before: ClassVar[tuple[str, ...]] = ("extends", "plugins")

    blueprint: Literal[1] = 1
    """Version of the language."""
    name: str = "model"
    """What the model is called."""
    description: str | None = None
    """What it is for, in the author's words."""
    seed: NonNegativeInt = 0
    """Seeds the initial weights, the order of the data and dropout."""
    model: Model = slot()
    """The network."""
    tokenizer: Tokenizer | None = slot(None)
    """Text to ids."""
    data: Data | None = None
    """What it learns from."""
    objective: Objective | None = slot("causal")
    """What is minimised; where nothing is said, what the model is usually trained by (null for an encoder, with
    `causal: false`, and under a head whose output is no token's)."""
    optimizer: Optimizer = slot("adamw")
    """What moves the weights."""
    schedule: Schedule = slot("constant")
    """The learning rate through time."""
    trainer: Trainer = Trainer()
    """Lightning's Trainer."""
    precision: PrecisionPolicy | None = None
    """How number formats are used beyond `trainer.precision`; null means as each key says where nothing is said."""
    start: Start | None = None
    """Weights to begin from."""
    freeze: list[str] = []
    """Parts that do not learn: how the names of their weights begin (`embedding`, `layers.0`), with `*` for any letters
    of a step (`layers.*.attention`) and `**` for any number of steps (`**.bias`)."""
    recompute: Recompute | None = None
    """Computing again in place of keeping, to save memory."""
    compile: bool = False
    """Whether torch compiles the layers' blocks while training: faster steps after a slow start. Numbers agree to
    rounding, and dropout draws others."""
    ema: Ema | None = None
    """An average of the weights beside them: often the better model."""
    checkpoint: Checkpoints = Checkpoints()
    """When a run is saved."""
    sample: Samples | None = Samples()
    """Text drawn while training; null for none, as under a model that does not write text."""
    writing: Writing | None = None
    """What the model writes for held-out sources, and how that is scored; null for nothing."""

    @classmethod
    def prepare(cls, node: Map) -> Map:
        """Where nothing is said, the objective is the model's usual one, and text is drawn if the model writes any."""
        said = node.get("model")
        model = fields(cls)["model"].member_of(said)
        if model is None or not issubclass(model, Model):
            return node
        head = fields(model).get("head")
        chosen = None if head is None else head.member_of(said.get("head") if isinstance(said, Map) else None)
        other = chosen is not None and issubclass(chosen, Component) and told_by(chosen.traits) is not None
        if "objective" not in node.entries:
            causal = said.get("causal") if isinstance(said, Map) else None
            sees_all = isinstance(causal, Scalar) and causal.value is False
            usual = None if other or sees_all else model.objective
            node = node.with_entry(Entry("objective", node.span, Scalar(usual, node.span)))
        if "sample" not in node.entries and (other or "generates" not in model.traits):
            node = node.with_entry(Entry("sample", node.span, Scalar(None, node.span)))
        return node

    def default(self, name: str, inherited: Mapping[str, Section] = MappingProxyType({})) -> Any:
        """What a key holds where nothing is said: for some that follows from the model."""
        if name == "objective":
            sees_all = not getattr(self.model, "causal", True)
            usual = None if self.model.tells or sees_all else self.model.objective
            return None if usual is None else Objective.of(usual)
        if name == "sample" and not self.model.generates:
            return None
        return super().default(name, inherited)

    _root: Map | None = PrivateAttr(default=None)
    _plugins: tuple[str, ...] = PrivateAttr(default=())

    @property
    def root(self) -> Map | None:
        """The tree the spec was read from, with positions; None for a spec made in Python."""
        return self._root

    @property
    def plugins(self) -> tuple[str, ...]:
        """The plugins the spec named and the user allowed."""
        return self._plugins

    @property
    def vocab_size(self) -> int:
        """The model's vocabulary: said, or the tokenizer's."""
        said: int | None = getattr(self.model, "vocab_size", None)
        known = said if said is not None else self.tokenizer.vocab_size if self.tokenizer else None
        if known is None:
            raise ValueError("the vocabulary's size is known only once the tokenizer has been trained")
        return known

    @rule("compile", "trainer")
    def _compiles(compiled: bool, trainer: Trainer) -> Faults:
        if compiled and trainer.strategy.pieces != 1:
            what = "pieces of a model cannot be compiled: what passes between them is not torch's own"
            return Fault(what, "compile", "leave it out, or say `tensor_parallel_size: 1`")
        return None

    @rule("model", "tokenizer")
    def _vocabulary(model: Any, tokenizer: Tokenizer | None) -> Faults:
        if not hasattr(model, "vocab_size"):
            return None
        at = f"model.{model.vocabulary_at}"
        if not model.reads_ids:
            said = f"the model takes {', '.join(model.inputs())}, which no tokenizer writes"
            return None if tokenizer is None else Fault(f"the tokenizer does nothing: {said}", "tokenizer", "remove it")
        if tokenizer is None:
            if model.vocab_size is None:
                return Fault(
                    "`vocab_size` must be said, as there is no tokenizer to take it from",
                    at,
                    f"say `vocab_size` in `{at.rpartition('.')[0]}`, or a `tokenizer`",
                )
            return None
        needed = tokenizer.vocab_size
        if needed is not None and model.vocab_size is not None and model.vocab_size < needed:
            return Fault(
                f"the model knows {model.vocab_size} tokens, as `{at}` says, but tokenizer "
                f"`{tokenizer.spec_name}` writes {needed}, as {tokenizer.counted} says",
                at,
                "leave `vocab_size` out to take the tokenizer's",
            )
        return None

    @rule("sample", "model")
    def _writes_text(sample: Samples | None, model: Model) -> Faults:
        if sample is None or model.generates:
            return None
        why = (
            f"its head gives {TOLD[model.tells]}"
            if model.tells
            else f"a model of type `{model.spec_name}` reads whole sequences"
        )
        return Fault(f"the model does not write text to sample: {why}", "sample", "remove `sample`")

    @rule("schedule", "trainer")
    def _schedule_fits(schedule: Schedule, trainer: Trainer) -> Iterator[Fault]:
        for fault in () if trainer.max_steps is None else as_faults(schedule.fits(trainer.max_steps)):
            yield replace(fault, at=f"schedule.{fault.at}" if fault.at else "schedule")

    @rule("freeze")
    def _frozen_once(freeze: list[str]) -> Iterator[Fault]:
        for index, part in enumerate(freeze):
            by = next((each for each in freeze if each != part and part.startswith(f"{each}.")), None)
            if by is not None or part in freeze[:index]:
                yield Fault(f"`{part}` is frozen already, by `{by or part}`", f"freeze.{index}", "remove it")

    @rule("compile", "recompute")
    def _compiled_as_a_whole(compile: bool, recompute: Recompute | None) -> Faults:
        if compile and recompute is not None:
            message = "a block that is compiled cannot be computed again part by part"
            return Fault(message, "compile", "leave out `compile` to save memory, `recompute` to save time")
        return None

    @rule("ema", "trainer")
    def _average_begins(ema: Ema | None, trainer: Trainer) -> Faults:
        if ema is None or trainer.max_steps is None or ema.begin + ema.every_n_steps <= trainer.max_steps:
            return None
        message = f"nothing is averaged within {trainer.max_steps} training steps"
        return Fault(message, "ema", "begin earlier, update more often, or train longer")

    @rule("data", "model")
    def _restarts_what_is_read(data: Data | None, model: Model) -> Faults:
        if data is None or data.positions == "continue":
            return None
        for part in sections(model):
            if isinstance(part, Positions) or (isinstance(part, Attention) and part.reads_positions):
                return None
        message = "`positions: restart` does nothing: no part of the model reads positions"
        return Fault(message, "data.positions", "remove it")

    @rule("precision", "model")
    def _roles_are_played(policy: PrecisionPolicy | None, model: Model) -> Iterator[Fault]:
        said = () if policy is None or policy.float32 is None else policy.float32
        played = {part.float32_role for part in sections(model) if isinstance(part, Component)} if said else set()
        for index, role in enumerate(said):
            if role in PLAYED and role not in played:
                yield Fault(f"the model has no {role} to keep in float32", f"precision.float32.{index}", "remove it")

    @rule("trainer", "model")
    def _experts_to_share_out(trainer: Trainer, model: Model) -> Faults:
        if getattr(trainer.strategy, "expert_parallel_size", 1) == 1:
            return None
        if any(isinstance(part, Router) for part in sections(model)):
            return None
        at = "trainer.strategy.expert_parallel_size"
        return Fault("the model has no experts to share out among devices", at, "leave it out")

    @rule("precision", "trainer")
    def _policy_has_effect(policy: PrecisionPolicy | None, trainer: Trainer) -> Iterator[Fault]:
        for fault in () if policy is None else policy_faults(policy, trainer):
            yield replace(fault, at=".".join(filter(None, ("precision", fault.at))))
