"""The LightningModule around a model and its objective."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from blueprint.model.initialise import name_seed
from blueprint.model.weights import trained
from blueprint.ops import its_own_way
from blueprint.plan import Plan, plan
from blueprint.schema.spec import Spec
from blueprint.training.asked import Asked
from blueprint.training.average import Average
from blueprint.training.checkpoint import AVERAGED
from blueprint.training.counts import processed
from blueprint.training.error import NonFinite, TrainError
from blueprint.training.folder import plain_spec
from blueprint.training.kept import texts
from blueprint.training.learner import learner
from blueprint.training.scaling import LEAST, scaling, uncount
from blueprint.training.scores import score, scores
from blueprint.training.strategies.clip import clip, norm_of
from blueprint.training.strategies.layout import lay_out, resharded
from blueprint.training.strategies.parallel import replicas
from blueprint.training.strategies.sharing import Sharing

#: The version of what a checkpoint holds under `blueprint`.
FORMAT = 1


def compile(spec: Spec) -> BlueprintModule:
    """The LightningModule of a spec: model, objective, optimizer and schedule, ready for any Lightning Trainer.

    Batches are maps of tensors as the objective reads them (`input_ids`, `labels` (B, T), …). Raises `SpecError`.
    """
    module = BlueprintModule(spec)
    module.configure_model()
    return module


class BlueprintModule(pl.LightningModule):
    """Trains the model of a spec; `model` holds it once `configure_model` has run."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.plan: Plan = plan(spec)
        self.model: nn.Module | None = None
        if spec.objective is None:
            raise TrainError("the spec has no `objective`: nothing says what the model learns")
        self.sharing = Sharing(self)
        self.objective = spec.objective.build(self.plan.site)
        if hasattr(self.objective, "share"):
            self.objective.share = self.sharing.share
        #: The models that the objective asks; within a dataclass, where no module finds them.
        self.asked: Asked | None = None
        #: Optimizer steps of the whole run, for the schedule; `run` knows better where epochs count too.
        self.total_steps: int | None = spec.trainer.max_steps
        #: What checkpoints carry beside the spec.
        self.lock: dict[str, Any] = {}
        self.files = texts(spec)
        #: Of the last optimizer step: the rate it took, and the gradient's norm before clipping.
        self.learning_rate = 0.0
        self.gradient_norm: Tensor | None = None
        #: Whether the batch ended in a step that was skipped.
        self.skipped = False
        #: The places in the data of the batches since the last optimizer step.
        self._places: list[Tensor] = []
        self._held_out: list[Tensor] = []
        #: What modules told of the last optimizer step (`settle`), by their names.
        self.settled: dict[str, dict[str, Tensor]] = {}
        #: What is measured on held-out batches besides the loss, by name.
        self._scores: dict[str, Any] = {}
        #: The mean of the weights beside them, where the spec asks for one.
        self.average: Average | None = None
        self._measured = ExitStack()
        #: The names of the linear maps that multiply in float8.
        self.float8: list[str] = []
        self._laid_out = False

    def configure_model(self) -> None:
        """Build the model, seeded by the spec, and lay it over the strategy's devices once they are known; calling it
        again changes nothing."""
        if self.model is None:
            made = learner(self.spec, self.plan)
            self.model, self.asked, self.float8 = made.model, made.asked, made.float8
            self.average = None if self.spec.ema is None else Average(self.spec.ema, self.model)
            if self.asked is not None:
                self.objective.meet(self.asked.models)
        if self._device_mesh is not None and not self._laid_out:
            # What is gathered together has one dtype: Lightning would lower the weights afterwards.
            self.trainer.precision_plugin.convert_module(self.model)
            lay_out(self.model, self._device_mesh, getattr(self.trainer.strategy, "expert_parallel_size", 1))
            self._laid_out = True

    def require_model(self) -> nn.Module:
        """The model, built if it was not yet."""
        self.configure_model()
        assert self.model is not None
        return self.model

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's forward."""
        return self.require_model()(*args, **kwargs)

    def configure_optimizers(self) -> Any:
        """The spec's optimizer, and its schedule by optimizer step."""
        optimizer = self.spec.optimizer.build(self.plan.site)(trained(self.require_model(), self.spec))
        optimizer.register_load_state_dict_pre_hook(its_own_way)
        total = self.total_steps or int(self.trainer.estimated_stepping_batches)
        schedule = self.spec.schedule
        scheduler = LambdaLR(optimizer, lambda step: schedule.factor(step, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_fit_start(self) -> None:
        """Bring the models that the objective asks to where this one is."""
        if self.asked is not None:
            self.asked.to(self.device, self.trainer.precision_plugin.convert_module)

    def on_train_start(self) -> None:
        """Set the learning rate by the schedule as it is now: a resumed run may have been given another length."""
        for config in self.trainer.lr_scheduler_configs:
            scheduler = cast(LambdaLR, config.scheduler)
            rates = zip(scheduler.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
            for group, base, factor in rates:
                group["lr"] = base * factor(scheduler.last_epoch)
        if self.average is not None and self.trainer.global_step == 0:
            self.average.update(0)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed every generator from the run's seed and the batch's number alone, so that no history enters."""
        seed = name_seed(self.spec.seed, f"batch {processed(self.trainer)} rank {replicas(self.trainer)[1]}")
        torch.manual_seed(seed)
        self.skipped = False
        random.seed(seed)
        np.random.seed(seed & 0xFFFFFFFF)

    def training_step(self, batch: Mapping[str, Any], batch_idx: int = 0) -> dict[str, Tensor]:
        """The loss of a batch, a mean over the tokens it predicts; raises `NonFinite` before a broken one reaches the
        weights.

        What an optimizer step minimises is the plain mean of its batches' losses: accumulated batches weigh the same,
        whatever tokens they hold. Processes that share a batch weigh by their tokens, so that their number changes
        nothing.
        """
        place = batch.get("place")
        self._places += [] if place is None else [place]
        loss, metrics = self.objective(self.model, batch)
        if not self.sharing.agree(torch.isfinite(loss.detach())):
            raise self._broken(f"the loss is {loss.item()}", self._places[-1:])
        loss = loss * self.sharing.share(metrics.get("tokens"))
        self.learning_rate = float(self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
        self.log("loss", loss.detach(), prog_bar=True)
        self.log("learning_rate", self.learning_rate)
        return {**metrics, "loss": loss * self._lone(batch_idx), "objective": loss.detach()}

    def _lone(self, batch_idx: int) -> float:
        """Mends that Lightning divides by the number of accumulated batches even where an epoch's end leaves fewer."""
        whole = self.trainer.accumulate_grad_batches
        batches = self.trainer.num_training_batches
        # A run that goes on after the end of an epoch counts on from there.
        return whole / min(whole, batches - batch_idx % batches // whole * whole)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: Any = None,
    ) -> None:
        """Clip as the Trainer says, and note the norm before it; raises `NonFinite` for a broken gradient."""
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = norm_of(gradients)
        if isinstance(self.trainer.strategy, FSDPStrategy):
            # Each process has its own numbers of every gradient, as plain tensors.
            norm = self.trainer.strategy.reduce(norm.square(), reduce_op="sum").sqrt()
        self.gradient_norm = norm
        scaled = scaling(self.trainer)
        if not torch.isfinite(norm):
            # An overflow is how a loss's scale is found: that step is skipped, as long as a lower scale may help.
            if scaled is None:
                raise self._broken(f"the gradient's norm is {norm.item()}", self._places)
            if scaled.scale <= LEAST:
                raise self._broken(
                    f"a gradient is too large for float16 even where the loss is scaled by {scaled.scale:g} only, "
                    f"after {scaled.skips} skipped steps",
                    self._places,
                )
        self._places = []
        self.log("gradient_norm", norm)
        if scaled:
            self.clip_gradients(
                optimizer, gradient_clip_val=gradient_clip_val, gradient_clip_algorithm=gradient_clip_algorithm
            )
        elif gradient_clip_val is not None:
            # Lightning's refuses fused optimizers under mixed precision, and what is spread over processes.
            clip(gradients, norm, gradient_clip_val, gradient_clip_algorithm or "norm")

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take the step, average, then let every module that has something to `settle` do so; or skip it all, where the
        loss's scale was too high."""
        super().optimizer_step(*args, **kwargs)
        scaled = scaling(self.trainer)
        self.skipped = scaled is not None and scaled.skipped
        if self.skipped:
            uncount(self.trainer)
            return
        if self.average is not None:
            # Lightning counts the step later.
            self.average.update(self.trainer.global_step + 1)
        settling = (
            (name, module) for name, module in self.require_model().named_modules() if hasattr(module, "settle")
        )
        self.settled = {name: module.settle(self.sharing.everyone) for name, module in settling}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Go on in the schedule, unless the step was skipped."""
        if not self.skipped:
            super().lr_scheduler_step(scheduler, metric)

    def on_validation_epoch_start(self) -> None:
        """Begin to count anew, by the averaged weights where those are to be measured."""
        if self.average is not None and self.average.said.validation == "averaged":
            self._measured.enter_context(self.average.worn())
        self._held_out = []
        text = getattr(getattr(self.trainer, "datamodule", None), "text", None)
        self._scores = scores(self.objective, self.require_model(), text, self.device)

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int = 0) -> None:
        """Add a batch to the held-out loss, weighted by its tokens, and to the objective's scores."""
        loss, metrics = self.objective(self.model, batch)
        nats = metrics.get("loss", loss).detach().double()
        count = metrics.get("tokens", torch.tensor(1.0, device=nats.device)).double()
        # A batch of padding alone has a mean over nothing.
        self._held_out.append(torch.stack([torch.where(count > 0, nats * count, 0.0), count]))
        score(self._scores, metrics, batch)

    def on_validation_epoch_end(self) -> None:
        """Log the mean over all held-out tokens, of all processes."""
        if self._laid_out:
            resharded(self.require_model())
        self._measured.close()
        total = torch.stack(self._held_out).sum(0)
        total = self.trainer.strategy.reduce(total, reduce_op="sum")
        nats = (total[0] / total[1]).sum().float()
        # Equal in all processes by now; `sync_dist` says so to Lightning.
        self.log("val_loss", nats, prog_bar=True, sync_dist=True)
        text = getattr(getattr(self.trainer, "datamodule", None), "text", None)
        bits = None if text is None else text.bits_per_byte(float(nats))
        if bits is not None:
            self.log("val_bits_per_byte", bits, sync_dist=True)
        for name, value in self._scores.items():
            # torchmetrics has put the processes together already.
            self.log(f"val_{name}", value.compute().float(), sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what restores the model without its YAML, as plain values."""
        text = getattr(getattr(self.trainer, "datamodule", None), "text", None)
        if text is not None and self.spec.tokenizer is not None and self.spec.tokenizer.untrained:
            # It has learned from the data since.
            self.spec, self.files = text.spec, texts(text.spec)
        checkpoint["blueprint"] = {
            "format": FORMAT,
            "spec": plain_spec(self.spec),
            "files": self.files,
            "plan_hash": self.plan.hash,
            "lock": self.lock,
        }
        if self.average is not None and self.average.means:
            checkpoint[AVERAGED] = self.average.means

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the averages, too."""
        self.configure_model()
        if self.average is not None:
            self.average.load(checkpoint.get(AVERAGED, {}))

    def _broken(self, what: str, places: list[Tensor]) -> NonFinite:
        describe = getattr(getattr(self.trainer, "datamodule", None), "describe", None)
        place = ""
        if describe is not None and places:
            rows = torch.cat([cast(Tensor, self.all_gather(place)).flatten() for place in places])
            # Processes that hold pieces of one model have read the same.
            place = describe(dict.fromkeys(rows.tolist()))
        narrow = scaling(self.trainer) is not None
        return NonFinite(what, self.trainer.global_step + 1, place, narrow=narrow)
