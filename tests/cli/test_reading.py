"""The commands that read: each as text for a person and as JSON for a program."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import blueprint.schema.spec  # noqa: F401  (declares the kinds of models)
from blueprint.registry import names
from tests.cli.conftest import SPEC, Blueprint
from tests.conftest import plugins_forgotten

PLUGIN = '''\
"""A norm that does nothing."""

from blueprint.component import Site, register
from blueprint.kinds import Norm


@register("nothing")
class Nothing(Norm):
    """The identity (nobody, 2024)."""

    strength: float = 1.0
    """How little it does."""
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    with plugins_forgotten():
        yield path


def test_check_says_ok_with_the_plans_hash(blueprint: Blueprint, spec: Path) -> None:
    ended = blueprint("check", spec)
    found = blueprint("plan", spec, "--json").json
    assert ended.code == 0
    assert ended.out == f"ok: small ({found['hash']})\n"


def test_check_reports_every_spec_and_fails_if_one_is_bad(blueprint: Blueprint, spec: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(SPEC.replace("kv_heads: 2", "kv_heads: 3").replace("d_ff", "dff"))
    ended = blueprint("check", bad, spec)
    assert ended.code == 1
    assert "ok: small" in ended.out
    assert "heads must be a multiple of kv_heads" in ended.err
    assert "did you mean `d_ff`?" in ended.err
    found = blueprint("check", bad, spec, "--json")
    assert found.code == 1
    assert [each["ok"] for each in found.json["specs"]] == [False, True]
    lines = {problem["line"] for problem in found.json["specs"][0]["problems"]}
    assert lines == {8, 9}


@pytest.mark.parametrize("words", [["model.layers=0"], ["-s", "model.layers=0"]])
def test_overrides_are_judged_like_the_file(blueprint: Blueprint, spec: Path, words: list[str]) -> None:
    assert blueprint("check", spec, *words).code == 1
    assert blueprint("plan", spec, *words).code == 1


def test_plan_follows_overrides(blueprint: Blueprint, spec: Path) -> None:
    assert blueprint("plan", spec, "model.layers=5", "--json").json["plan"]["layers"] == 5


def test_list_names_every_kind_and_member(blueprint: Blueprint) -> None:
    found = blueprint("list", "--json").json
    assert set(found["norm"]) == set(names("norm"))
    assert "decoder" in found["model"]
    text = blueprint("list").out
    assert all(member in text for members in found.values() for member in members)
    one = blueprint("list", "norm")
    assert "rope" not in one.out
    assert "Zhang" in one.out


def test_list_of_a_misspelt_kind_names_the_likely_one(blueprint: Blueprint) -> None:
    ended = blueprint("list", "atention")
    assert ended.code == 1
    assert "did you mean `attention`?" in ended.err


def test_explain_tells_expectation_default_source_and_readers(blueprint: Blueprint, spec: Path) -> None:
    (found,) = blueprint("explain", "model.block.attention.kv_heads", spec, "--json").json
    assert found["expects"].startswith("a positive whole number or null, or an expression of d_model, ")
    assert found["default"] == "null"
    assert found["said"].startswith(f"2 ({spec}:8:")
    assert "Vaswani" in found["source"]
    assert found["file"].split(":")[0].endswith("attention/multi_head.py")
    assert any(reader["what"] == "rule on heads, kv_heads" for reader in found["readers"])
    assert "read by" in blueprint("explain", "model.block.attention.kv_heads").out


def test_explain_of_a_wrong_path_names_the_likely_key(blueprint: Blueprint) -> None:
    ended = blueprint("explain", "model.block.atention")
    assert ended.code == 1
    assert "did you mean `attention`?" in ended.err


def test_schema_is_valid_and_written_whole(blueprint: Blueprint, tmp_path: Path) -> None:
    file = tmp_path / "blueprint.schema.json"
    assert blueprint("schema", "-o", file).code == 0
    Draft202012Validator.check_schema(json.loads(file.read_text()))


def test_schema_and_list_know_a_plugin_only_when_told(blueprint: Blueprint, plugin: Path) -> None:
    with_it = blueprint("schema", "--plugin", plugin).json
    assert with_it["$defs"]["norm.nothing"]["properties"]["strength"]["description"] == "How little it does."
    assert "mine.py" in blueprint("list", "norm", "--plugin", plugin).out


def test_schema_takes_the_plugins_of_a_spec_where_the_user_allows_it(
    blueprint: Blueprint, spec: Path, plugin: Path
) -> None:
    spec.write_text(f"plugins: ./{plugin.name}\n{SPEC}")
    refused = blueprint("schema", spec)
    assert refused.code == 1
    assert "--allow-plugins" in refused.err
    assert "norm.nothing" in blueprint("schema", spec, "--allow-plugins").json["$defs"]


def test_diff_as_text_and_json(blueprint: Blueprint, spec: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(SPEC.replace("name: small", "name: other"))
    assert blueprint("diff", spec, other, "--json").json["cosmetic"] == [
        {"where": "name", "before": "small", "after": "other"}
    ]
    assert "weights transfer: yes" in blueprint("diff", spec, other).out


def test_cost_as_text_and_json(blueprint: Blueprint, spec: Path) -> None:
    found = blueprint("cost", spec, "--length", "16", "--json").json
    assert found["length"] == 16
    assert f"{found['parameters']:,}" in blueprint("cost", spec, "--length", "16").out


def test_cost_knows_precisions_that_this_device_does_not_train_in(blueprint: Blueprint, spec: Path) -> None:
    assert blueprint("cost", spec, "--precision", "16-mixed", "--json").json["precision"] == "16-mixed"
    assert blueprint("cost", spec, "--precision", "17-mixed").code == 1


def test_cost_on_a_mesh_as_text_and_json(blueprint: Blueprint, spec: Path) -> None:
    words = ("cost", spec, "--length", "16", "--mesh", "dp=2,tp=2", "--link", "1GB/s", "--memory-bandwidth", "1TB/s")
    found = blueprint(*words, "--flops", "1T", "--json").json
    assert found["mesh"]["devices"] == 4
    assert found["batch"] == 2
    assert found["seconds_at_least"]["communication"] == pytest.approx(
        sum(each["bytes"] for each in found["sent"]) / 1e9
    )
    assert "all-reduce, tp" in blueprint(*words).out


def test_a_mesh_that_divides_nothing_is_the_users_mistake(blueprint: Blueprint, spec: Path) -> None:
    ended = blueprint("cost", spec, "--length", "16", "--mesh", "dp=2,tp=7")
    assert ended.code == 1
    assert "tp=7 divides no part" in ended.err
    assert "= fix: say a tp of" in ended.err


def test_cost_lists_the_memory_under_every_precision_when_asked(blueprint: Blueprint, spec: Path) -> None:
    found = blueprint("cost", spec, "--length", "16", "--precisions", "--json").json
    rows = {row["precisions"][0]: row for row in found["precisions"]}
    assert list(rows) == ["32-true", "16-mixed", "16-true", "64-true"]
    assert {name: rows["32-true"][name] for name in found["memory"]} == found["memory"]
    assert "16-mixed, bf16-mixed" in blueprint("cost", spec, "--length", "16", "--precisions").out
    assert "precisions" not in blueprint("cost", spec, "--length", "16", "--json").json


@pytest.mark.parametrize("model", names("model"))
def test_new_writes_a_spec_that_passes_check_and_never_writes_over_one(
    blueprint: Blueprint, tmp_path: Path, model: str
) -> None:
    file = tmp_path / "mine.yaml"
    assert blueprint("new", "-o", file, "--model", model).code == 0
    assert blueprint("check", file).code == 0
    assert blueprint("new", "-o", file).code == 1
    assert blueprint("new", "--model", "decodr").code == 1
