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
        if self.mesh.strategy == "ddp":
            return
        root, *units = self.units
        # What belongs to no block is gathered first and stays to the end of the backward.
        self._gather(root, ledger)
        for unit in units:
            _Gathered(self, unit, ledger).listen()

    def finish(self) -> None:
        """The step is over: what nobody has reduced yet is now."""
        for unit in self.units:
            if self.mesh.strategy == "ddp":
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
        self._say("all-gather", "dp", _filled_up(unit.parameters, unit.group), unit.group)
        return ledger.stand(sum(each.nbytes for each in unit.parameters))

    def _scatter(self, unit: Unit) -> None:
        self._say("reduce-scatter", "dp", _filled_up(_moved(unit), unit.group), unit.group)
        for parameter in unit.parameters:
            parameter.grad = None  # whole it stands no longer

    def _meet(self, region: Region) -> None:
        """A region's output is summed in the forward, in the backward what each piece says of what went in."""

        def say(tensor: Tensor) -> None:
            self._say("all-reduce", "tp", tensor.nbytes, self.mesh.tp)

        def before(_: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
            return tuple(_heard(each, say) for each in args), {key: _heard(each, say) for key, each in kwargs.items()}

        region.module.register_forward_pre_hook(before, with_kwargs=True)
        region.module.register_forward_hook(lambda _, __, out: say(_first(out)))
        for parameter in region.whole:
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(say)

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
    """A unit that is gathered to run and again for its backward, after which its gradients are reduced."""

    traffic: Traffic
    unit: Unit
    ledger: Ledger

    def listen(self) -> None:
        """Hear of every forward and backward."""
        module, gone = self.unit.module, list[Callable[[], None]]()

        def release(*_: Any) -> None:
            while gone:
                gone.pop()()

        def gather(*_: Any) -> None:
            release()
            gone.append(self.traffic._gather(self.unit, self.ledger))

        def reduce(*_: Any) -> None:
            self.traffic.blocks_end = len(self.ledger.events)
            release()
            self.traffic._scatter(self.unit)

        def before(_: nn.Module, args: Any) -> Any:
            gather()
            return (_told(args[0], reduce), *args[1:])

        def after(_: nn.Module, __: Any, out: Any) -> None:
            release()
            if isinstance(out, tuple) and out[0].requires_grad:
                out[0].register_hook(gather)

        module.register_forward_pre_hook(before)
        module.register_forward_hook(after)


def _moved(unit: Unit) -> list[nn.Parameter]:
    return [each for each in unit.parameters if each.grad is not None]


def _filled_up(parameters: Iterable[nn.Parameter], group: int) -> int:
    """Bytes of all shards of the parameters, those that were filled up included."""
    return sum(shard(each, group).nbytes for each in parameters) * group


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
