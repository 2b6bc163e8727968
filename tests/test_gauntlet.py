"""No mistake in any shipped spec is accepted, ends in a traceback, or is pointed out in the wrong place."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import blueprint as bp
from tests.conftest import ROOT
from tests.gauntlet import Spoiled, spoiled

SPECS = sorted(path for path in (ROOT / "specs").rglob("*.yaml") if "families" not in path.parts)


def _judge(case: Spoiled) -> tuple[bool, bool, bool | None]:
    """(refused, pointed at the right line, suggested the right word)."""
    try:
        bp.loads(case.text)
    except bp.SpecError as error:
        right = any(p.span is not None and p.span.line == case.line for p in error.problems)
        return True, right, None if case.word is None else any(p.suggestion == case.word for p in error.problems)
    return False, False, None


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_every_spoiled_spec_is_refused_where_it_is_wrong(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)  # from where a text names the files that it extends
    bp.loads(path.read_text())
    total, lines, words, right_words = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    accepted: list[str] = []
    misses: list[str] = []
    for case in spoiled(path.read_text()):
        refused, line, word = _judge(case)
        total[case.kind] += 1
        lines[case.kind] += line
        if not refused:
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
            f"{right_words.total() / max(1, words.total()):.1%} of {words.total()} misspellings understood"
        )
    assert not accepted, f"accepted: {accepted}"
    assert at_line >= 0.98 * everything, misses
    assert right_words.total() >= 0.95 * words.total(), misses
