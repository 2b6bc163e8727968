"""The promise of what can be divided: its pieces add up to the whole."""

from __future__ import annotations

import copy
from typing import Any

from blueprint.testing.tiny import Case


def pieces_add_up(case: Case) -> None:
    """Fail unless every part that declares `shards` gives, run piece by piece, what it gives whole."""
    import torch
    from torch.func import functional_call

    from blueprint.ops import shards_of

    model = copy.deepcopy(case.model).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Some begin at zero, and zeros add up to anything.
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    declared = {name: shards for name, module in model.named_modules() if (shards := shards_of(module)) is not None}
    heard: dict[str, tuple[Any, ...]] = {}

    def hear(name: str) -> Any:
        def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
            heard[name] = args, kwargs, out

        return hook

    handles = [model.get_submodule(name).register_forward_hook(hear(name), with_kwargs=True) for name in declared]
    with torch.no_grad():
        model(**case.inputs())
        for handle in handles:
            handle.remove()
        for name, (args, kwargs, out) in heard.items():
            module, shards = model.get_submodule(name), declared[name]
            known = dict(module.named_parameters())
            assert set(shards.axes) | set(shards.once) <= set(known), f"{name} divides what it has not"
            for of in (each for each in range(2, min(shards.pieces, 4) + 1) if shards.pieces % each == 0):
                found = [
                    functional_call(module, {key: shards.piece(key, known[key], n, of) for key in known}, args, kwargs)
                    for n in range(of)
                ]
                error = (sum(piece[0] for piece in found) - out[0]).abs().max().item()
                bound = 1e-5 * max(1.0, out[0].abs().max().item())
                assert error <= bound, f"{of} pieces of {name} add up to something else: off by {error:.2e}"
