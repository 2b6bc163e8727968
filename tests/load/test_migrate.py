"""Older specs are brought to the present, newer ones are refused, and none is misread."""

from __future__ import annotations

from typing import Any

import pytest

from blueprint.diagnosis import Problem
from blueprint.load import migrate as migrating
from blueprint.load.migrate import CURRENT, migrate, migration
from blueprint.load.reader import read, source_of
from blueprint.tree import Map, find, plain


def migrated(text: str) -> tuple[Map, list[Problem]]:
    root = read(text, source_of(text, "spec.yaml"))
    assert isinstance(root, Map)
    return migrate(root)


def test_a_draft_speaks_of_sizes_by_their_present_names() -> None:
    text = (
        "blueprint: 0\nname: n_embd\nmodel:\n  n_layer: 12\n  n_embd: 768\n  max_length: ${model.n_embd}\n"
        "  block: {attention: {n_head: 12, n_kv_head: \"${calc:'model.n_embd / 64'}\"}}\n  list: [{n_head: 1}]\n"
        "data: {length: '${model.n_embd}', n_layer: kept}\n"
    )
    root, problems = migrated(text)
    assert problems == []
    assert plain(root) == {
        "blueprint": CURRENT,
        "name": "n_embd",
        "model": {
            "layers": 12,
            "d_model": 768,
            "max_length": "${model.d_model}",
            "block": {"attention": {"heads": 12, "kv_heads": "${calc:'model.d_model / 64'}"}},
            "list": [{"heads": 1}],
        },
        "data": {"length": "${model.d_model}", "n_layer": "kept"},
    }


def test_a_migrated_key_keeps_its_place_and_says_its_old_name() -> None:
    root, _ = migrated("blueprint: 0\nmodel:\n  n_layer: 12\n")
    _, entry, _ = find(root, ("model", "layers"))
    assert entry is not None
    assert (str(entry.span), entry.span.length) == ("spec.yaml:3:3", 7)
    assert "`n_layer`" in entry.notes[0]


def test_both_names_at_once_are_left_for_validation_to_see() -> None:
    assert plain(migrated("blueprint: 0\nmodel: {n_layer: 1, layers: 2}")[0])["model"] == {"n_layer": 1, "layers": 2}


@pytest.mark.parametrize("version", ["", "blueprint: 1\n"])
def test_a_present_spec_is_left_alone(version: str) -> None:
    text = version + "model: {n_layer: 12}"
    root = read(text, source_of(text, "spec.yaml"))
    assert isinstance(root, Map)
    assert migrate(root) == (root, [])


@pytest.mark.parametrize(
    ("said", "word"),
    [
        (str(CURRENT + 1), "up to"),
        ("99999", "up to"),
        ("-1", "whole number"),
        ("'1'", "whole number"),
        ("1.0", "whole number"),
        ("true", "whole number"),
        ("null", "whole number"),
        ("[1]", "whole number"),
    ],
)
def test_another_version_is_refused_where_it_is_said(said: str, word: str) -> None:
    _, (problem,) = migrated(f"name: x\nblueprint: {said}\n")
    assert word in problem.message
    assert problem.span is not None
    assert (problem.span.line, problem.span.column, problem.path) == (2, 12, ("blueprint",))


def test_migrations_run_in_order_from_the_version_said(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []

    def step(number: int) -> Any:
        def run(root: Map) -> Map:
            ran.append(number)
            return root

        return run

    monkeypatch.setattr(migrating, "CURRENT", 4)
    monkeypatch.setattr(migrating, "MIGRATIONS", {number: step(number) for number in range(4)})
    root, problems = migrated("blueprint: 2")
    assert (ran, problems, plain(root)) == ([2, 3], [], {"blueprint": 4})


def test_a_gap_between_versions_is_a_problem_not_a_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrating, "MIGRATIONS", {})
    _, (problem,) = migrated("blueprint: 0")
    assert "no way leads" in problem.message


def test_a_step_is_registered_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        migration(0)(lambda root: root)
