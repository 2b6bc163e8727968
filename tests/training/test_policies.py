"""One small model under every precision that this machine trains in: the curves differ by rounding, and no more.

`pytest -s tests/training/test_policies.py -m slow` prints the table.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import blueprint as bp
from blueprint.training import metrics
from blueprint.training.precision import has_format
from blueprint.training.run import fit
from tests.training.conftest import MakeSpec

# The rate is under half of what bfloat16 tells apart below 1: a norm's weight, which begins at 1, cannot move in it.
SAID = ("model.block.dropout=0", "schedule=constant", "optimizer.lr=1e-3", "checkpoint.every_n_steps=1000")
NOTHING, NO_NORMS, NO_HEAD = "[]", "[head, softmax]", "[norm, softmax]"

EPS = {"64": torch.float64, "32": torch.float32, "16": torch.float16, "bf16": torch.bfloat16}
#: By how much a loss may differ from that in float64, at any step: this share of itself times the format's eps.
#: float32's own losses are written down in float32, so one eps is the least that can be asked of it; a few steps add
#: up. Of 16 bits: a token's loss is off by eps times its logits, which are of size 1 here, and rounding has no
#: preferred side, so that a mean over the 128 tokens of a batch is off by about eps / 11. The loss is 4 to 5.5: an
#: eighth of eps times the loss is six times that, which leaves room for weights that drift apart.
ROOM, LOW_ROOM = 4.0, 1 / 8
#: With nothing kept, weights themselves are rounded after each step, and norms stand still: that is no small change any
#: more, but still one of the format's eps.
BARE_ROOM = 4.0

#: What is said, the format it rounds to, and how far it may go.
POLICIES: dict[str, tuple[list[str], str, float]] = {
    "64-true": (["trainer.precision=64-true"], "64", ROOM),
    "32-true": (["trainer.precision=32-true"], "32", ROOM),
    "32-true, medium products": (["precision.float32_matmul_precision=medium"], "bf16", LOW_ROOM),
    "16-mixed": (["trainer.precision=16-mixed"], "16", LOW_ROOM),
    "16-mixed, nothing kept": (["trainer.precision=16-mixed", f"precision.float32={NOTHING}"], "16", LOW_ROOM),
    "bf16-mixed": (["trainer.precision=bf16-mixed"], "bf16", LOW_ROOM),
    "bf16-mixed, nothing kept": (["trainer.precision=bf16-mixed", f"precision.float32={NOTHING}"], "bf16", LOW_ROOM),
    "bf16-true": (["trainer.precision=bf16-true"], "bf16", LOW_ROOM),
    "bf16-true, no head kept": (["trainer.precision=bf16-true", f"precision.float32={NO_HEAD}"], "bf16", BARE_ROOM),
    "bf16-true, no norm kept": (["trainer.precision=bf16-true", f"precision.float32={NO_NORMS}"], "bf16", BARE_ROOM),
    "bf16-true, nothing kept": (["trainer.precision=bf16-true", f"precision.float32={NOTHING}"], "bf16", BARE_ROOM),
}

Trained = tuple[list[float], float]


@pytest.fixture
def train(make_spec: MakeSpec, tmp_path: Path) -> Callable[[str, int], Trained]:
    """The losses of a policy's steps, and how far the weights of norms have come from 1."""

    def trained(name: str, steps: int) -> Trained:
        spec = make_spec(*SAID, f"trainer.max_steps={steps}", *POLICIES[name][0])
        fit(spec, tmp_path / name, progress=False)
        weights = bp.restore(tmp_path / name).named_parameters()
        moved = max(float((each.detach().double() - 1).abs().max()) for key, each in weights if "norm" in key)
        return [row["loss"] for row in metrics.read(tmp_path / name / "metrics.csv")], moved

    return trained


def test_norms_move_where_they_are_kept_in_float32_and_cannot_where_they_are_not(
    train: Callable[[str, int], Trained],
) -> None:
    assert train("bf16-true", 3)[1] > 1e-3
    assert train("bf16-true, no norm kept", 3)[1] == 0


@pytest.mark.slow
def test_every_policy_follows_the_curve_of_float64_as_closely_as_its_format_can(
    train: Callable[[str, int], Trained],
) -> None:
    names = [name for name in POLICIES if "medium" not in name or has_format("cpu", "bf16")]
    found = {name: train(name, 40) for name in names}
    exact, _ = found["64-true"]
    assert exact[-1] < 0.7 * exact[0]
    away = {}
    print(f"\n{'':26} {'last loss':>10} {'most off, in eps of the loss':>29} {'allowed':>8} {'norms moved':>12}")
    for name, (losses, moved) in found.items():
        _, form, room = POLICIES[name]
        eps = torch.finfo(EPS[form]).eps
        away[name] = max(abs(one - other) / other for one, other in zip(losses, exact, strict=True)) / eps
        print(f"{name:26} {losses[-1]:10.5f} {away[name]:29.4f} {room:8.3f} {moved:12.1e}")
    for name, far in away.items():
        assert far <= POLICIES[name][2], name
    # What the policy keeps is what holds the curve: without norms in float32 it leaves the bounds.
    assert away["bf16-true, no norm kept"] > 4 * LOW_ROOM
    assert away["bf16-true, no head kept"] > 2 * away["bf16-true"]
