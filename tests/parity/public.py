"""The public families: tiny configurations of architectures of the transformers library, one entry a family in
`families.json`, with what the library's own model gives on weights that follow from the tensors' names.
"""

from __future__ import annotations

import copy
import json
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

#: What waits for mixtures of experts.
EXPERTS = {
    "afmoe",
    "deepseek_v2",
    "deepseek_v3",
    "gpt_oss",
    "llama4_text",
    "qwen2_moe",
    "switch_transformers",
}


@cache
def entries() -> dict[str, dict[str, Any]]:
    """Every entry by the family's name."""
    found: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("families.json").read_text())["families"]
    return found


@dataclass(frozen=True)
class Public:
    """A family's entry, the library's model of it with eager attention, and what to run."""

    name: str
    entry: dict[str, Any]
    model: nn.Module
    inputs: dict[str, Tensor]

    @property
    def kind(self) -> str:
        """causal, encoder, classes, seq2seq, vision or clip."""
        return str(self.entry["kind"])

    def run(self, model: nn.Module, inputs: dict[str, Tensor] | None = None, **more: Any) -> Tensor:
        """The logits of theirs or ours; of a bare model the last hidden states."""
        out = model(**(self.inputs if inputs is None else inputs), **more)
        if self.entry.get("bare"):
            hidden: Tensor = out.hidden if hasattr(out, "hidden") else out.last_hidden_state
            return hidden
        found = getattr(out, "logits_per_image", None)
        logits: Tensor = out.logits if found is None else found
        return logits


def public(name: str) -> Public:
    """The reference of a family, its weights drawn."""
    return made(name, entries()[name])


def made(name: str, entry: dict[str, Any]) -> Public:
    """The reference that an entry describes, its weights drawn."""
    import transformers

    config = getattr(transformers, entry["config_class"])(**copy.deepcopy(entry["config"]))
    for part in (config, *(getattr(config, inner, None) for inner in ("text_config", "vision_config"))):
        if part is not None:
            part._attn_implementation = "eager"
    model: nn.Module = getattr(transformers, entry["model_class"])(config).float().eval()
    draw(model)
    return Public(name, entry, model, {key: _tensor(value) for key, value in entry["inputs"].items()})


def _tensor(value: Any) -> Tensor:
    if isinstance(value, dict):
        return torch.tensor(value["values"], dtype=torch.float32).reshape(value["shape"])
    return torch.tensor(value)


@torch.no_grad()
def draw(model: Any) -> None:
    """Overwrite every parameter, and every float buffer that is saved, with values seeded by its name.

    Initial values would hide most mistakes: norms are 1, biases 0. What the stored figures were made with.
    """
    named = dict(model.named_parameters())
    seen = {id(parameter) for parameter in named.values()}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if name not in named and id(tensor) not in seen:
            named[name] = tensor
    for name, tensor in named.items():
        owner = model.get_submodule(name.rpartition(".")[0])
        derived = "Sinusoidal" in type(owner).__name__ or name.endswith("inv_freq")
        if tensor.is_floating_point() and not derived:
            tensor.copy_(_drawn(name, tensor, isinstance(owner, nn.Embedding)))
    if hasattr(model, "tie_weights"):
        model.tie_weights()


def _drawn(name: str, tensor: Tensor, table: bool) -> Tensor:
    """Gains and shifts move by a fifth around what they were; the rest is drawn as wide as keeps the stream's size."""
    random = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    noise = torch.as_tensor(random.standard_normal(tuple(tensor.shape)), dtype=torch.float64)
    constant = bool((tensor == tensor.flatten()[0]).all())
    if tensor.numel() == 1:
        return tensor + 0.5 * noise
    if constant and (bool(tensor.any()) or tensor.ndim == 1):
        return tensor + 0.2 * noise
    if tensor.ndim == 1 or any(part in name for part in ("cls_token", "position_emb")):
        return 0.5 * noise
    if table:
        return 0.7 * noise
    if tensor.ndim == 4:
        return noise / tensor[0].numel() ** 0.5
    return noise / ((tensor.shape[-1] + tensor.shape[-2]) / 2) ** 0.5
