"""A vision transformer tells scikit-learn's digits apart: 95 % of those held out."""

from __future__ import annotations

from pathlib import Path

import pytest

import blueprint as bp
from blueprint.training.error import TrainError
from blueprint.training.evaluate import evaluate
from blueprint.training.task import prepare
from tests.conftest import ROOT
from tests.recipes.digits import write

RECIPE = ROOT / "specs" / "recipes" / "digits.yaml"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as images, in a folder for each."""
    return write(tmp_path_factory.mktemp("digits"))


@pytest.mark.slow
def test_digits_are_told_apart(digits: Path, tmp_path: Path) -> None:
    run = bp.fit(
        bp.load(RECIPE, [f"data.source.path={digits}", "trainer.accelerator=cpu"]), tmp_path / "run", progress=False
    )
    assert run.summary["scores"]["accuracy"] >= 0.95
    assert evaluate(tmp_path / "run")["scores"]["accuracy"] >= 0.95


def test_images_of_another_size_than_the_model_takes_are_told(digits: Path) -> None:
    spec = bp.load(RECIPE, [f"data.source.path={digits}", "model.embedding.image_size=16"])
    with pytest.raises(TrainError, match=r"the images are 1 × 8 × 8 .*, but the model takes 1 × 16 × 16"):
        prepare(spec, progress=False)
