"""What the public face offers of models: `bp.build`."""

from __future__ import annotations

import torch
from torch import nn

from blueprint.model.build import build_plan
from blueprint.plan import plan
from blueprint.schema.spec import Spec


def build(spec: Spec, device: torch.device | str = "cpu") -> nn.Module:
    """The model a spec describes, with seeded weights, or with shapes alone on `device="meta"`.

    Raises `SpecError` for what is wrong with the spec.
    """
    model = build_plan(plan(spec), device=device, seed=spec.seed)
    model.spec = spec  # type: ignore[assignment]
    return model
