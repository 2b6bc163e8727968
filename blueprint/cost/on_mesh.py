"""What a training step costs one device of a mesh, measured on what that device has."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from blueprint.cost import flops, memory, pieces
from blueprint.cost.mesh import Mesh, MeshError, Speeds
from blueprint.cost.mesh_report import DeviceMemory, MeshCost, Sent
from blueprint.cost.reduce import alike, measured
from blueprint.cost.traffic import PHASES, WAYS, Traffic
from blueprint.model.build import build_plan
from blueprint.model.dividing import declared
from blueprint.model.trial import trial_loss
from blueprint.model.weights import freeze
from blueprint.plan import Plan
from blueprint.schema.spec import Spec

At = Callable[[tuple[str, ...], Callable[[int], dict[str, int]]], dict[str, int]]
Known = Callable[[tuple[str, ...], Callable[[], Any]], Any]


def on_mesh(
    spec: Spec,
    written: Plan,
    length: int | None,
    batch: int | None,
    mesh: Mesh,
    speeds: Speeds,
    known: Known,
    at_length: At,
    unknown: dict[str, str],
) -> MeshCost:
    """What `cost` gives for a mesh; raises `MeshError` where a dimension divides nothing."""
    share = mesh.share(batch)
    unsaid = [name for name in mesh.sizes if speeds.link and name not in speeds.link]
    if unsaid:
        example = ",".join(f"{name}=50GB/s" for name in mesh.sizes if name != "ep")
        raise MeshError(f"no speed is said of the links of {', '.join(unsaid)}", f"say them all: {example}")
    model = memory.cast(build_plan(written, device="meta"), spec.trainer.precision)
    freeze(model, spec)
    pieces.check(model, mesh)
    parameters = _count(model)
    uncut = {
        pieces.name_of(module): shards.pieces
        for module, shards in declared(model)
        if mesh.tp > 1 and shards.pieces % mesh.tp
    }
    names = ("memory.optimizer", "memory.training", "memory_moved")
    kept = known(names, lambda: memory.optimizer_tensors(spec, model, written))
    shapes = {name: each.shape for name, each in model.named_parameters()}
    pieces.divide(model, mesh)
    at_work = _count(model)
    reads = _weights_read(model, share * (length or 1))
    whole_gradients = memory.weights(model)[1]
    pieces.hold_shards(model, mesh)
    held = _count(model)
    # What is kept of a parameter's own shape is sharded as it is; other state everyone has whole.
    sizes = {name: each.numel() for name, each in model.named_parameters()}
    state = (
        None
        if kept is None
        else sum(
            sizes[name] * each.itemsize if each.shape == shapes[name] else each.nbytes
            for name, own in kept.items()
            for each in own
        )
    )
    weights, gradients = memory.weights(model)
    averages = memory.averages(spec, model)

    work = at_length(("flops_training",), lambda n: _operations(spec, written, n, share, mesh))
    told = ("memory.activations", "memory.transit", "memory.training", "memory_moved", "sent")
    step = at_length(told, lambda n: _step(spec, written, n, share, mesh))
    activations = step.get("activations")
    transit = max(step[f"held {phase}"] for phase in PHASES) - step["activations"] if step else None
    if not mesh.sharded:
        transit = gradients  # copied into buckets, which stand beside them
    learned = sum(each.nbytes for each in model.parameters() if each.requires_grad)
    moved = None
    if activations is not None and state is not None:
        moved = reads + whole_gradients + 2 * learned + gradients + 2 * (state + averages + activations)
    return MeshCost(
        name=written.name,
        mesh=mesh,
        speeds=speeds,
        length=length,
        batch=share * mesh.dp,
        share=share,
        precision=spec.trainer.precision,
        parameters=parameters,
        held=held,
        at_work=at_work,
        memory=DeviceMemory(weights, gradients, state, activations, averages, transit),
        sent=_sent(step, mesh) if step else None,
        flops_training=work.get("training"),
        moved=moved,
        uncut=uncut,
        unknown=unknown,
    )


def _operations(spec: Spec, written: Plan, length: int, share: int, mesh: Mesh) -> dict[str, int]:
    def divide(model: nn.Module) -> None:
        pieces.divide(model, mesh)

    whole = bool(spec.freeze)
    return measured(written, lambda part: flops.operations(part, length, share, spec, divide), whole)


def _step(spec: Spec, written: Plan, length: int, share: int, mesh: Mesh) -> dict[str, int]:
    """What a step holds and sends."""

    def under(objective: memory.Loss, part: Plan) -> dict[str, int]:
        traffic = Traffic(mesh)
        ledger = memory.step(spec, part, length, share, objective, traffic)
        return traffic.figures(ledger)

    # Layers that use another's weights send no gradients of their own: they are not alike.
    whole = not alike(spec) or any(
        layer.weights_of != layer.site.layer for stack in written.stacks.values() for layer in stack
    )
    own = partial(under, trial_loss(spec, written.site))
    # Where two stand whole at a time, there must be two.
    return measured(written, own, whole, partial(under, memory.plain_loss), least=2)


def _sent(step: dict[str, int], mesh: Mesh) -> tuple[Sent, ...]:
    found = ((kind, along, step[f"{kind} {along}"], step[f"{kind} {along} calls"]) for kind, along in WAYS)
    buckets = not mesh.sharded
    return tuple(Sent(kind, along, size, None if buckets else calls) for kind, along, size, calls in found if size)


def _weights_read(model: nn.Module, tokens: int) -> int:
    """Bytes of weights that are read in forward and backward at the least: those that are multiplied by, of experts no
    more than so many tokens ask for. Of a table that is looked up hardly anything is read."""
    found: dict[int, float] = {}
    for module in model.modules():
        share = min(1.0, tokens * float(getattr(module, "active_share", 1)))
        for each in () if isinstance(module, nn.Embedding) else module.parameters(recurse=False):
            found[id(each)] = max(found.get(id(each), 0.0), share * each.nbytes * (2 if each.requires_grad else 1))
    return round(sum(found.values()))


def _count(model: nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())
