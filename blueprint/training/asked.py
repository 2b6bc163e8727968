"""Models that an objective asks while it trains another: found, held against the spec, frozen. No Lightning here.

They belong to nobody who trains: no module holds them, so that nothing moves, stores or changes them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from blueprint.diagnosis import Problem, SpecError
from blueprint.kinds import Tokenizer
from blueprint.plan import plan
from blueprint.schema.pairing import Pairing
from blueprint.schema.spec import Spec
from blueprint.training.checkpoint import bits
from blueprint.training.error import TrainError
from blueprint.training.restore import restore
from blueprint.tree import Entry, Span, find
from blueprint.unknown import NotKnown


@dataclass(frozen=True)
class Asked:
    """The models by the keys that name them, and what tells each from any other."""

    models: dict[str, nn.Module]
    hashes: dict[str, str]

    def to(self, device: torch.device, converted: Callable[[nn.Module], nn.Module]) -> None:
        """Bring them to a device and, by `converted`, to the number formats that are computed in."""
        for model in self.models.values():
            converted(model).to(device)


def ask(spec: Spec) -> Asked | None:
    """The models that the spec's objective asks, in eval mode and without gradients; None where it asks none.

    They compute in the precision of the spec, not of their own. Raises `SpecError` at the key of one that is not
    there, or does not answer the samples of the spec by as many outputs as its model.
    """
    asked = {} if spec.objective is None else spec.objective.asks()
    if not asked:
        return None
    present(spec)
    models = {name: _restored(spec, name, path) for name, path in asked.items()}
    return Asked(models, {name: digest(model) for name, model in models.items()})


def present(spec: Spec) -> None:
    """Raise `SpecError` where a model that the objective asks is not there at all; nothing is read."""
    for name, path in ({} if spec.objective is None else spec.objective.asks()).items():
        if not Path(path).expanduser().exists():
            fix = "train it first, or say another run, checkpoint or folder"
            raise _error(spec, name, f"{path} does not exist", fix)


def digest(model: nn.Module) -> str:
    """What tells a model from any that answers otherwise: a hash of its plan and weights."""
    found = hashlib.blake2b(model.plan.hash.encode(), digest_size=16)  # type: ignore[union-attr, operator]
    for name, tensor in sorted(model.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + bits(tensor))
    return found.hexdigest()


def same_asked(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Raise `TrainError` where a run's models to ask are no longer those it began with."""
    changed = [name for name in now if name in before and before[name] != now[name]]
    if changed:
        raise TrainError(
            f"the run's {', '.join(changed)} has changed since it began: what it learned was another's\n"
            "  = fix: put it back as it was; a checkpoint (RUN/checkpoints/step=….ckpt) stays what it is when its run "
            "goes on"
        )


def _restored(spec: Spec, name: str, path: str) -> nn.Module:
    try:
        model = restore(Path(path).expanduser(), like=spec)
    except (TrainError, SpecError) as error:
        raise _error(spec, name, f"{path} gives no model: {error}") from error
    theirs: Spec = model.spec  # type: ignore[assignment]
    misfit = next(_misfits(spec, theirs), None)
    if misfit is not None:
        raise _error(spec, name, f"the {name} in {path} does not answer what this model is asked: {misfit}")
    return model.requires_grad_(False)


def _misfits(spec: Spec, theirs: Spec) -> Iterator[str]:
    """What keeps a model from answering the samples of a spec as the spec's own does, in words."""
    said = {"model": theirs.model, "objective": spec.objective, "data": spec.data, "tokenizer": spec.tokenizer}
    for rule in Pairing.rules():
        with suppress(NotKnown):
            yield from (fault.message for fault in rule.faults(said))
    own, other = spec.model.inputs(), theirs.model.inputs()
    if own != other:
        yield f"it takes {_inputs(other)}, and this one {_inputs(own)}"
    labels = [getattr(getattr(each.model, "head", None), "classes", None) for each in (spec, theirs)]
    if labels[0] != labels[1]:
        yield f"its head tells {labels[1]} labels apart, and this model's {labels[0]}"
    sizes = [plan(each).site.vocab_size for each in (spec, theirs)]
    if sizes[0] != sizes[1]:
        yield f"its vocabulary has {sizes[1]} tokens, and this model's {sizes[0]}"
    prints = [_fingerprint(each.tokenizer) for each in (spec, theirs)]
    if None not in prints and prints[0] != prints[1]:
        yield "its tokenizer is another, so its ids mean other tokens"


def _inputs(of: Mapping[str, tuple[int, ...] | None]) -> str:
    shapes = {name: "" if shape is None else f" of {' × '.join(map(str, shape))}" for name, shape in of.items()}
    return " and ".join(name + shape for name, shape in shapes.items())


def _fingerprint(tokenizer: Tokenizer | None) -> str | None:
    return None if tokenizer is None or tokenizer.untrained else getattr(tokenizer, "fingerprint", None)


def _error(spec: Spec, name: str, message: str, fix: str | None = None) -> SpecError:
    path = ("objective", *name.split("."))
    return SpecError([Problem("asked", message, path, _span(spec, path), fix=fix)])


def _span(spec: Spec, path: tuple[str, ...]) -> Span | None:
    if spec.root is None:
        return None
    node, entry, taken = find(spec.root, path)
    return entry.span if isinstance(entry, Entry) and taken < len(path) else node.span
