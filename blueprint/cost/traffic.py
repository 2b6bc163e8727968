"""A training step as one device of a mesh runs it: what it sends, and what stands whole for a while.

Nothing is sent: parts say when they run and when their gradients come, and what they would then send is written down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from blueprint.cost.memory import Ledger, Watch
from blueprint.cost.mesh import Mesh
from blueprint.cost.pieces import Region, Unit, divide, shard, units_of
from blueprint.ops import Flow

#: What is sent along which dimension.
WAYS = (
    ("all-gather", "dp"),
    ("reduce-scatter", "dp"),
    ("all-reduce", "dp"),
    ("all-reduce", "tp"),
    ("all-to-all", "ep"),
)

PHASES = ("forward", "backward", "after")


def sent(kind: str, size: int, group: int) -> int:
    """Bytes that each of a group sends when `size` bytes are gathered, scattered, summed or exchanged in a ring: of a
    whole (Patarasuk & Yuan, 2009, §3) each but its own n-th part, twice that for a sum of which all get the whole.
    """
    return (2 if kind == "all-reduce" else 1) * (group - 1) * size // group


class Traffic(Watch):
    """Has a step run on what one device has, and keeps an account of what the others would be told."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.bytes: Counter[tuple[str, str]] = Counter()
        self.calls: Counter[tuple[str, str]] = Counter()
        self.blocks_end = 0  # how many events there were when a block's gradients were last reduced

    def divide(self, model: nn.Module) -> None:
        """Cut what is cut, and listen where it meets the others."""
        regions, stacks = divide(model, self.mesh)
        for region in regions:
            self._meet(region)
        for stack in stacks:
            self._exchange(stack)

    def follow(self, model: nn.Module, ledger: Ledger) -> None:
        """Listen where parameters are gathered and gradients reduced."""
        self.units = units_of(model, self.mesh)
        if not self.mesh.sharded:
            return
        root, *units = self.units
        # What belongs to no block is gathered first and stays to the end of the backward.
        self._gather(root, ledger)
        ran: list[_Gathered] = []
        for unit in units:
            _Gathered(self, unit, ledger, ran).listen()

    def finish(self) -> None:
        """The step is over: what nobody has reduced yet is now."""
        for unit in self.units:
            if not self.mesh.sharded:
                self._say("all-reduce", "dp", sum(each.nbytes for each in _moved(unit)), self.mesh.dp)
            else:
                self._scatter(unit)

    def figures(self, ledger: Ledger) -> dict[str, int]:
        """Everything that was written down, by names.

        What was held at most is told of the forward, of the backward through the blocks and of what comes after it:
        each grows with every layer in a way of its own.
        """
        course, begin = ledger.course(everything=True), ledger.backward or 0
        end = max(self.blocks_end, begin)
        spans = course[:begin], course[begin:end], course[end:]
        said = {f"held {phase}": max(span, default=0) for phase, span in zip(PHASES, spans, strict=True)}
        said |= {"activations": ledger.peak()}
        said |= {f"{kind} {along}": self.bytes[kind, along] for kind, along in WAYS}
        return said | {f"{kind} {along} calls": self.calls[kind, along] for kind, along in WAYS}

    def _say(self, kind: str, along: str, size: int, group: int) -> None:
        if group > 1 and size:
            self.bytes[kind, along] += sent(kind, size, group)
            self.calls[kind, along] += 1

    def _gather(self, unit: Unit, ledger: Ledger) -> Callable[[], None]:
        self._say_shards("all-gather", unit.parameters, unit.group)
        return ledger.stand(sum(each.nbytes for each in unit.parameters))

    def _scatter(self, unit: Unit) -> None:
        self._say_shards("reduce-scatter", _moved(unit), unit.group)
        for parameter in unit.parameters:
            parameter.grad = None  # whole it stands no longer

    def _say_shards(self, kind: str, parameters: Iterable[nn.Parameter], group: int) -> None:
        """Shards, those that were filled up included, go together if they are of one dtype."""
        sizes: Counter[torch.dtype] = Counter()
        for each in parameters:
            sizes[each.dtype] += shard(each, group).nbytes * group
        for size in sizes.values():
            self._say(kind, "dp", size, group)

    def _meet(self, region: Region) -> None:
        """A region's output is summed in the forward, in the backward what each piece says of what went in."""

        def say(tensor: Tensor) -> None:
            self._say("all-reduce", "tp", tensor.nbytes, self.mesh.tp)

        def before(_: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
            return tuple(_heard(each, say) for each in args), {key: _heard(each, say) for key, each in kwargs.items()}

        def whole(_: Tensor) -> None:
            for each in region.whole:
                if each.requires_grad:
                    say(each)

        def after(_: nn.Module, __: Any, out: Any) -> None:
            say(_first(out))
            if _first(out).requires_grad:
                _first(out).register_hook(whole)

        region.module.register_forward_pre_hook(before, with_kwargs=True)
        region.module.register_forward_hook(after)

    def _exchange(self, stack: nn.Module) -> None:
        """Rows travel to their experts and back, and so do their gradients."""

        def say(tensor: Tensor) -> None:
            self._say("all-to-all", "ep", tensor.nbytes, self.mesh.ep)

        def arrive(tensor: Tensor) -> Tensor:
            say(tensor)
            return _told(tensor.clone(), say)

        def before(_: nn.Module, args: Any) -> Any:
            return (arrive(args[0]), *args[1:])

        def after(_: nn.Module, __: Any, out: Any) -> Any:
            y, terms = out
            return arrive(y), terms

        stack.register_forward_pre_hook(before)
        stack.register_forward_hook(after)


@dataclass(eq=False)
class _Gathered:
    """A unit that is gathered to run and again for its backward, after which its gradients are reduced.

    While a backward runs, the unit whose turn is next is gathered already (as FSDP2 does), frozen or not.
    """

    traffic: Traffic
    unit: Unit
    ledger: Ledger
    ran: list[_Gathered]
    gone: Callable[[], None] | None = None

    def listen(self) -> None:
        """Hear of every forward and backward."""
        self.unit.module.register_forward_pre_hook(self._before)
        self.unit.module.register_forward_hook(self._after)

    def _gather(self) -> None:
        if self.gone is None:
            self.gone = self.traffic._gather(self.unit, self.ledger)

    def _release(self) -> None:
        if self.gone is not None:
            self.gone()
            self.gone = None

    def _before(self, _: nn.Module, args: Any) -> Any:
        self._gather()
        return (_told(args[0], self._reduce), *args[1:])

    def _after(self, _: nn.Module, __: Any, out: Any) -> None:
        self._release()
        place = len(self.ran)
        self.ran.append(self)
        if not isinstance(out, tuple) or not out[0].requires_grad:
            return

        def begin(_: Tensor) -> None:
            self._gather()
            if place:
                self.ran[place - 1]._gather()

        out[0].register_hook(begin)

    def _reduce(self, _: Tensor) -> None:
        self.traffic.blocks_end = len(self.ledger.events)
        self._release()
        self.traffic._scatter(self.unit)


def _moved(unit: Unit) -> list[nn.Parameter]:
    return [each for each in unit.parameters if each.grad is not None]


def _heard(value: Any, say: Callable[[Tensor], None]) -> Any:
    """The same to compute with; `say` is called with its gradient, where any comes."""
    if isinstance(value, Tensor):
        return _told(value, say)
    if isinstance(value, Flow) and value.memory is not None:
        return replace(value, memory=replace(value.memory, x_BSD=_told(value.memory.x_BSD, say)))
    return value


def _told(tensor: Tensor, say: Callable[[Tensor], None]) -> Tensor:
    if not tensor.requires_grad or not torch.is_grad_enabled():
        return tensor
    view = tensor.view_as(tensor)
    view.register_hook(say)
    return view


def _first(out: Any) -> Tensor:
    found: Tensor = next(each for each in tree_leaves(out) if isinstance(each, Tensor))
    return found
