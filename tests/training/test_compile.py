"""Compiled blocks: every block and nothing else, under the same names; slow: the same training to rounding."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch._dynamo.utils import counters

import blueprint as bp
from blueprint.diagnosis import SpecError
from blueprint.schema.spec import Samples
from blueprint.training.callbacks.sample import draw
from blueprint.training.run import fit
from tests.training.conftest import MakeSpec
from tests.training.watching import rows


def test_every_block_is_compiled_and_names_stay(make_spec: MakeSpec) -> None:
    def compiled(spec: bp.Spec) -> list[str]:
        module = bp.compile(spec)
        assert module.require_model().state_dict().keys() == bp.build(spec).state_dict().keys()
        return [name for name, each in module.named_modules() if each._compiled_call_impl is not None]

    assert compiled(make_spec("compile=true")) == ["model.layers.0", "model.layers.1"]
    assert compiled(make_spec()) == []


def test_samples_are_drawn_without_it(make_spec: MakeSpec) -> None:
    spec = make_spec("compile=true")
    assert spec.tokenizer is not None
    model = bp.compile(spec).require_model()
    tokenizer = spec.tokenizer.build(bp.plan(spec).site)
    before = counters["frames"]["total"]
    assert draw(model, tokenizer, Samples(tokens=4), seed=0)
    assert counters["frames"]["total"] == before


def test_it_is_refused_beside_recomputing(make_spec: MakeSpec) -> None:
    with pytest.raises(SpecError, match="cannot be computed again"):
        make_spec("compile=true", "recompute={}")


@pytest.mark.slow
def test_a_compiled_run_learns_the_same(make_spec: MakeSpec, tmp_path: Path) -> None:
    said = ("model.block.dropout=0.0", "model.d_model=16", "trainer.max_steps=3")
    for name, more in (("eager", ()), ("compiled", ("compile=true",))):
        fit(make_spec(*said, *more), tmp_path / name, progress=False)
    one, other = (rows(tmp_path / name) for name in ("eager", "compiled"))
    assert [row["loss"] for row in one] == pytest.approx([row["loss"] for row in other], rel=1e-4)
    assert bp.restore(tmp_path / "compiled").state_dict().keys() == bp.restore(tmp_path / "eager").state_dict().keys()
