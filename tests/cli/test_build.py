"""`blueprint build`: a folder that says what a model is, after it ran."""

from __future__ import annotations

import json
from pathlib import Path

import torch

import blueprint as bp
from tests.cli.conftest import Blueprint

FILES = {"architecture.png", "architecture.svg", "cost.json", "lock.json", "plan.json", "plan.txt", "spec.yaml"}


def test_a_build_holds_the_same_model(blueprint: Blueprint, spec: Path, tmp_path: Path) -> None:
    folder = tmp_path / "built"
    ended = blueprint("build", spec, "-o", folder, "--weights", "--json")
    assert ended.code == 0, ended.err
    assert {path.name for path in folder.iterdir()} == FILES | {"model.safetensors"}
    plan = bp.plan(bp.load(spec))
    assert ended.json["hash"] == plan.hash == bp.plan(bp.load(folder / "spec.yaml")).hash
    assert json.loads((folder / "lock.json").read_text())["plan"] == plan.hash
    assert (folder / "plan.txt").read_text() == f"{plan}\n"
    model, again = bp.build(bp.load(spec)), bp.restore(folder)
    assert json.loads((folder / "cost.json").read_text())["parameters"] == sum(p.numel() for p in model.parameters())
    for (name, ours), theirs in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name


def test_a_build_is_written_anew_without_the_weights_of_before(
    blueprint: Blueprint, spec: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "built"
    assert blueprint("build", spec, "-o", folder, "--weights").code == 0
    assert blueprint("build", spec, "model.layers=2", "-o", folder).code == 0
    assert {path.name for path in folder.iterdir()} == FILES


def test_a_folder_with_something_else_is_left_alone(blueprint: Blueprint, spec: Path) -> None:
    ended = blueprint("build", spec, "-o", spec.parent)
    assert ended.code == 1
    assert "not overwritten" in ended.err


def test_what_is_too_large_is_proved_by_its_miniature(blueprint: Blueprint, spec: Path, tmp_path: Path) -> None:
    ended = blueprint(
        "build", spec, "model.d_model=8192", "model.block.feed_forward.d_ff=65536", "-o", tmp_path / "b", "--json"
    )
    assert ended.code == 0, ended.err
    assert ended.json["parameters"] > 200_000_000 > ended.json["proof"]["parameters"]
    assert ended.json["proof"]["ran"] == "miniature"


def test_the_picture_is_the_same_for_the_same_plan(spec: Path) -> None:
    from blueprint.picture import picture

    plan = bp.plan(bp.load(spec))
    drawn = picture(plan, "svg")
    assert drawn == picture(plan, "svg")
    assert drawn != picture(bp.plan(bp.load(spec, overrides=["model.layers=5"])), "svg")
    assert picture(plan)[:8] == b"\x89PNG\r\n\x1a\n"
