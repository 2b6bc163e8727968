"""Prompts of unequal length as one batch, and how long a sequence may grow.

B batch, T tokens.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from blueprint.plan import Plan


def continues(model: nn.Module) -> None:
    """Raise ValueError for a model that continues no text."""
    plan = _plan(model)
    if plan is not None and not plan.model.generates:
        what = "its head gives one output for a whole sequence" if plan.model.pooled else "it reads whole sequences"
        raise ValueError(f"this {plan.model.spec_name} does not continue text: {what}")


def checked(model: nn.Module, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor | None:
    """The boolean mask of real tokens (B, T), None where all are; raises ValueError for prompts nothing can follow, and
    for models that continue none."""
    plan = _plan(model)
    continues(model)
    if input_ids.dim() != 2 or input_ids.is_floating_point():
        raise ValueError(
            f"input_ids must be whole numbers (batch, tokens), got {input_ids.dtype} {list(input_ids.shape)}"
        )
    if input_ids.numel() == 0:
        raise ValueError("the prompt is empty: give every row at least one token to begin from")
    known = None if plan is None else plan.site.vocab_size
    low, high = int(input_ids.min()), int(input_ids.max())
    if low < 0 or (known is not None and high >= known):
        said = "ids begin at 0" if known is None else f"ids go from 0 to {known - 1}"
        raise ValueError(f"the prompt holds {low if low < 0 else high}, which is no token of the model: {said}")
    if attention_mask is None:
        return None
    if attention_mask.shape != input_ids.shape:
        raise ValueError(f"attention_mask is {list(attention_mask.shape)}, input_ids {list(input_ids.shape)}")
    keep_BT = attention_mask.to(input_ids.device) != 0
    empty = (~keep_BT.any(1)).nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"row {empty[0]} is all padding: give every row at least one token to begin from")
    return None if bool(keep_BT.all()) else keep_BT


def right_aligned(ids_BT: Tensor, keep_BT: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Each row's real tokens at its end, in order, the padding before them: new tokens then follow the last one."""
    if keep_BT is None:
        return ids_BT, None
    order_BT = keep_BT.to(torch.uint8).argsort(dim=1, stable=True)
    return ids_BT.gather(1, order_BT), keep_BT.gather(1, order_BT)


def room(model: nn.Module, longest: int) -> None:
    """Judge sequences of `longest` tokens against the model's `max_length`.

    Raises ValueError where a part has nothing to say of later positions (trait `needs_length`, a learned table);
    elsewhere the model goes on, with a warning, as it was not made for such lengths.
    """
    plan = _plan(model)
    if plan is None or plan.site.max_length is None or longest <= plan.site.max_length:
        return
    said = f"prompt and new tokens make {longest}, the model's max_length is {plan.site.max_length}"
    for _, part, _ in plan.parts():
        if "needs_length" in part.traits:
            raise ValueError(f"{said}, and its {part.spec_name} {part.kind} end there: ask for fewer tokens")
    warnings.warn(f"{said}: it goes on, but was not made for that", stacklevel=3)


def _plan(model: nn.Module) -> Plan | None:
    """The plan of a model built from one."""
    plan = getattr(model, "plan", None)
    return plan if isinstance(plan, Plan) else None
