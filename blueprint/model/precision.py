"""Parts that stay in float32 whatever the run's precision: weights are not cast, inputs are raised, outputs lowered."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def keep_float32(module: nn.Module) -> nn.Module:
    """Make `module` hold its weights and compute in float32, inside autocast and after `.to(bfloat16)` alike.

    The output comes back in the dtype of the input. Device moves and `.double()` act as usual.
    """
    module._apply = types.MethodType(_apply, module)  # type: ignore[method-assign]
    module.forward = types.MethodType(_forward, module)  # type: ignore[method-assign]
    return module


def _apply(self: nn.Module, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    def guarded(tensor: Tensor) -> Tensor:
        moved = fn(tensor)
        if tensor.dtype == torch.float32 and moved.dtype in (torch.float16, torch.bfloat16):
            return tensor.to(moved.device)
        return moved

    return type(self)._apply(self, guarded, recurse)


def _forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
    first = next((a for a in args if isinstance(a, Tensor)), None)
    if first is None or first.device.type == "meta":
        return type(self).forward(self, *args, **kwargs)
    with torch.autocast(first.device.type, enabled=False):
        out = type(self).forward(self, *map(_float, args), **{k: _float(v) for k, v in kwargs.items()})
    return out.to(first.dtype) if isinstance(out, Tensor) else out


def _float(value: Any) -> Any:
    low = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if low else value
