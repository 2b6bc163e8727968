"""Operations, counted on the meta device: shapes flow, nothing is computed."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from blueprint.model.build import build_plan
from blueprint.model.inputs import sample_inputs
from blueprint.model.weights import freeze
from blueprint.ops import Meter
from blueprint.plan import Plan
from blueprint.schema.spec import Spec


def operations(
    plan: Plan, length: int, batch: int, spec: Spec | None = None, divide: Callable[[nn.Module], None] | None = None
) -> dict[str, int]:
    """`forward`, of which `attention`, and `training` (forward and backward) for one batch; of parts that the spec
    freezes there is no backward that they alone need. `divide` leaves in a model what a device has of it.

    Attention tells of its own work (`blueprint.ops.Meter`), torch's counter of all other products. Attention's backward
    counts twice its forward: two products for each of its two.
    """
    model = build_plan(plan, device="meta").train()
    if spec is not None:
        freeze(model, spec)
    if divide is not None:
        divide(model)
    inputs = sample_inputs(plan, batch, length, device="meta")
    with Meter() as meter, FlopCounterMode(display=False) as counter:
        out = model(**inputs)
        attention, forward = meter.flops, counter.get_total_flops()
        (out.logits.sum() + sum(term.sum() for term in out.terms.values())).backward()
        both = counter.get_total_flops()
    return {"forward": forward + attention, "attention": attention, "training": both + 3 * attention}
