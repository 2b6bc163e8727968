"""Show that a run that was killed and resumed is, bit for bit, the run that was not.

Three sittings, each in a process of its own: one trains N steps; one is killed (SIGKILL) after a checkpoint and some
more; one resumes that to N. What they read, lost and learned is then compared.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from blueprint.files import write_atomic
from blueprint.schema.spec import Spec
from blueprint.training import checkpoint as checkpoints
from blueprint.training.error import TrainError
from blueprint.training.folder import Layout, plain_spec, yaml_text
from blueprint.training.scaling import STATE
from blueprint.training.task import prepare, ready_to_train


@dataclass
class Report:
    """What was compared; `differences` says where the two first part, in words."""

    steps: int
    stopped: int
    killed: int
    batches: int = 0
    losses: int = 0
    weights: int = 0
    optimizer: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether both runs are the same."""
        return not self.differences

    def to_plain(self) -> dict[str, Any]:
        """The report as JSON-ready values."""
        return {"ok": self.ok, **asdict(self)}

    def __str__(self) -> str:
        head = (
            f"{self.steps} steps without a stop, against: a checkpoint at step {self.stopped}, SIGKILL at batch "
            f"{self.killed}, resumed to step {self.steps}"
        )
        if self.ok:
            return (
                f"{head}\n  equal bit for bit: {self.batches} batches and their order, {self.losses} losses, "
                f"{self.weights} weight tensors, {self.optimizer} optimizer tensors"
            )
        return "\n".join([head, *(f"  differs: {line}" for line in self.differences)])


def verify_resume(
    spec: Spec,
    *,
    steps: int | None = None,
    stop: int | None = None,
    folder: Path | None = None,
    cache: Path | None = None,
    allow_plugins: bool = False,
) -> Report:
    """Train `steps` (12) optimizer steps of a spec at one go, and again with a SIGKILL after the checkpoint at `stop`.

    The spec's own schedule, length and validations stand; only saving and logging are as the comparison needs them.
    `folder` keeps the two runs; `allow_plugins` lets their processes load the spec's plugins, too. Raises `TrainError`
    where a sitting fails by itself.
    """
    ready_to_train(spec)
    text = prepare(spec, cache=cache)
    steps = min(12 if steps is None else steps, text.steps)
    stop = max(1, steps // 2) if stop is None else stop
    if not 0 < stop < steps:
        raise TrainError(f"a run of {steps} steps cannot be stopped at step {stop} and go on: choose a step in between")
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="blueprint-verify-") as made:
            return _verify(spec, steps, stop, Path(made), cache, text.batches, allow_plugins)
    folder.mkdir(parents=True, exist_ok=True)
    return _verify(spec, steps, stop, folder, cache, text.batches, allow_plugins)


def _verify(
    spec: Spec, steps: int, stop: int, folder: Path, cache: Path | None, epoch: int, allow_plugins: bool
) -> Report:
    plain = plain_spec(spec)
    plain["checkpoint"] = {"every_n_steps": stop, "keep": 1000}
    plain["trainer"] = {**plain["trainer"], "log_every_n_steps": 1}
    plain["sample"] = None
    write_atomic(folder / "spec.yaml", yaml_text(plain))
    killed = _batches_to(stop, spec.trainer.accumulate_grad_batches, epoch) + 1
    whole, broken = folder / "whole", folder / "broken"
    common = {
        "spec": str(folder / "spec.yaml"),
        "steps": steps,
        "cache": None if cache is None else str(cache),
        "allow_plugins": allow_plugins,
    }
    _sitting({**common, "run": str(whole)})
    _sitting({**common, "run": str(broken), "kill": killed}, expect=-signal.SIGKILL)
    if not checkpoints.listing(Layout(broken).checkpoints):
        raise TrainError("the killed sitting left no checkpoint")
    _sitting({**common, "run": str(broken), "resume": True})
    return compare(whole, broken, Report(steps, stop, killed))


def _batches_to(step: int, accumulate: int, epoch: int) -> int:
    """Batches read when `step` optimizer steps are done; the last batch of an epoch always ends a step."""
    per_epoch = -(-epoch // accumulate)
    return step // per_epoch * epoch + step % per_epoch * accumulate


def compare(whole: Path, broken: Path, report: Report) -> Report:
    """Compare traces and last checkpoints of two runs into the report."""
    expected = {entry["batch"]: entry for entry in _trace(whole)}
    seen = _trace(broken)
    report.batches = report.losses = len(expected)
    for entry in seen:
        wanted = expected.get(entry["batch"])
        if wanted != entry:
            what = "the loss" if wanted and wanted["data"] == entry["data"] else "the data"
            report.differences.append(f"{what} of batch {entry['batch']}: {wanted} against {entry}")
            break
    missing = expected.keys() - {entry["batch"] for entry in seen}
    if missing:
        report.differences.append(f"batches that were never read: {sorted(missing)}")
    a, b = (checkpoints.read(checkpoints.listing(Layout(each).checkpoints)[-1]) for each in (whole, broken))
    report.weights = _same("weight", a["state_dict"], b["state_dict"], report)
    _same("averaged weight", a.get(checkpoints.AVERAGED), b.get(checkpoints.AVERAGED), report)
    report.optimizer = _same("optimizer", a["optimizer_states"], b["optimizer_states"], report)
    _same("loss-scaling", a.get(STATE), b.get(STATE), report)
    _same("schedule", a["lr_schedulers"], b["lr_schedulers"], report)
    return report


def _same(what: str, a: Any, b: Any, report: Report) -> int:
    """Compare nested values; returns how many tensors there are."""
    one, other = dict(_leaves(a)), dict(_leaves(b))
    unequal = [key for key in one.keys() | other.keys() if not _equal(one.get(key), other.get(key))]
    if unequal:
        report.differences.append(f"{len(unequal)} of {len(one)} {what} values, such as {sorted(unequal)[0]}")
    return sum(isinstance(value, torch.Tensor) for value in one.values())


def _leaves(value: Any, path: str = "") -> Any:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}.{index}")
    else:
        yield path, value


def _equal(a: Any, b: Any) -> bool:
    if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
        return bool(a == b)
    # As bits: a NaN equals itself, and 0 differs from -0.
    return a.dtype == b.dtype and a.shape == b.shape and checkpoints.bits(a) == checkpoints.bits(b)


def _trace(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.with_suffix(".trace")).read_text().splitlines()]


def _sitting(task: dict[str, Any], expect: int = 0) -> None:
    command = [sys.executable, "-m", "blueprint.training.sitting", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != expect:
        raise TrainError(f"a sitting ended with exit code {done.returncode}, not {expect}:\n{done.stderr[-3000:]}")
