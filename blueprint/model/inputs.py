"""What a model's forward is given: by what its embeddings take.

B batch, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from blueprint.plan import Plan
from blueprint.schema.model import Model


def only_taken(model: Model, given: Mapping[str, Tensor | None]) -> Tensor:
    """The one input that a model of one stack takes; raises TypeError where it is missing, or more is given."""
    (name,) = model.inputs()
    found = check_given(model, given)
    if name not in found:
        raise TypeError(f"{_takes(model)}: {name} are missing")
    return found[name]


def check_given(model: Model, given: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """The inputs that were given; raises TypeError for those that the model does not take."""
    found = {name: value for name, value in given.items() if value is not None}
    known = allowed(model)
    strange = [name for name in found if name not in known]
    if strange:
        raise TypeError(f"{_takes(model)}: no {', '.join(strange)}")
    return found


def allowed(model: Model) -> list[str]:
    """The inputs a model may be given, by name."""
    return [each for name in model.inputs() for each in (name, *model.alongside.get(name, ()))]


def told_of(model: Model) -> str | None:
    """The input of ids that the output tells of, token by token: the last; None where nothing that goes in is ids."""
    return next((name for name, shape in reversed(model.inputs().items()) if shape is None), None)


def _takes(model: Model) -> str:
    *names, last = allowed(model)
    embedding = getattr(model, "embedding", None)
    which = "" if embedding is None or embedding.takes == "input_ids" else f" with embedding `{embedding.spec_name}`"
    return f"{model.spec_name}s{which} take {', '.join(names)}{' and ' if names else ''}{last}"


def sample_inputs(
    plan: Plan,
    batch: int,
    length: int,
    *,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Something of the right shapes to run a model on: ids (B, T) of `length` tokens and whatever else it takes.

    Zeros where there is no `generator`, for the meta device and fake tensors.
    """
    out: dict[str, Tensor] = {}
    for name, shape in plan.model.inputs().items():
        of: tuple[int, ...] = (batch, length) if shape is None else (batch, *shape)
        if generator is not None:
            ids = shape is None
            out[name] = _ids(plan, of, generator) if ids else torch.randn(of, generator=generator)
        else:
            out[name] = torch.zeros(of, dtype=torch.int64 if shape is None else torch.float32, device=device)
    return out


def _ids(plan: Plan, of: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randint(plan.site.vocab_size or 2, of, generator=generator)


def given_of(model: Any, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """What a batch holds of that which a model must be given."""
    return {name: batch[name] for name in model.plan.model.inputs()}
