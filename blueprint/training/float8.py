"""Linear maps that multiply in float8, by torchao (Micikevicius et al., 2022, "FP8 formats for deep learning")."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torch import nn

from blueprint.model.precision import is_kept_float32
from blueprint.ops import Linear
from blueprint.training.error import TrainError

#: What the rows and columns of a matrix have to be a multiple of, for the products of the hardware.
ALIGNED = 16


def float8_maps(model: nn.Module) -> Iterator[tuple[str, Linear]]:
    """The linear maps of a model that can multiply in float8, by name.

    Those are plain maps whose two widths are multiples of 16, outside of what the policy keeps in float32. A head, even
    in 16 bits, stays as it is: its product makes the loss.
    """
    yield from _maps(model, "")


def _maps(module: nn.Module, name: str) -> Iterator[tuple[str, Linear]]:
    if is_kept_float32(module):
        return
    # A class of its own computes in a way of its own.
    if type(module) is Linear and module.role != "head" and "forward" not in vars(module):
        if module.in_features % ALIGNED == 0 and module.out_features % ALIGNED == 0:
            yield name, module
        return
    for inner, child in module.named_children():
        yield from _maps(child, f"{name}.{inner}".lstrip("."))


def multiply_in_float8(model: nn.Module, recipe: str, *, emulate: bool = False) -> list[str]:
    """Let the linear maps of a model multiply in float8 by one of torchao's recipes; gives their names.

    Names, weights and biases stay as they are, and so do checkpoints. `emulate` computes with the rounded values in
    wider formats, on any device. Raises `TrainError` where no map can, and ImportError without torchao.
    """
    from torchao.float8 import Float8LinearConfig, convert_to_float8_training

    found = dict(float8_maps(model))
    if not found:
        raise TrainError(
            "`precision.float8` changes nothing: outside of what stays in float32, no linear map has widths that are "
            f"both multiples of {ALIGNED}\n  = fix: remove it, or choose other widths"
        )
    # Padding makes a batch of any number of tokens a product that the hardware knows.
    config = replace(Float8LinearConfig.from_recipe_name(recipe), emulate=emulate, pad_inner_dim=True)
    convert_to_float8_training(model, config=config, module_filter_fn=lambda _, name: name in found)
    for name, before in found.items():
        model.get_submodule(name).role = before.role  # type: ignore[assignment]
    return list(found)
