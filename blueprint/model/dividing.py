"""What of a model can be divided among devices: parts that run as pieces, experts, and what is held together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from torch import nn

from blueprint.model.layers import blocks_of, kind_of
from blueprint.ops import Shards, shards_of

Alone = Callable[[nn.Module, Iterable[nn.Parameter]], bool]

#: What of a block is held together where the block is not, by the names of their kinds.
SUBLAYERS = frozenset({"attention", "feed_forward"})


def stacked(model: nn.Module) -> dict[nn.Module, str]:
    """What is many copies of one module (`blueprint.ops.stack`), and its name."""
    return {module: name for name, module in model.named_modules() if hasattr(module, "stacked")}


def declared(model: nn.Module, n: int = 1) -> Iterator[tuple[nn.Module, Shards]]:
    """The parts that can run as n pieces, and how, each once: the outermost ones, and none that is many."""
    seen: set[nn.Module] = set()

    def walk(module: nn.Module) -> Iterator[tuple[nn.Module, Shards]]:
        if module in seen or hasattr(module, "stacked"):
            return
        seen.add(module)
        shards = shards_of(module)
        if shards is not None and shards.pieces % n == 0:
            yield module, shards
            return
        for inner in module.children():
            yield from walk(inner)

    return walk(model)


def regions(model: nn.Module, n: int) -> dict[nn.Module, Shards]:
    """Those of them that run as n pieces: what others read besides must be whole for them."""
    own = alone(model)
    found: dict[nn.Module, Shards] = {}
    for module, shards in declared(model, n):
        known = dict(module.named_parameters(remove_duplicate=False))
        if own(module, [known[name] for name in (*shards.axes, *shards.once)]):
            found[module] = shards
    return found


def units(model: nn.Module) -> Iterator[nn.Module]:
    """What is gathered by itself: every block, or its sublayers where it shares a parameter with other parts."""
    own = alone(model)
    for _, block in blocks_of(model):
        if own(block, block.parameters()):
            yield block
        else:
            sublayers = (part for part in block.children() if kind_of(part) in SUBLAYERS)
            yield from (part for part in sublayers if own(part, part.parameters()))


def alone(model: nn.Module) -> Alone:
    """Tells whether some parameters of a module are nobody else's, by all the names that a model has for them."""
    paths: dict[int, list[str]] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        paths.setdefault(id(module), []).append(f"{path}.")
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)

    def own(module: nn.Module, parameters: Iterable[nn.Parameter]) -> bool:
        inside = tuple(paths[id(module)])
        return all(name.startswith(inside) for parameter in parameters for name in names[id(parameter)])

    return own
