"""A family of the transformers library beside the spec that says the same, on the same weights.

Initial values would hide most mistakes (norms 1, biases 0, small matrices), so every tensor of the library's model is
overwritten with values drawn from its name, and then moved into ours by a table of names.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import yaml
from torch import Tensor, nn

import blueprint as bp

Take = Callable[[Tensor], Tensor]
Weights = Mapping[str, str | tuple[str, Take]]
VOCABULARY, LENGTH = 101, 64
COMMON = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


@dataclass(frozen=True)
class Family:
    """One architecture: the library's name and settings of it, our `model` section, and which tensor is which.

    `weights` maps our parameter to theirs, or to theirs and the part of it that is meant; `{i}` is a layer. Every part
    is a rearrangement, so that gradients are compared by the same table. `says_positions`: whether their forward is
    told positions, which it otherwise counts over padding too.
    """

    name: str
    config: Mapping[str, Any]
    model: str
    weights: Weights
    says_positions: bool = True

    def reference(self) -> nn.Module:
        """The library's model with eager attention, its values drawn anew."""
        import transformers

        kind = next(k for end in ("ForCausalLM", "LMHeadModel") if (k := getattr(transformers, self.name + end, None)))
        config = kind.config_class(**{**COMMON, "max_position_embeddings": LENGTH, **self.config})
        config._attn_implementation = "eager"
        model: nn.Module = kind(config).float().eval()
        randomise(model)
        return model

    def ours(self) -> nn.Module:
        """The spec's model, its weights not yet moved."""
        section = {"type": "decoder", "vocab_size": VOCABULARY, "max_length": LENGTH, **yaml.safe_load(self.model)}
        model: nn.Module = bp.build(bp.load({"model": section})).eval()
        return model

    def part(self, name: str, theirs: Mapping[str, Tensor]) -> Tensor:
        """What of their tensors our parameter `name` stands for."""
        steps = name.split(".")
        layer = next((step for step in steps if step.isdigit()), "")
        said = self.weights[".".join("{i}" if step == layer else step for step in steps)]
        source, take = (said, None) if isinstance(said, str) else said
        found = theirs[source.replace("{i}", layer)]
        return found if take is None else take(found)

    def pair(self) -> tuple[nn.Module, nn.Module]:
        """Theirs and ours, computing with equal weights."""
        theirs, ours = self.reference(), self.ours()
        tensors = dict(theirs.named_parameters())
        with torch.no_grad():
            for name, parameter in ours.named_parameters():
                parameter.copy_(self.part(name, tensors).view_as(parameter))
        return theirs, ours


@torch.no_grad()
def randomise(model: Any) -> None:
    """Overwrite every parameter, and every float buffer that is saved, with values that follow from its name.

    Constant vectors are gains and shifts: they move by a fifth around what they were. Tables of vectors are drawn wide
    enough to tell tokens apart, matrices so that they keep the size of what passes through them.
    """
    named = {id(tensor): (name, tensor) for name, tensor in reversed(model.state_dict(keep_vars=True).items())}
    for name, tensor in named.values():  # by its first name, where a tensor has two
        if not tensor.is_floating_point():
            continue
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        table = isinstance(model.get_submodule(name.rpartition(".")[0]), nn.Embedding)
        if tensor.ndim < 2 or (tensor == tensor.flatten()[0]).all():
            drawn = tensor + 0.2 * drawn
        else:
            drawn *= 0.7 if table else (2 / sum(tensor.shape[-2:])) ** 0.5
        tensor.copy_(drawn)
    model.tie_weights()
