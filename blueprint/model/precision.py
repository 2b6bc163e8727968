"""Parts that stay in float32 whatever the run's precision: weights are not cast, inputs are raised, outputs lowered."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from blueprint.ops import Embedding


def keep_float32(module: nn.Module, *, result: bool = False) -> nn.Module:
    """Make `module` hold its weights and compute in float32, inside autocast and after `.to(bfloat16)` alike.

    The output comes back in the dtype of the input, or stays float32 with `result=True`. Device moves and `.double()`
    act as usual.
    """
    module.blueprint_float32 = True  # type: ignore[assignment]
    module._apply = types.MethodType(_apply, module)  # type: ignore[method-assign]
    module.forward = types.MethodType(_kept if result else _lowered, module)
    return module


def keep_table_float32(table: Embedding) -> None:
    """Make a table that a head multiplies with hold its weight in float32; what is read from it is in the format that
    the rest of the model was moved to.
    """
    table._apply = types.MethodType(_apply_table, table)  # type: ignore[method-assign]


def _apply_table(self: Embedding, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    # The weight itself tells no more what the others were moved to: an empty tensor that was moved with them does.
    weight = self.weight
    found = fn(torch.empty(0, dtype=self.reads or weight.dtype, device=weight.device)).dtype
    self.reads = found if found in (torch.float16, torch.bfloat16) else None
    return _apply(self, fn, recurse)


def is_kept_float32(module: nn.Module) -> bool:
    """Whether a module stays in float32 by itself."""
    return bool(getattr(module, "blueprint_float32", False))


def _apply(self: nn.Module, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    def guarded(tensor: Tensor) -> Tensor:
        moved = fn(tensor)
        if tensor.dtype == torch.float32 and moved.dtype in (torch.float16, torch.bfloat16):
            return tensor.to(moved.device)
        return moved

    moved: nn.Module = type(self)._apply(self, guarded, recurse)
    return moved


def _kept(self: nn.Module, x: Tensor, *args: Any, **kwargs: Any) -> Any:
    if x.device.type == "meta":
        return type(self).forward(self, x, *args, **kwargs)
    with torch.autocast(x.device.type, enabled=False):
        return type(self).forward(self, _float(x), *map(_float, args), **{k: _float(v) for k, v in kwargs.items()})


def _lowered(self: nn.Module, x: Tensor, *args: Any, **kwargs: Any) -> Any:
    out = _kept(self, x, *args, **kwargs)
    return out.to(x.dtype) if isinstance(out, Tensor) else out


def _float(value: Any) -> Any:
    low = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if low else value
