"""Operations, counted on the meta device: shapes flow, nothing is computed."""

from __future__ import annotations

from torch.utils.flop_counter import FlopCounterMode

from blueprint.model.build import build_plan
from blueprint.model.inputs import sample_inputs
from blueprint.ops import Meter
from blueprint.plan import Plan


def operations(plan: Plan, length: int, batch: int) -> dict[str, int]:
    """`forward`, of which `attention`, and `training` (forward and backward) for one batch.

    Attention tells of its own work (`blueprint.ops.Meter`), torch's counter of all other products. Attention's backward
    counts twice its forward: two products for each of its two.
    """
    model = build_plan(plan, device="meta").train()
    inputs = sample_inputs(plan, batch, length, device="meta")
    with Meter() as meter, FlopCounterMode(display=False) as counter:
        out = model(**inputs)
        attention, forward = meter.flops, counter.get_total_flops()
        (out.logits.sum() + sum(term.sum() for term in out.terms.values())).backward()
        both = counter.get_total_flops()
    return {"forward": forward + attention, "attention": attention, "training": both + 3 * attention}
