"""Memory, from shapes alone: a training step under fake tensors, and what stands beside it."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from blueprint.model.build import build_plan, with_hook
from blueprint.model.inputs import given_of
from blueprint.model.recompute import recompute
from blueprint.model.trial import trial_batch
from blueprint.model.weights import freeze, trained
from blueprint.ops import Embedding
from blueprint.ops.cross_entropy import few_chunks
from blueprint.plan import Plan
from blueprint.schema.spec import Spec

_DTYPES = {"bf16": torch.bfloat16, "16": torch.float16, "32": torch.float32, "64": torch.float64}


def cast(model: nn.Module, precision: str) -> nn.Module:
    """The model as it is held under a precision of the trainer."""
    width, how = precision.split("-")
    return model.to(_DTYPES[width]) if how == "true" and width != "32" else model


def computing(precision: str) -> AbstractContextManager[Any]:
    """Autocast where a precision is mixed."""
    width, how = precision.split("-")
    return torch.autocast("cpu", _DTYPES[width]) if how == "mixed" else nullcontext()


def weights(model: nn.Module) -> tuple[int, int]:
    """Bytes of parameters and buffers, and of the gradients."""
    parameters = list(model.parameters())
    held = sum(each.nbytes for each in (*parameters, *model.buffers()))
    return held, sum(each.nbytes for each in parameters if each.requires_grad)


def optimizer_state(spec: Spec, model: nn.Module, plan: Plan) -> int:
    """Bytes the spec's optimizer keeps after a step."""
    return sum(each.nbytes for kept in optimizer_tensors(spec, model, plan).values() for each in kept)


def optimizer_tensors(spec: Spec, model: nn.Module, plan: Plan) -> dict[str, list[Tensor]]:
    """What the spec's optimizer keeps of each parameter after a step, by taking one on the meta device."""
    optimizer = spec.optimizer.build(plan.site)(trained(model, spec))
    for parameter in model.parameters():
        parameter.grad = torch.empty_like(parameter) if parameter.requires_grad else None
    optimizer.step()
    model.zero_grad(set_to_none=True)
    kept = {name: tree_leaves(optimizer.state[parameter]) for name, parameter in model.named_parameters()}
    return {name: [each for each in leaves if isinstance(each, Tensor)] for name, leaves in kept.items()}


def updating(spec: Spec, model: nn.Module, plan: Plan) -> int:
    """The most bytes that the spec's optimizer takes for a moment in a step, beyond what it keeps, by taking two."""
    # Optimizers choose how to compute by what the weights are: plain CPU memory, of which one number stands for all.
    plain = [replace(each, parameter=nn.Parameter(_one(each.parameter))) for each in trained(model, spec)]
    optimizer = spec.optimizer.build(plan.site)(plain)
    ledger = Ledger(nn.Module())
    with FakeTensorMode(allow_non_fake_inputs=True):
        for group in optimizer.param_groups:
            group["params"] = [nn.Parameter(torch.empty(each.shape, dtype=each.dtype)) for each in group["params"]]
            for each in group["params"]:
                each.grad = torch.empty_like(each)
                ledger.set_apart(each, each.grad)
        optimizer.step()
        ledger.set_apart(*(each for kept in optimizer.state.values() for each in tree_leaves(kept)))
        with ledger:
            optimizer.step()
    return ledger.peak()


def _one(like: Tensor) -> Tensor:
    return torch.empty((1,) * like.dim(), dtype=like.dtype).expand(like.shape)


def averages(spec: Spec, model: nn.Module) -> int:
    """Bytes of the means of the weights that learn, in float32 at least, where the spec keeps them."""
    learned = [each for each in model.parameters() if each.requires_grad and spec.ema is not None]
    return sum(each.numel() * max(each.element_size(), torch.float32.itemsize) for each in learned)


Loss = Callable[[Any, dict[str, Tensor]], tuple[Tensor, Any]]


def plain_loss(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Any]:
    """A loss that costs next to nothing: for what a layer adds, the objective does not matter."""
    out = model(**given_of(model, batch), logits=False)
    return out.hidden.sum() + sum(each.sum() for each in out.vectors.values()), {}


class Watch:
    """Someone who has a training step run otherwise than on one device, and looks on; this one does neither."""

    def divide(self, model: nn.Module) -> None:
        """Put in a model's places what a device has of it."""

    def follow(self, model: nn.Module, ledger: Ledger) -> None:
        """The step is about to begin."""

    def finish(self) -> None:
        """The step is over."""


def activations(spec: Spec, plan: Plan, length: int, batch: int, objective: Loss) -> dict[str, int]:
    """The most bytes a training step holds at once beyond weights and gradients, on one device, with CPU's kernels."""
    return {"activations": step(spec, plan, length, batch, objective, Watch()).peak(late=spec.recompute is not None)}


def step(spec: Spec, plan: Plan, length: int, batch: int, objective: Loss, watch: Watch) -> Ledger:
    """A training step without values, and what was held in it."""
    ledger: Ledger
    shapes = cast(build_plan(plan, device="meta"), spec.trainer.precision)
    plan = with_hook(plan)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.random.fork_rng(devices=()):
        model = plan.model.build(plan.site)(plan).train()
        _retype(model, shapes)
        freeze(model, spec)
        recompute(model, spec.recompute)
        watch.divide(model)
        inputs = trial_batch(plan, batch, length, objective=spec.objective)
        with Ledger(model, spec.trainer.accumulate_grad_batches > 1) as ledger:
            watch.follow(model, ledger)
            with computing(spec.trainer.precision), few_chunks():
                loss, _ = objective(model, inputs)
            ledger.begin_backward()
            loss.backward()
            del loss
            watch.finish()
    return ledger


def _held(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _retype(model: nn.Module, like: nn.Module) -> None:
    """What `model.to(dtype)` did to an equal one, which fake parameters refuse: others take their place, tied ones
    still tied."""
    made: dict[int, Tensor] = {}
    dtypes = {name: each.dtype for name, each in _held(like)}
    for name, module in like.named_modules():
        if isinstance(module, Embedding):
            model.get_submodule(name).reads = module.reads  # type: ignore[assignment]
    for name, old in list(_held(model)):
        if old.dtype != dtypes[name]:
            parent, _, own = name.rpartition(".")
            new = old.detach().to(dtypes[name])
            made.setdefault(id(old), nn.Parameter(new) if isinstance(old, nn.Parameter) else new)
            setattr(model.get_submodule(parent), own, made[id(old)])


class Ledger(TorchDispatchMode):
    """Writes down every storage that operations make and let go of, and so what they hold at most.

    A new gradient counts while the forward makes it, as the last step's gradient then still stands beside it (Lightning
    clears gradients between forward and backward); from the backward on it takes that one's place. Where batches are
    accumulated (`adds`) it counts until it has been added to those before.
    """

    def __init__(self, model: nn.Module, adds: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.adds = adds
        self.events: list[tuple[int, int]] = []  # (which storage, bytes it adds or frees)
        self.backward: int | None = None  # how many events came before it
        self.gradients: dict[int, int] = {}  # how many events came before each was a parameter's
        self.beside: set[int] = set()  # what stands there that no operation made
        self.serial = itertools.count()
        self.alive: dict[int, int] = {}  # storage address → serial
        self.watched: list[weakref.ref[Any]] = []
        self.outside: set[int] = set()
        self.set_apart(*model.parameters(), *model.buffers())
        for parameter in filter(lambda each: each.requires_grad, model.parameters()):
            parameter.register_post_accumulate_grad_hook(self._accumulated)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for each in tree_leaves(out):
            if isinstance(each, Tensor):
                self._note(each)
        return out

    def set_apart(self, *tensors: Any) -> None:
        """These are counted elsewhere."""
        self.outside |= {self._address(each) for each in tensors if isinstance(each, Tensor)}

    def begin_backward(self) -> None:
        """The forward is over."""
        self.backward = len(self.events)

    def stand(self, count: int) -> Callable[[], None]:
        """So many bytes stand beside what operations make, until the function that is returned is called."""
        serial = next(self.serial)
        self.beside.add(serial)
        self.events.append((serial, count))
        return lambda: self.events.append((serial, -count))

    def peak(self, late: bool = False) -> int:
        """The most bytes held at one time; `late`: that is within the backward, as of parts that are computed again,
        where gradients that are still to be made are not there."""
        return max(self.course(late=late and not self.adds), default=0)

    def course(self, everything: bool = False, late: bool = False) -> list[int]:
        """The bytes held after each event; `everything` is all gradients and what stands beside, too. `late`: from the
        backward on less is held by what gradients are still to be made."""
        held, course = 0, []
        standing: dict[int, int] = {}
        until = {} if everything or late else self._until()
        leaving: dict[int, list[int]] = {}
        for serial, index in until.items():
            leaving.setdefault(index, []).append(serial)
        cleared = sum(change for serial, change in self.events if change > 0 and serial in self.gradients)
        for index, (serial, change) in enumerate(self.events):
            held -= cleared if late and index == self.backward else 0
            held -= sum(standing.pop(each, 0) for each in leaving.get(index, ()))
            if everything or not (serial in self.beside or index >= until.get(serial, len(self.events))):
                standing[serial] = standing.get(serial, 0) + change
                held += change
            course.append(held)
        return course

    def _until(self) -> dict[int, int]:
        """The event from which on a gradient counts as one, and not as something a step holds besides."""
        if self.adds:
            return self.gradients
        return {} if self.backward is None else dict.fromkeys(self.gradients, self.backward)

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        address, count = storage._cdata, storage.nbytes()
        if address in self.outside or address in self.alive or not count:
            return
        serial = self.alive[address] = next(self.serial)
        self.events.append((serial, count))

        def freed(_: Any) -> None:
            self.alive.pop(address, None)
            self.events.append((serial, -count))

        self.watched.append(weakref.ref(storage, freed))

    def _accumulated(self, parameter: Tensor) -> None:
        assert parameter.grad is not None
        serial = self.alive.get(self._address(parameter.grad))
        if serial is not None:
            self.gradients[serial] = len(self.events)

    @staticmethod
    def _address(tensor: Tensor) -> int:
        address: int = tensor.untyped_storage()._cdata
        return address
