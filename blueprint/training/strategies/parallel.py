"""Lightning's ModelParallelStrategy, with the checkpoints of every other strategy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.optim import Optimizer

from blueprint.ops import is_spread, spread_like, whole
from blueprint.training.error import TrainError
from blueprint.training.strategies.launch import Launcher

Size = int | Literal["auto"]


class Parallel(ModelParallelStrategy):
    """Data parallel, fully sharded, times tensor parallel: the model is laid out by the axes that its parts declare.

    Checkpoints are the ordinary ones, gathered tensor by tensor by the first process and read by all: a run goes on
    under any strategy, and whatever reads a checkpoint reads these.
    """

    def __init__(
        self, data_parallel_size: Size = "auto", tensor_parallel_size: Size = "auto", expert_parallel_size: int = 1
    ) -> None:
        self.expert_parallel_size = expert_parallel_size
        super().__init__(data_parallel_size, tensor_parallel_size, save_distributed_checkpoint=False)

    @property
    def sizes(self) -> tuple[int, int]:
        """How many devices share batches, and over how many each of those is cut; raises `TrainError`."""
        world, data, tensor = self.num_nodes * self.num_processes, self._data_parallel_size, self._tensor_parallel_size
        if tensor == "auto":
            # Lightning's own choice where neither is said: pieces within a machine.
            tensor = self.num_processes if data == "auto" else world // data or 1
        if data == "auto":
            data = world // tensor or 1
        if data * tensor != world:
            raise TrainError(
                f"`trainer.strategy` shares the work among {data} × {tensor} devices, but there are {world}\n"
                f"  = fix: let `data_parallel_size` times `tensor_parallel_size` be {world}, or leave one `auto`"
            )
        return data, tensor

    @property
    def replicas(self) -> int:
        """How many processes share a batch."""
        return self.sizes[0]

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Optimizers come back as under other strategies."""
        return True

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        if not self.cluster_environment.creates_processes_externally:
            self._launcher = Launcher(self.cluster_environment, self.num_processes, self.num_nodes)

    def setup_environment(self) -> None:
        """Begin the processes, and lay the mesh over them."""
        self._data_parallel_size, self._tensor_parallel_size = self.sizes
        super().setup_environment()

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The module's state as it is spread."""
        assert self.lightning_module is not None
        return self.lightning_module.state_dict()

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Give the module its pieces of a state that every process has read; raises RuntimeError where it misses."""
        assert self.lightning_module is not None
        module, told = self.lightning_module, checkpoint["state_dict"]
        held = module.state_dict()
        state = {name: spread_like(value, held[name]) if name in held else value for name, value in told.items()}
        module.load_state_dict(state, strict=strict)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """An optimizer's state as it is spread, its weights by their numbers."""
        said: dict[str, Any] = (
            optimizer._optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        ).state_dict()
        return said

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Give the optimizers their pieces of what every process has read."""
        for optimizer, told in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            numbers = [number for group in told["param_groups"] for number in group["params"]]
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            state = {
                number: {name: _alike(value, weight) for name, value in told["state"].get(number, {}).items()}
                for number, weight in zip(numbers, weights, strict=True)
                if number in told["state"]
            }
            optimizer.load_state_dict({**told, "state": state})

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        """Gather what is spread, and let the first process write it."""
        found = gathered(checkpoint, keep=self.is_global_zero)
        if self.is_global_zero:
            self.checkpoint_io.save_checkpoint(found, filepath, storage_options=storage_options)
        self.barrier()

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Read the checkpoint, every process by itself."""
        return self.checkpoint_io.load_checkpoint(Path(self.broadcast(checkpoint_path)))


def _alike(value: Any, weight: torch.Tensor) -> Any:
    """State of the weight's own shape is spread as the weight is; other state everyone has whole."""
    same = isinstance(value, torch.Tensor) and value.shape == weight.shape and value.ndim
    return spread_like(value, weight) if same else value


def gathered(value: Any, *, keep: bool) -> Any:
    """Plain values with every spread tensor whole, on the CPU where this process is to `keep` it: one at a time, so
    that no device ever holds two."""
    if isinstance(value, torch.Tensor) and is_spread(value):
        one = whole(value.detach())
        return one.cpu() if keep else None
    if isinstance(value, Mapping):
        return {name: gathered(each, keep=keep) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(gathered(each, keep=keep) for each in value)
    return value


def replicas(trainer: pl.Trainer) -> tuple[int, int]:
    """How many processes share a batch, and which of them this one is: of those that hold pieces of one model all read
    the same."""
    strategy: Any = trainer.strategy
    if isinstance(strategy, Parallel):
        mesh = strategy._device_mesh
        return strategy.replicas, 0 if mesh is None else mesh["data_parallel"].get_local_rank()
    return trainer.world_size, trainer.global_rank


def pieces(trainer: pl.Trainer) -> int:
    """Into how many pieces parts of the model are cut."""
    return trainer.strategy.sizes[1] if isinstance(trainer.strategy, Parallel) else 1
