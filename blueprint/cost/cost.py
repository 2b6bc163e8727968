"""`bp.cost`: everything measured, or said to be unknown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

import torch

from blueprint.cost import flops as counted
from blueprint.cost import memory, parameters
from blueprint.cost.mesh import Mesh, MeshError, Speeds
from blueprint.cost.mesh_report import MeshCost
from blueprint.cost.on_mesh import At, Known, on_mesh
from blueprint.cost.reduce import alike, measured
from blueprint.cost.report import Cost, Memory
from blueprint.model.build import build_plan
from blueprint.model.trial import trial_loss
from blueprint.model.weights import freeze
from blueprint.plan import Plan, plan
from blueprint.schema.spec import Spec

T = TypeVar("T")

_NO_LENGTH = "no length: the spec says neither data.length nor model.max_length"


@overload
def cost(spec: Spec, length: int | None = None, batch: int | None = None) -> Cost: ...


@overload
def cost(
    spec: Spec,
    length: int | None = None,
    batch: int | None = None,
    *,
    mesh: str | Mapping[str, int],
    strategy: str | None = None,
    link: str | float | Mapping[str, str | float] | None = None,
    memory_bandwidth: str | float | None = None,
    flops: str | float | None = None,
) -> MeshCost: ...


@overload
def cost(
    spec: Spec,
    length: int | None = None,
    batch: int | None = None,
    *,
    mesh: str | Mapping[str, int] | None,
    strategy: str | None = None,
    link: str | float | Mapping[str, str | float] | None = None,
    memory_bandwidth: str | float | None = None,
    flops: str | float | None = None,
) -> Cost | MeshCost: ...


def cost(
    spec: Spec,
    length: int | None = None,
    batch: int | None = None,
    *,
    mesh: str | Mapping[str, int] | None = None,
    strategy: str | None = None,
    link: str | float | Mapping[str, str | float] | None = None,
    memory_bandwidth: str | float | None = None,
    flops: str | float | None = None,
) -> Cost | MeshCost:
    """What a spec's model costs for `batch` sequences of `length` tokens, under the spec's precision.

    `length` is the spec's `data.length` where nothing is said, else the model's `max_length`. The model is built on the
    meta device and run without values: nothing is allocated, whatever its size. What cannot be told without data is
    None in the result, with the reason in its `unknown`.

    With a `mesh`, `dp=8,tp=4` or a mapping, it is what a step costs each of its devices: the batch (one sequence for
    each of dp, if not given) is split over dp, and by a `strategy` that shards parameters are as well: that of
    `trainer.strategy`, where that is one. From stated speeds (`link` `50GB/s`, by dimension `dp=50GB/s,tp=400GB/s`;
    `memory_bandwidth` `2TB/s`; `flops` `300T`) follows how long it takes at least.
    Raises ValueError for a length or batch below 1, a length the model has no positions for, or a mesh that divides
    nothing, and `SpecError`.
    """
    speeds = Speeds.of(link, memory_bandwidth, flops)
    if mesh is None and (speeds != Speeds.of() or strategy is not None):
        raise MeshError("a strategy and speeds say something of a mesh, and there is none", "say a mesh, as dp=8,tp=4")
    written = plan(spec)
    length = _length(spec, written, length, 1 if batch is None else batch)
    unknown: dict[str, str] = {}

    def known(names: tuple[str, ...], find: Callable[[], T]) -> T | None:
        try:
            return find()
        except Exception as error:  # a part may do anything; what it did is the reason
            reason = f"{type(error).__name__}: {(str(error).strip() or 'no more is known').splitlines()[0]}"
            unknown.update(dict.fromkeys(names, f"it does not run without data ({reason})"))
            return None

    def at_length(names: tuple[str, ...], find: Callable[[int], dict[str, int]]) -> dict[str, int]:
        if length is None:
            unknown.update(dict.fromkeys(names, _NO_LENGTH))
            return {}
        return known(names, lambda: find(length)) or {}

    if mesh is not None:
        own = spec.trainer.strategy
        devices = Mesh.of(mesh, own.spec_name if strategy is None and own.shards is not None else strategy)
        return on_mesh(spec, written, length, batch, devices, speeds, known, at_length, unknown)
    return _on_one(spec, written, length, batch or 1, known, at_length, unknown)


def _on_one(
    spec: Spec, written: Plan, length: int | None, batch: int, known: Known, at_length: At, unknown: dict[str, str]
) -> Cost:
    model = memory.cast(build_plan(written, device="meta"), spec.trainer.precision)
    freeze(model, spec)
    work = at_length(
        ("flops_forward", "flops_attention", "flops_training", "flops_per_token"),
        lambda n: measured(written, lambda part: counted.operations(part, n, batch, spec), bool(spec.freeze)),
    )
    step = at_length(("memory.activations", "memory.training"), lambda n: activations(spec, written, n, batch))
    state = known(("memory.optimizer", "memory.training"), lambda: memory.optimizer_state(spec, model, written))
    update = known(("memory.updating", "memory.training"), lambda: memory.updating(spec, model, written))
    held, gradients = memory.weights(model)
    one_more, cache = _cache(model, length, batch, unknown, known)
    return Cost(
        name=written.name,
        length=length,
        batch=batch,
        precision=spec.trainer.precision,
        parameters=parameters.total(model),
        active_parameters=parameters.active(model),
        by_part=parameters.by_part(model),
        layers=parameters.by_layer(model, written),
        flops_forward=work.get("forward"),
        flops_attention=work.get("attention"),
        flops_training=work.get("training"),
        cache_bytes_per_token=one_more,
        cache_bytes=cache,
        memory=Memory(held, gradients, state, step.get("activations"), memory.averages(spec, model), updating=update),
        unknown=unknown,
        tokens=_tokens(written, length),
    )


def activations(spec: Spec, written: Plan, length: int, batch: int) -> dict[str, int]:
    """The most bytes a training step holds beside weights and gradients, measured on as few layers as tell it."""

    def under(objective: memory.Loss) -> Callable[[Plan], dict[str, int]]:
        return lambda part: memory.activations(spec, part, length, batch, objective)

    # Where layers compute again, the moment at which most is held moves with their number.
    whole = not alike(spec) or spec.recompute is not None
    return measured(written, under(trial_loss(spec, written.site)), whole, under(memory.plain_loss))


def _length(spec: Spec, written: Plan, length: int | None, batch: int) -> int | None:
    """The length to measure at."""
    longest = written.site.max_length
    if not written.model.reads_ids:
        if length is not None and length != longest:
            raise ValueError(f"{length} tokens: an input of this model is always {longest}, whatever it shows")
        length = longest
    if length is None:
        length = spec.data.length if spec.data and spec.data.length else longest
    if batch < 1 or (length is not None and length < 1):
        raise ValueError(f"length and batch must be 1 or more, got {length} and {batch}")
    if length is not None and longest is not None and length > longest:
        for _, part, _ in written.parts():
            if "needs_length" in part.traits:
                raise ValueError(
                    f"{length} tokens: the model's {part.spec_name} {part.kind} end at max_length {longest}"
                )
    return length


def _tokens(written: Plan, length: int | None) -> int | None:
    """Tokens of one sample in all stacks: as many as said where they are ids, as many as there always are elsewhere."""
    each = [length if site.ids else site.max_length for site in written.model.sides(written.site).values()]
    return None if None in each else sum(count for count in each if count is not None)


def _cache(
    model: Any, length: int | None, batch: int, unknown: dict[str, str], known: Callable[..., Any]
) -> tuple[int | None, int | None]:
    """Bytes that one more token of one sequence adds to the state, and those of the whole."""
    names = ("cache_bytes_per_token", "cache_bytes")
    if not model.incremental:
        why = "a layer has no state: every token is decoded from the whole sequence"
        if "generates" not in model.plan.model.traits:
            why = f"the {model.plan.model.spec_name} reads whole sequences: there is nothing to keep"
        unknown.update(dict.fromkeys(names, why))
        return None, None
    if length is None:
        unknown["cache_bytes"] = _NO_LENGTH

    at = length or 1

    def bytes_at(rows: int, tokens: int) -> int:
        state = model.new_state(rows, tokens)
        if "encodes" in model.plan.model.traits:
            # Keys and values of the source are there once a token has been written.
            one = torch.zeros(rows, 1, dtype=torch.int64, device="meta")
            model(one.expand(rows, at), decoder_input_ids=one, state=state, logits=False)
        held: int = state.nbytes
        return held

    one_more = known(names, lambda: bytes_at(1, at + 1) - bytes_at(1, at))
    return one_more, None if one_more is None or length is None else bytes_at(batch, length)
