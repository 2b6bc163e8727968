"""What parts measure of themselves is kept, part by part and step by step, as exactly as the losses are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import blueprint as bp
from blueprint.ops import Flow
from blueprint.schema.spec import Spec
from blueprint.testing.tiny import tiny
from blueprint.training import heat, metrics
from blueprint.training.run import fit, resume
from blueprint.training.statistics import Statistics, columns, read, told

from .conftest import MakeSpec
from .watching import Crash, Power, Signal, Trace, assert_same_run, last_checkpoint

FEED_FORWARD = "model.block.feed_forward"
EXPERTS = (
    *(f"{FEED_FORWARD}.type=experts", f"{FEED_FORWARD}.experts=4", f"{FEED_FORWARD}.expert.d_ff=16"),
    *(f"{FEED_FORWARD}.router.type=top_k", f"{FEED_FORWARD}.router.correction=score"),
    *(f"{FEED_FORWARD}.balance.type=bias", f"{FEED_FORWARD}.balance.rate=0.01"),
)
PARTS = ["layers.0.feed_forward", "layers.1.feed_forward"]
#: A batch of 8 samples of 16 tokens, two choices each.
CHOICES = 8 * 16 * 2

MakeExperts = Callable[..., Spec]


@pytest.fixture
def experts(make_spec: MakeSpec) -> MakeExperts:
    return lambda *more: make_spec(*EXPERTS, *more)


def test_every_logged_step_is_kept_part_by_part_and_drawn(experts: MakeExperts, tmp_path: Path) -> None:
    run = fit(experts("trainer.log_every_n_steps=3"), tmp_path / "run", progress=False)
    found, rows = read(run.folder / "statistics.csv"), metrics.read(run.folder / "metrics.csv")
    assert set(found) == {"load", "max_violation", "drop_rate", "router_entropy"}
    for parts in found.values():
        assert list(parts) == PARTS
        assert all(steps.tolist() == [1, 3, 6, 8] for steps, _ in parts.values())
    for part in PARTS:
        load = found["load"][part][1]
        assert load.shape == (4, 4)
        assert np.allclose(load.mean(1), 1)
        assert np.allclose(load * CHOICES / 4, np.round(load * CHOICES / 4), atol=1e-3)
        assert np.allclose(found["max_violation"][part][1], load.max(1) - 1, atol=1e-6)
        assert (found["drop_rate"][part][1] == 0).all()
        assert ((found["router_entropy"][part][1] > 0) & (found["router_entropy"][part][1] <= np.log(4) + 1e-6)).all()
    worst = np.stack([values for _, values in found["max_violation"].values()])
    logged = [row for row in rows if "max_violation" in row]
    assert np.allclose([row["max_violation"] for row in logged], worst.mean(0), atol=1e-6)
    assert np.allclose([row["max_violation_max"] for row in logged], worst.max(0), atol=1e-6)
    assert (run.folder / "statistics.png").stat().st_size > 10_000
    assert f"statistics  {run.folder}/statistics.png" in run.report()


def test_a_model_that_measures_nothing_leaves_no_such_files(make_spec: MakeSpec, tmp_path: Path) -> None:
    run = fit(make_spec("trainer.max_steps=2"), tmp_path / "run", progress=False)
    assert not list(run.folder.glob("statistics*"))
    assert "statistics" not in run.report()


def test_a_run_that_crashed_or_was_stopped_keeps_what_an_unbroken_one_keeps(
    experts: MakeExperts, tmp_path: Path
) -> None:
    """Loss-free balancing too: the correction comes back, and the load since the last step is measured anew."""
    spec, seen = experts("trainer.accumulate_grad_batches=2", "checkpoint.every_n_steps=2"), Trace()
    whole = fit(spec, tmp_path / "whole", progress=False, callbacks=[seen]).folder
    corrections = [tensor for name, tensor in last_checkpoint(whole)["state_dict"].items() if "correction" in name]
    assert len(corrections) == 2
    assert all(tensor.count_nonzero() for tensor in corrections)
    for name, stop, error in (("crash", Crash(11), Power), ("signal", Signal(7), None)):
        folder, again = tmp_path / name, Trace()
        if error is None:
            fit(spec, folder, progress=False, callbacks=[stop, again])
            assert (folder / "statistics.png").exists()
        else:
            with pytest.raises(error):
                fit(spec, folder, progress=False, callbacks=[stop, again])
        resume(folder, progress=False, callbacks=[again])
        assert_same_run(whole, seen, folder, again)
        assert (folder / "statistics.csv").read_bytes() == (whole / "statistics.csv").read_bytes()


def test_accumulated_batches_are_one_step(experts: MakeExperts, tmp_path: Path) -> None:
    still = ("optimizer.lr=1e-12", "schedule=constant", f"{FEED_FORWARD}.balance.rate=1e-9")
    each = fit(experts(*still, "trainer.max_steps=2"), tmp_path / "each", progress=False)
    both = fit(
        experts(*still, "trainer.max_steps=1", "trainer.accumulate_grad_batches=2"), tmp_path / "both", progress=False
    )
    apart, together = (read(run.folder / "statistics.csv") for run in (each, both))
    for name in ("load", "router_entropy"):
        for part in PARTS:
            assert np.allclose(together[name][part][1][0], apart[name][part][1].mean(0), atol=1e-5)


def model_of(**said: Any) -> nn.Module:
    whole = tiny("feed_forward", "experts", {"experts": 4, "router": {"type": "top_k", "k": 2}, **said})
    return bp.build(bp.load(whole)).train()


def part_of(model: nn.Module) -> Any:
    return next(module for module in model.modules() if hasattr(module, "settle"))


def test_processes_together_measure_what_one_measures() -> None:
    whole, *halves = (part_of(model_of()) for _ in range(3))
    x_BTD = torch.randn(4, 8, whole.router.logits.in_features, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(4, 8, dtype=torch.long)
    mask[0, 3:] = 0
    whole(x_BTD, Flow.of(4, 8, "cpu", mask))
    for half, x, kept in zip(halves, x_BTD.split(2), mask.split(2), strict=True):
        half(x, Flow.of(2, 8, "cpu", kept))
    sums: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        sums.append(tensor.clone())
        return tensor.clone()

    halves[1].settle(note)
    others = iter(sums)
    found = halves[0].settle(lambda tensor: tensor + next(others))
    for name, value in whole.settle(torch.clone).items():
        torch.testing.assert_close(found[name], value)


def test_counts_survive_a_model_in_bfloat16() -> None:
    model = model_of().bfloat16()
    part = part_of(model)
    with torch.no_grad():
        part(torch.randn(8, 200, part.router.logits.in_features).bfloat16(), Flow.of(8, 200, "cpu"))
    load_E, _ = part.measured.take(torch.clone)
    assert load_E.dtype == torch.float32
    assert float(load_E.sum()) == 8 * 200 * 2


@pytest.mark.parametrize("balance", ["expert", "communication"])
def test_counts_are_exact_where_bfloat16_is_torchs_default(balance: str) -> None:
    """As it is within a training step under `bf16-true`."""
    router = {"type": "top_k", "k": 2, "groups": {"count": 2, "keep": 1}}
    part = part_of(model_of(router=router, balance=balance).bfloat16())
    x_BTD = torch.randn(1, 1200, part.router.logits.in_features, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = []
    for default in (torch.float32, torch.bfloat16):
        torch.set_default_dtype(default)
        try:
            _, terms = part(x_BTD, Flow.of(1, 1200, "cpu"))
            found.append((part.measured.take(torch.clone)[0], terms))
        finally:
            torch.set_default_dtype(torch.float32)
    (load_E, terms), (again_E, others) = found
    assert load_E.sum() == 1200 * 2
    assert torch.equal(load_E, again_E)
    assert {name: term.item() for name, term in terms.items()} == {name: term.item() for name, term in others.items()}


def test_no_statistic_is_told_that_was_not_measured() -> None:
    part = part_of(model_of())
    part.measured.entropies = False
    assert "router_entropy" not in part.settle(torch.clone)


def test_statistics_are_columns_by_mean_and_highest() -> None:
    found = told({"a": {"x": torch.tensor(1.0), "y": torch.tensor([1.0, 2.0])}, "b": {"x": torch.tensor(4.0)}, "c": {}})
    assert found == {"a": {"x": 1.0, "y": [1.0, 2.0]}, "b": {"x": 4.0}}
    assert columns(found) == {"x": 2.5, "x_max": 4.0}
    assert told({}) == {} == columns({})


def test_what_lies_past_a_step_goes_and_a_line_cut_short_is_no_row(tmp_path: Path) -> None:
    path, table = tmp_path / "s.csv", Statistics(tmp_path / "s.csv")
    assert not path.exists()
    for step in (1, 2, 3):
        table.put(step, {"p": {"x": float(step), "y": [1.0, 2.0, float(step)]}})
        if step == 2:
            two = path.read_bytes()
    assert two.decode().splitlines()[:3] == ["step,part,statistic,0,1,2", "1,p,x,1", "1,p,y,1,2,1"]
    three = path.read_bytes()
    with open(path, "a") as file:
        file.write("4,p,x,1\n4,p,y,1,2")
    again = Statistics(path, after=2)
    assert path.read_bytes() == two
    again.put(3, {"p": {"x": 3.0, "y": [1.0, 2.0, 3.0]}})
    assert path.read_bytes() == three
    Statistics(path, after=0)
    assert not path.exists()


def test_a_part_that_tells_more_numbers_later_widens_the_file(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    table = Statistics(path)
    table.put(1, {"p": {"x": 0.5}})
    table.put(2, {"p": {"x": 0.25}, "q": {"y": [1.0, 2.0]}})
    assert path.read_text().splitlines() == ["step,part,statistic,0,1", "1,p,x,0.5", "2,p,x,0.25", "2,q,y,1,2"]
    steps, values = read(path)["x"]["p"]
    assert (steps.tolist(), values.tolist()) == ([1, 2], [0.5, 0.25])
    assert read(path)["y"]["q"][1].tolist() == [[1, 2]]


def test_time_is_drawn_in_columns_that_hold_what_was_told_last() -> None:
    steps, values = np.array([1, 3, 4]), np.array([[1.0], [3.0], [4.0]])
    assert heat.columns(steps, values, 5)[:, 0].tolist() == [1, 1, 3, 4, 4]
    many = np.arange(1, 4 * heat.COLUMNS + 1)
    drawn = heat.columns(many, many[:, None].astype(float), len(many))
    assert drawn.shape == (heat.COLUMNS, 1)
    assert drawn[:2, 0].tolist() == [2.5, 6.5]


@pytest.mark.parametrize(("parts", "numbers"), [(1, 1), (2, 8), (30, 64)])
def test_pictures_of_any_size_can_be_drawn(parts: int, numbers: int, tmp_path: Path) -> None:
    steps, noise = np.array([1, 10, 20]), np.random.default_rng(0)
    names = [f"layers.{n}.feed_forward" for n in range(parts)]
    found = {"load": {name: (steps, noise.random((3, numbers))) for name in names}}
    found["signed"] = {name: (steps, noise.normal(size=(3, 2))) for name in names[:1]}
    found["x"] = {name: (steps, noise.random(3)) for name in names}
    heat.draw(tmp_path / "s.png", found, "some")
    from matplotlib.image import imread

    assert min(imread(tmp_path / "s.png").shape[:2]) > 300
