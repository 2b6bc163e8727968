"""Models in memory as places that tensors come from and go to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from blueprint.interop.safetensors_io import BITS, ITEM, Array, Shape, Stored

#: The number formats of safetensors that torch has, by torch's names.
TORCH = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "U16": "uint16",
    "I16": "int16",
    "F16": "float16",
    "BF16": "bfloat16",
    "U32": "uint32",
    "I32": "int32",
    "F32": "float32",
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
    "C64": "complex64",
}
FORMATS = {name: code for code, name in TORCH.items()}


def state_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """A model's parameters and persistent buffers; one with two names (a tied head, a shared layer) by its first."""
    seen: dict[int, str] = {}
    return {
        name: tensor.detach()
        for name, tensor in model.state_dict(keep_vars=True).items()
        if seen.setdefault(id(tensor), name) == name
    }


def shapes_of(model: nn.Module) -> dict[str, Shape]:
    """The shapes of a model's tensors, each once."""
    return {name: tuple(tensor.shape) for name, tensor in state_of(model).items()}


@dataclass(frozen=True)
class Held:
    """A tensor in memory, read as safetensors would store it; a number format may be said that loses nothing."""

    tensor: torch.Tensor
    said: str | None = None

    @property
    def dtype(self) -> str:
        """The number format, as safetensors calls it."""
        return self.said or FORMATS[str(self.tensor.dtype).removeprefix("torch.")]

    @property
    def shape(self) -> Shape:
        """The size of every axis."""
        return tuple(self.tensor.shape)

    @property
    def nbytes(self) -> int:
        """How many bytes it has."""
        return self.tensor.numel() * ITEM[self.dtype]

    def read(self) -> Array:
        """Its bits."""
        tensor = self.tensor.cpu().to(getattr(torch, TORCH[self.dtype])).contiguous()
        flat = tensor.flatten().view(torch.uint8) if tensor.numel() else torch.empty(0, dtype=torch.uint8)
        return flat.numpy().view(BITS[ITEM[self.dtype]]).reshape(self.shape)


def fits(tensor: torch.Tensor, code: str) -> bool:
    """Whether a tensor's values can be said in a number format without loss."""
    dtype = getattr(torch, TORCH[code])
    return dtype == tensor.dtype or torch.equal(tensor.to(dtype).to(tensor.dtype), tensor)


@dataclass(frozen=True)
class ModelSink:
    """A model that takes tensors, its own formats kept; `formats` are those that come."""

    model: nn.Module
    formats: Mapping[str, str]

    def put(self, name: str, array: Array) -> None:
        """Take a tensor's bits."""
        target = state_of(self.model)[name]
        bits = torch.from_numpy(np.array(array).reshape(-1).view(np.uint8))
        if target.numel():
            target.copy_(bits.view(getattr(torch, TORCH[self.formats[name]])).view(target.shape))

    def put_stored(self, name: str, tensor: Stored) -> None:
        """Take a tensor as it lies in a file."""
        self.put(name, tensor.read())
