"""How several devices share the work: the strategies of Lightning's Trainer, by its own names and values."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import PositiveInt

from blueprint.component import Component, Fault, Faults, Site, register, rule

Size = PositiveInt | Literal["auto"]


class Strategy(Component, kind="strategy"):
    """How several devices share the work. Object: what Lightning's Trainer takes for its `strategy`."""

    formulas: ClassVar[bool] = False

    #: What it cannot train in, and why.
    refused: ClassVar[dict[str, str]] = {}
    #: Whether devices that share batches share the weights as well, or hold all of them each; None: that is not told.
    shards: ClassVar[bool | None] = None
    #: Whether it asks for a CUDA device.
    cuda: ClassVar[bool] = False

    @property
    def pieces(self) -> Size:
        """Over how many devices each part of the model is cut."""
        return 1

    def needs_cuda(self) -> Fault:
        """What is wrong with it elsewhere."""
        what = f"`{self.spec_name}` trains on CUDA devices only"
        return Fault(what, "strategy", "say `model_parallel`, which runs on any device")

    def chosen(self, devices: int | None) -> Strategy:
        """The strategy that is meant on so many devices, those of all machines (None: as many as there are)."""
        return self

    def fits(self, devices: int) -> Fault | None:
        """What is wrong with it on so many devices, those of all machines."""
        return None


@register("auto")
class Auto(Strategy):
    """Nothing for one device, `ddp` for several; of as many devices as there are, what Lightning chooses
    (https://lightning.ai/docs/pytorch/stable)."""

    def chosen(self, devices: int | None) -> Strategy:
        """`ddp` for several."""
        return self if devices in (None, 1) else Ddp()

    def build(self, at: Site) -> Any:
        """The strategy's name."""
        return "auto"


@register("ddp")
class Ddp(Strategy):
    """Every device has the whole model and a share of each batch; gradients are averaged (Li et al., 2020, *PyTorch
    Distributed*)."""

    shards: ClassVar[bool | None] = False

    def build(self, at: Site) -> Any:
        """The strategy."""
        from blueprint.training.strategies.replicated import Replicated

        return Replicated()


@register("model_parallel")
class ModelParallel(Strategy):
    """Every device has a share of the model: fully sharded over those that share batches (Zhao et al., 2023, *PyTorch
    FSDP*), and cut into pieces that work at once, as far as its parts can be (Shoeybi et al., 2019, *Megatron-LM*, §3).
    """

    shards: ClassVar[bool | None] = True
    refused: ClassVar[dict[str, str]] = {
        "16-mixed": "its gradients lie on several devices, and no loss scaler sees all of them",
        "16-true": "without loss scaling its gradients underflow and training ends in NaN",
        "64-true": "Lightning's ModelParallelStrategy has no 64-bit floats",
    }

    data_parallel_size: Size = "auto"
    """How many devices, or groups of them, share each batch, and shard all weights; `auto`: as many as there are beside
    `tensor_parallel_size`."""
    tensor_parallel_size: Size = 1
    """Over how many devices each attention is cut by its heads, each feed-forward by its hidden units; `auto`: as many
    as there are beside `data_parallel_size`. They read the same batches, and belong in one machine."""

    expert_parallel_size: PositiveInt = 1
    """Over how many of the devices that share batches the experts of each layer are shared out; tokens travel to theirs
    and back (Lepikhin et al., 2021, *GShard*, §3.3)."""

    @rule("data_parallel_size", "expert_parallel_size")
    def _experts_are_shared_out(data: Size, experts: int) -> Faults:
        return None if data == "auto" else _shared_out(data, experts)

    @rule("data_parallel_size", "tensor_parallel_size")
    def _one_is_said(data: Size, tensor: Size) -> Faults:
        if data == tensor == "auto":
            return Fault("one of two sizes must be said for the other to follow", "tensor_parallel_size", "say `1`")
        return None

    @property
    def pieces(self) -> Size:
        """Over how many devices each part of the model is cut."""
        return self.tensor_parallel_size

    def fits(self, devices: int) -> Fault | None:
        """Whether the sizes make up the devices."""
        said = {"data_parallel_size": self.data_parallel_size, "tensor_parallel_size": self.tensor_parallel_size}
        sizes = {name: size for name, size in said.items() if size != "auto"}
        product = 1
        for size in sizes.values():
            product *= size
        if product == devices or (len(sizes) < 2 and devices % product == 0):
            tensor = self.tensor_parallel_size
            shared = self.data_parallel_size if tensor == "auto" else devices // tensor
            return None if shared == "auto" else _shared_out(shared, self.expert_parallel_size)
        at = min(sizes, key=lambda name: devices % sizes[name] == 0)
        shape = " × ".join(map(str, sizes.values()))
        whole = f"there are {devices}" if len(sizes) == 2 else f"that does not divide {devices}"
        return Fault(f"the work is shared among {shape} devices, but {whole}", at, "leave one size `auto`")

    def build(self, at: Site) -> Any:
        """The strategy."""
        from blueprint.training.strategies.parallel import Parallel

        return Parallel(self.data_parallel_size, self.tensor_parallel_size, self.expert_parallel_size)


def _shared_out(devices: int, experts: int) -> Fault | None:
    if devices % experts == 0:
        return None
    what = f"{experts} does not divide the {devices} devices that share batches"
    return Fault(what, "expert_parallel_size", "choose a size that divides them")


@register("fsdp")
class Fsdp(Strategy):
    """Lightning's FSDPStrategy: fully sharded data parallel as torch had it first (Zhao et al., 2023, *PyTorch FSDP*);
    `model_parallel` has what came after it."""

    cuda: ClassVar[bool] = True

    def build(self, at: Site) -> Any:
        """The strategy's name."""
        return "fsdp"


@register("deepspeed")
class Deepspeed(Strategy):
    """Lightning's DeepSpeedStrategy (Rajbhandari et al., 2020, *ZeRO*); needs the package `deepspeed`."""

    cuda: ClassVar[bool] = True

    stage: Literal[1, 2, 3] = 2
    """What is sharded: 1 the optimizer's state, 2 gradients too, 3 the weights too."""

    def build(self, at: Site) -> Any:
        """The strategy's name."""
        return f"deepspeed_stage_{self.stage}"
