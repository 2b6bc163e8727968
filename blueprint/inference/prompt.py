"""What a decoding starts from: prompts of unequal length as one batch, a source where there is one, and the room left.

B batch, T tokens, S tokens of a source.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from blueprint.inference import USUAL
from blueprint.plan import Plan
from blueprint.schema.model import TOLD


@dataclass(frozen=True)
class Prompt:
    """The ids that the new ones follow, each row's real ones at its end, and the source that is read beside them.

    `keep` is False at padding, None where there is none.
    """

    ids_BT: Tensor
    keep_BT: Tensor | None = None
    source_BS: Tensor | None = None
    source_keep_BS: Tensor | None = None
    prefix_B: Tensor | None = None  # how many tokens of each row see each other both ways; None: each those before it

    @classmethod
    def of(
        cls,
        model: nn.Module,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        new: int,
        start_id: int | None = None,
        decoder_input_ids: Tensor | None = None,
    ) -> Prompt:
        """The prompt for `new` tokens, on the model's device, from what `generate` takes.

        Raises ValueError for a model that continues no text, ids and lengths it does not know, and a missing start.
        """
        continues(model)
        device = next((p.device for p in model.parameters()), input_ids.device)
        if not reads_source(model):
            if start_id is not None or decoder_input_ids is not None:
                said = "start_id" if decoder_input_ids is None else "decoder_input_ids"
                raise ValueError(f"{said} is for a model that reads a source: this one goes on from input_ids")
            keep_BT = checked(model, input_ids, attention_mask)
            room(model, longest(input_ids, keep_BT) + new)
            ids_BT, kept_BT = right_aligned(input_ids.to(device), None if keep_BT is None else keep_BT.to(device))
            return cls(ids_BT, kept_BT, prefix_B=prefixes(model, ids_BT, kept_BT))
        keep_BS = checked(model, input_ids, attention_mask, "source")
        ids_BT = beginning(model, len(input_ids), start_id, decoder_input_ids)
        room(model, longest(input_ids, keep_BS), "encoder")
        room(model, ids_BT.shape[1] + new)
        keep_BS = None if keep_BS is None else keep_BS.to(device)
        return cls(ids_BT.to(device), None, input_ids.to(device), keep_BS)


def beginning(model: nn.Module, batch: int, start_id: int | None, decoder_input_ids: Tensor | None) -> Tensor:
    """The ids (B, T) that a target begins with: those given, else the start that is given or known of the model.

    Raises ValueError where neither is.
    """
    if decoder_input_ids is not None:
        if start_id is not None:
            raise ValueError("start_id and decoder_input_ids both say what the target begins with: give one of them")
        checked(model, decoder_input_ids, None, "target")
        if len(decoder_input_ids) != batch:
            raise ValueError(f"decoder_input_ids has {len(decoder_input_ids)} rows, input_ids {batch}")
        return decoder_input_ids
    for known in (known_start(getattr(model, "spec", None)), getattr(model, "start_id", None)):
        start_id = known if start_id is None else start_id
    if start_id is None:
        raise ValueError(
            "nothing says which id the target begins with: give start_id, the one that the model was trained to begin "
            "with (often that of padding, or of the end of a text), or decoder_input_ids"
        )
    ids_B1 = torch.full((batch, 1), start_id)
    checked(model, ids_B1, None, "target")
    return ids_B1


def known_start(spec: Any) -> int | None:
    """The id that a spec's objective taught a decoder to begin with, if there is one."""
    objective, tokenizer = getattr(spec, "objective", None), getattr(spec, "tokenizer", None)
    found: int | None = None if objective is None or tokenizer is None else objective.start_id(tokenizer)
    return found


def prefixes(model: nn.Module, ids_BT: Tensor, keep_BT: Tensor | None) -> Tensor | None:
    """The lengths of prompts (B,), which are prefixes where the model learned to see them both ways; else None."""
    objective = getattr(getattr(model, "spec", None), "objective", None)
    if objective is None or "prefixes" not in objective.traits:
        return None
    return torch.full_like(ids_BT[:, 0], ids_BT.shape[1]) if keep_BT is None else keep_BT.sum(1)


def continues(model: nn.Module) -> None:
    """Raise ValueError for a model that continues no text."""
    plan = _plan(model)
    if plan is not None and not plan.model.generates:
        told = plan.model.tells
        what = "it reads whole sequences" if told is None else f"its head gives {TOLD[told]}"
        raise ValueError(f"this {plan.model.spec_name} does not continue text: {what}")


def reads_source(model: nn.Module) -> bool:
    """Whether the model writes a target for a source, rather than going on from a prompt."""
    plan = _plan(model)
    return plan is not None and "encodes" in plan.model.traits


def checked(model: nn.Module, input_ids: Tensor, attention_mask: Tensor | None, what: str = "prompt") -> Tensor | None:
    """The boolean mask of real tokens (B, T), None where all are; raises ValueError for ids the model cannot read."""
    plan = _plan(model)
    name = "decoder_input_ids" if what == "target" else "input_ids"
    if input_ids.dim() != 2 or input_ids.is_floating_point():
        raise ValueError(f"{name} must be whole numbers (batch, tokens), got {input_ids.dtype} {list(input_ids.shape)}")
    if input_ids.numel() == 0:
        raise ValueError(f"the {what} is empty: give every row at least one token to begin from")
    known = None if plan is None else plan.site.vocab_size
    low, high = int(input_ids.min()), int(input_ids.max())
    if low < 0 or (known is not None and high >= known):
        said = "ids begin at 0" if known is None else f"ids go from 0 to {known - 1}"
        raise ValueError(f"the {what} holds {low if low < 0 else high}, which is no token of the model: {said}")
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


def longest(ids_BT: Tensor, keep_BT: Tensor | None) -> int:
    """The number of real tokens in the longest row."""
    return ids_BT.shape[1] if keep_BT is None else int(keep_BT.sum(1).max())


def room(model: nn.Module, longest: int, side: str = "decoder") -> None:
    """Judge sequences of `longest` tokens against the `max_length` of a side.

    Raises ValueError where a part has nothing to say of later positions (trait `needs_length`, a learned table);
    elsewhere the model goes on, with a warning, as it was not made for such lengths.
    """
    plan = _plan(model)
    at = None if plan is None else plan.model.sides(plan.site).get(side)
    if plan is None or at is None or at.max_length is None or longest <= at.max_length:
        return
    what, fix = _SAID.get(side, (f"tokens of the {side} are", "shorten it"))
    said = f"{what} {longest}, the model's max_length is {at.max_length}"
    for _, part, site in plan.parts():
        if "needs_length" in part.traits and site.side == side:
            raise ValueError(f"{said}, and its {part.spec_name} {part.kind} end there: {fix}")
    warnings.warn(f"{said}: it goes on, but was not made for that", stacklevel=4)


def usual(model: nn.Module, begun: int) -> int:
    """How many new tokens are drawn where nothing is said, after `begun`: as many as the model's length has room for,
    up to `USUAL`."""
    plan = _plan(model)
    at = None if plan is None else plan.model.sides(plan.site).get("decoder")
    most = None if at is None else at.max_length
    return USUAL if most is None else max(1, min(USUAL, most - begun))


_SAID = {
    "decoder": ("prompt and new tokens make", "ask for fewer tokens"),
    "encoder": ("the source's tokens are", "shorten it"),
}


def _plan(model: nn.Module) -> Plan | None:
    """The plan of a model built from one."""
    plan = getattr(model, "plan", None)
    return plan if isinstance(plan, Plan) else None
