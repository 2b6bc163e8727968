"""No mistake in any shipped spec is accepted, ends in a traceback, or is pointed out in the wrong place; and where one
is that a schema can tell, a standard validator, and so an editor, points there too."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

import blueprint as bp
from blueprint.diagnosis import Problem
from blueprint.load.reader import read, source_of
from blueprint.schema.json_schema import json_schema
from blueprint.tree import find, plain
from tests.conftest import ROOT
from tests.gauntlet import Spoiled, spoiled

SPECS = sorted(path for path in (ROOT / "specs").rglob("*.yaml") if "families" not in path.parts)


#: Mistakes that a schema can tell by itself.
TOLD_BY_SCHEMA = {"key", "unknown", "type", "value", "wrong type"}


def _judge(case: Spoiled) -> tuple[tuple[Problem, ...], bool, bool | None]:
    """(what is wrong, pointed at the right line, suggested the right word)."""
    try:
        bp.loads(case.text)
    except bp.SpecError as error:
        found = tuple(error.problems)
        right = any(p.span is not None and p.span.line == case.line for p in found)
        return found, right, None if case.word is None else any(p.suggestion == case.word for p in found)
    return (), False, None


def _shown(text: str, validator: Draft202012Validator) -> set[tuple[int, int]]:
    """The line and column of everything that a validator says of a spec's text: of each error where it is deepest."""
    root = read(text, source_of(text, "spec"))
    found = set()
    for each in validator.iter_errors(plain(root)):
        error = best_match([each])
        assert error is not None
        path, keys = tuple(map(str, error.absolute_path)), [()]
        if error.validator == "additionalProperties":
            assert isinstance(error.schema, dict)
            keys = [(str(key),) for key in error.instance if key not in error.schema.get("properties", {})]
        for key in keys:
            node, entry, _ = find(root, (*path, *key))
            found |= {(span.line, span.column) for span in (node.span, *([entry.span] if entry else []))}
    return found


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(json_schema())


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_every_spoiled_spec_is_refused_where_it_is_wrong(
    path: Path,
    validator: Draft202012Validator,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(path.parent)  # from where a text names the files that it extends
    bp.loads(path.read_text())
    total, lines, words, right_words = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    accepted: list[str] = []
    misses: list[str] = []
    apart: list[str] = []
    compared: set[object] = set()
    for case in spoiled(path.read_text()):
        problems, line, word = _judge(case)
        total[case.kind] += 1
        lines[case.kind] += line
        # A mistake of a place is tried once: misspellings of a word differ in nothing else, nor do styles of a text.
        place = (case.kind, case.what.partition(" → ")[0], frozenset(problem.path[:-1] for problem in problems))
        if case.kind in TOLD_BY_SCHEMA and place not in compared:
            compared.add(place)
            told = {(problem.span.line, problem.span.column) for problem in problems if problem.span is not None}
            if not told & _shown(case.text, validator):
                apart.append(f"{case.kind}: {case.what}")
        if not problems:
            accepted.append(f"{case.kind}: {case.what}")
        elif not line or word is False:
            misses.append(f"{case.kind}: {case.what} (line {line}, word {word})")
        if word is not None:
            words[case.kind] += 1
            right_words[case.kind] += word
    everything, at_line = total.total(), lines.total()
    with capsys.disabled():
        print(
            f"\n{path.stem}: {everything} spoiled specs, {len(accepted)} accepted, "
            f"{at_line / everything:.1%} at the right line, "
            f"{right_words.total() / max(1, words.total()):.1%} of {words.total()} misspellings understood, "
            f"{len(compared) - len(apart)} of {len(compared)} told in the same place by the schema"
        )
    assert not accepted, f"accepted: {accepted}"
    assert not apart, f"not told by the schema, or elsewhere: {apart}"
    assert at_line >= 0.98 * everything, misses
    assert right_words.total() >= 0.95 * words.total(), misses
