"""Train a spec into a run folder, and go on with a run: what `blueprint train` and `blueprint resume` do."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_only

from blueprint import files
from blueprint.diagnosis import SpecError
from blueprint.inference.prompt import known_start
from blueprint.plan import placed
from blueprint.schema.spec import Spec
from blueprint.training import checkpoint as checkpoints
from blueprint.training import curve, heat, metrics, statistics
from blueprint.training.asked import present, same_asked
from blueprint.training.callbacks import sample
from blueprint.training.callbacks.progress import RunProgress
from blueprint.training.callbacks.record import Recorder
from blueprint.training.callbacks.sample import Sampler
from blueprint.training.callbacks.save import AtomicIO, Saver
from blueprint.training.callbacks.stop import Interrupted, StopSignals
from blueprint.training.data.loader import loader
from blueprint.training.data.tally import table
from blueprint.training.data_module import BlueprintData, same_data
from blueprint.training.error import Lost, NonFinite, NoRoom, TrainError
from blueprint.training.folder import Layout, Run, carry_import, changes, lock, write_json, yaml_text
from blueprint.training.kept import copied
from blueprint.training.module import BlueprintModule, compile
from blueprint.training.precision import check_policy, check_precision, device_of, products
from blueprint.training.restore import load_weights
from blueprint.training.standing import Standing, said
from blueprint.training.start import with_tokens
from blueprint.training.strategies.launch import loss_of
from blueprint.training.strategies.layout import left_whole
from blueprint.training.strategies.parallel import pieces, replicas
from blueprint.training.task import Text, fits_in, prepare, ready_to_train
from blueprint.training.trainer import quiet, trainer
from blueprint.training.written import Written, of_run, scorers


def fit(
    spec: Spec,
    out: str | Path,
    *,
    progress: bool = True,
    cache: Path | None = None,
    callbacks: Sequence[pl.Callback] = (),
) -> Run:
    """Train a spec into the new run folder `out`; what `blueprint train` does.

    SIGINT and SIGTERM save and return a run that is `interrupted`. `cache` holds the token files, `callbacks` are added
    to Lightning's. Raises `TrainError` (a used folder, a precision the device has not, a spec that does not say how to
    train), `NonFinite`, `DataError`, `files.Busy`.
    """
    ready_to_train(spec)
    _check(spec)
    layout = Layout(Path(out))
    with _held(layout):
        if first():
            layout.refuse_used()
        text = prepare(with_tokens(spec), cache=cache, progress=None if progress else False)
        return _Training(layout, text, progress, callbacks).run(None)


def resume(
    folder: str | Path,
    overrides: Sequence[str] = (),
    *,
    progress: bool = True,
    cache: Path | None = None,
    allow_plugins: bool = False,
    callbacks: Sequence[pl.Callback] = (),
) -> Run:
    """Go on with a run from its newest whole checkpoint, exactly as if it had never stopped.

    `overrides` may change how long it trains, how it is watched and where it runs (`trainer.max_steps=400`), not what
    is trained. A damaged checkpoint is named and passed over. Raises as `fit` does.
    """
    layout = Layout(Path(folder))
    spec = said(layout, overrides, allow_plugins)
    ready_to_train(spec)
    _check(spec)
    with _held(layout):
        text = prepare(spec, cache=cache, progress=None if progress else False)
        stands = Standing.of(layout)
        training = _Training(layout, text, progress, callbacks)
        last, began = stands.locks(spec, training.module.state_dict(), allow_plugins)
        if last:
            same_data(last.get("data", {}), text.identity())
            same_asked(last.get("asked", {}), training.module.lock.get("asked", {}))
        for path, why in stands.damaged.items():
            if first():
                print(f"passing over {path}: {why}", file=sys.stderr, flush=True)
                AtomicIO().remove_checkpoint(path)
        for change in changes(began, training.module.lock) if began else ():
            training.say(f"note: {change}: what follows may differ in the last bits")
        return training.run(stands.newest)


class _Training:
    """One sitting of a run: everything that `fit` and `resume` share."""

    def __init__(self, layout: Layout, text: Text, progress: bool, callbacks: Sequence[pl.Callback]) -> None:
        fits_in(text)
        # The text's own spec: its tokenizer has learned what it had to.
        spec = text.spec
        self.spec, self.layout, self.text, self.progress = spec, layout, text, progress
        self.steps, self.step = text.steps, 0
        self.more = list(callbacks)
        self.bar: RunProgress | None = None
        self.recorder: Recorder | None = None
        self.written: Written | None = None
        self.module: BlueprintModule = compile(spec)
        self.module.total_steps = self.steps
        self.module.lock = lock(spec, self.module.plan.hash, text.identity())
        if self.module.asked is not None:
            self.module.lock["asked"] = self.module.asked.hashes

    def say(self, text: str) -> None:
        """Tell the user, without breaking the bar."""
        if self.progress and first():
            (self.bar.print if self.bar else lambda line: print(line, file=sys.stderr, flush=True))(text)

    def run(self, newest: Path | None) -> Run:
        """Train from a checkpoint, or from the start, to the end or until asked to stop."""
        try:
            return self._run(newest)
        except files.Full as error:
            last = next(reversed(checkpoints.listing(self.layout.checkpoints)), None)
            raise NoRoom(error, last, self.layout.root, begun=self.layout.spec.exists()) from error

    def _run(self, newest: Path | None) -> Run:
        self.step = (checkpoints.step_of(newest) if newest else None) or 0
        model = self.module.require_model()
        # Whatever is wrong with the spec, its data or the devices shows before the folder is taken.
        if self.step > self.steps:
            raise TrainError(f"the run is at step {self.step} already, past the {self.steps} that were asked for")
        if self.spec.sample is not None:
            sample.prompt(model, self.text.tokenizer, self.spec.sample, known_start(self.spec))
        if self.spec.writing is not None:
            scorers(self.spec.writing, self.module.plan)
        lightning, recorder, saver = self._trainer()
        self.recorder = recorder
        whole = left_whole(model, pieces(lightning))
        for samples in (self.text.train, self.text.validation):
            loader(samples, batch_size=self.text.data.batch_size, world_size=replicas(lightning)[0])
        if newest is None and self.spec.start is not None:
            start = self.spec.start
            self.say(str(load_weights(model, start.from_, start.parts, start.strict)))
        elif newest is not None:
            self.say(f"going on from {newest}")
        for line in self.text.notes():
            self.say(f"note: {line}")
        if self.module.float8:
            self.say(f"note: {len(self.module.float8)} linear maps multiply in float8")
        if whole:
            self.say(f"note: every device has these whole, and computes them: {', '.join(whole)}")
        began, status = time.monotonic(), "broken"
        with saver.stop:
            try:
                if first():
                    self._prepare_folder()
                    recorder.table = metrics.Table(self.layout.metrics, after=self.step)
                    recorder.statistics = statistics.Statistics(self.layout.statistics, after=self.step)
                if self.step < self.steps:
                    self._fit(lightning, newest)
                status = "finished"
                if first():
                    self.written = of_run(self.layout, self.text, self.module.device, self.progress)
            except Interrupted:
                status = "interrupted"
            except NonFinite as error:
                raise error.after(saver.newest or newest) from error
            except RuntimeError as error:
                what = loss_of(error, lightning.strategy.launcher)
                if what is None:
                    raise
                raise Lost(what, saver.newest or newest, self.layout.root) from error
            finally:
                # What ended the run is what has to be told, and not that there is no room to tell it.
                with contextlib.suppress(*(files.Full,) * (status == "broken")):
                    run = self._written(status, time.monotonic() - began)
        self.say("\n" + run.report())
        return run

    def _fit(self, trainer: pl.Trainer, newest: Path | None) -> None:
        data = BlueprintData(self.spec, text=self.text)
        try:
            with quiet(), products(self.spec), self.module.sharing.told():
                trainer.fit(self.module, datamodule=data, ckpt_path=newest, weights_only=True)
        finally:
            self.step = max(self.step, trainer.global_step)

    def _prepare_folder(self) -> None:
        layout = self.layout
        files.sweep(layout.root)
        # First: with it the folder holds a run, that can be gone on with whatever else is there.
        files.write_atomic(layout.spec, yaml_text(copied(self.spec, layout.root)))
        if not layout.lock.exists():
            write_json(layout.lock, self.module.lock)
        layout.checkpoints.mkdir(parents=True, exist_ok=True)
        if self.text.tallies:
            write_json(layout.stages, [tally.plain() for tally in self.text.tallies])
            files.write_atomic(layout.stage_table, table(self.text.tallies))
        if self.spec.start is not None:
            carry_import(Path(self.spec.start.from_), layout.root)
        # A run that was killed as it saved may have left one too many.
        checkpoints.prune(layout.checkpoints, self.spec.checkpoint.keep)
        sample.cut(layout.samples, self.step)

    def _trainer(self) -> tuple[pl.Trainer, Recorder, Saver]:
        spec, layout, steps = self.spec, self.layout, self.steps
        recorder = Recorder(None, spec.trainer.log_every_n_steps, steps)
        saver = Saver(layout.checkpoints, spec.checkpoint.every_n_steps, spec.checkpoint.keep, steps, StopSignals())
        callbacks: list[pl.Callback] = [recorder]
        if self.progress:
            self.bar = RunProgress(recorder, steps)
            callbacks.append(self.bar)
        if spec.sample is not None:
            start = known_start(spec)
            callbacks.append(Sampler(spec.sample, self.text.tokenizer, layout.samples, steps, self.say, start))
        callbacks += [*self.more, saver]
        return trainer(spec, steps, callbacks, layout.root, progress=self.progress), recorder, saver

    def _written(self, status: str, seconds: float) -> Run:
        """Draw loss and statistics, and write down how the sitting ended."""
        rows = metrics.read(self.layout.metrics)
        run = Run(self.layout.root, status, self.step, self.steps, self._summary(rows, status, seconds))
        if first():
            if rows:
                text = self.text
                to_bits = text.bits_per_byte if text.told else None
                unit = f"{text.measure} per {text.unit}"
                curve.draw(self.layout.curve, rows, text.baseline, self.spec.name, to_bits, unit)
            told = statistics.read(self.layout.statistics)
            if told:
                heat.draw(self.layout.heat, told, self.spec.name)
            write_json(self.layout.summary, run.summary)
        return run

    def _summary(self, rows: list[metrics.Row], status: str, seconds: float) -> dict[str, Any]:
        baseline = self.text.baseline
        held_out = next((row for row in reversed(rows) if "validation_loss" in row), {})
        newest = next(reversed(checkpoints.listing(self.layout.checkpoints)), None)
        return {
            "status": status,
            "step": self.step,
            "steps": self.steps,
            "loss": rows[-1].get("loss") if rows else None,
            "validation_loss": held_out.get("validation_loss"),
            "validation_bits_per_byte": held_out.get("validation_bits_per_byte"),
            "validation_step": held_out.get("step"),
            "unit": self.text.unit,
            "measure": self.text.measure,
            "scores": metrics.scores(held_out),
            "loss_scale": rows[-1].get("loss_scale") if rows else None,
            "skipped_steps": rows[-1].get("skipped_steps") if rows else None,
            "writing": None if self.written is None else self.written.plain(),
            "unigram_loss": None if baseline is None else baseline.nats,
            "unigram_bits_per_byte": None if baseline is None else baseline.bits_per_byte,
            "parameters": sum(p.numel() for p in self.module.parameters()),
            "vocabulary": self.text.vocabulary,
            "plan": self.module.plan.hash,
            "checkpoint": None if newest is None else str(newest.relative_to(self.layout.root)),
            "seconds": round(seconds, 2),
            "data_wait": None if self.recorder is None else self.recorder.waiting.share,
            "prompt": self.spec.sample.prompt if self.spec.sample else None,
            "generates": self.spec.model.generates,
            "plugins": list(self.spec.plugins),
        }


def _check(spec: Spec) -> None:
    present(spec)
    if spec.trainer.strategy.cuda and device_of(spec.trainer.accelerator) != "cuda":
        fault = spec.trainer.strategy.needs_cuda()
        raise SpecError([placed(spec, replace(fault, at=f"trainer.{fault.at}"))])
    for warning in (*check_precision(spec.trainer.precision, spec.trainer.accelerator), *check_policy(spec)):
        print(f"warning: {warning}", file=sys.stderr)


def first() -> bool:
    """Whether this is the first of the processes that share a run."""
    # Lightning starts further processes by running the same command again; only the first one owns the folder.
    return getattr(rank_zero_only, "rank", 0) == 0


def _held(layout: Layout) -> contextlib.AbstractContextManager[None]:
    return files.lock(layout.busy, what=f"the run {layout.root}") if first() else contextlib.nullcontext()
