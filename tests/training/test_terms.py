"""What parts say beside their output: losses join what is minimised, everything is logged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import blueprint as bp
from blueprint.training import metrics
from blueprint.training.evaluate import evaluate
from blueprint.training.run import fit
from tests.training.conftest import SPEC

PART = '''"""A feed-forward that is charged for large activations."""

from torch import nn

import blueprint as bp
from blueprint.kinds import FeedForward
from blueprint.ops import Linear


@bp.register("charged")
class Charged(FeedForward):
    """A linear map that pays for the square of what it gives (made up, 2000)."""

    price: float = 1.0
    """Weight of the loss."""

    def build(self, at):
        return ChargedMap(self, at)


class ChargedMap(nn.Module):
    def __init__(self, said, at):
        super().__init__()
        self.price, self.map = said.price, Linear(at.width, at.width, bias=False, role="residual")

    def forward(self, x_BTD, flow):
        y_BTD = self.map(x_BTD)
        size = y_BTD.square().mean()
        return y_BTD, {"charge_loss": self.price * size, "size": size.detach()}
'''


@pytest.fixture(scope="module")
def trained(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("terms")
    (folder / "charged.py").write_text(PART)

    def train(price: float, *overrides: str) -> list[dict[str, float]]:
        said = SPEC.replace("TEXT", str(text)).replace(
            "dropout: 0.1", f"feed_forward: {{type: charged, price: {price}}}"
        )
        spec = bp.loads(said + f"plugins: [{folder}/charged.py]\n", overrides=list(overrides), allow_plugins=True)
        run = folder / f"run{len(list(folder.iterdir()))}"
        fit(spec, run, progress=False)
        found = evaluate(run, limit=2, allow_plugins=True)
        rows = metrics.read(run / "metrics.csv")
        assert rows[-1]["validation_loss"] == pytest.approx(found["nats"], abs=1e-6)
        return rows

    return train


def test_a_term_that_is_a_loss_joins_the_loss_and_all_terms_are_logged(trained: Any) -> None:
    free, dear = trained(0.0), trained(10.0)
    # Before the first step both models are the same, and so is what they say of the text.
    assert dear[0]["size"] == free[0]["size"] > 0
    assert dear[0]["charge_loss"] == pytest.approx(10 * dear[0]["size"], rel=1e-6)
    assert free[0]["charge_loss"] == 0
    assert dear[0]["loss"] == pytest.approx(free[0]["loss"] + dear[0]["charge_loss"], rel=1e-6)
    assert dear[0]["gradient_norm"] > free[0]["gradient_norm"]
    assert dear[-1]["size"] < 0.9 * free[-1]["size"]


def test_terms_are_means_over_the_batches_of_a_step(trained: Any) -> None:
    each = trained(0.0, "trainer.max_steps=2", "schedule=constant", "optimizer.lr=1e-12")
    both = trained(0.0, "trainer.max_steps=1", "schedule=constant", "trainer.accumulate_grad_batches=2")
    assert both[0]["size"] == pytest.approx((each[0]["size"] + each[1]["size"]) / 2, rel=1e-6)
