"""Data parallel: every device has the whole model."""

from __future__ import annotations

from lightning.pytorch.strategies import DDPStrategy

from blueprint.training.strategies.launch import Launcher


class Replicated(DDPStrategy):
    """Lightning's DDPStrategy, whose first process outlives the others by as long as it needs to write the run down."""

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        if not self.cluster_environment.creates_processes_externally:
            self._launcher = Launcher(self.cluster_environment, self.num_processes, self.num_nodes)
