"""BLEU and chrF by their definitions, and every setting of a score changes one."""

from __future__ import annotations

import math
import sys
from collections import Counter
from typing import Any

import pytest

from blueprint.component import Site
from blueprint.registry import member
from blueprint_registry.text_score.bleu import Bleu
from blueprint_registry.text_score.chrf import Chrf

WRITTEN = ("Datei „x.txt“ nicht gefunden!", "die Datei konnte nicht geöffnet werden.", "你好世界", "Ja, 3,5 MB frei.")
WANTED = (
    "Die Datei „x.txt“ wurde nicht gefunden!",
    "Die Datei kann nicht geöffnet werden.",
    "你好，世界",
    "Ja, 3,5 MB frei.",
)
AT = Site(d_model=8, width=8)


def runs(units: list[str], length: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(units[at : at + length]) for at in range(len(units) - length + 1))


def bleu_by_hand(written: list[list[str]], wanted: list[list[str]]) -> float:
    """Papineni et al. (2002), section 2.3, over words that are cut already."""
    logs = 0.0
    for length in range(1, 5):
        both = sum((runs(a, length) & runs(b, length)).total() for a, b in zip(written, wanted, strict=True))
        logs += math.log(both / sum(runs(a, length).total() for a in written)) / 4
    sizes = sum(map(len, written)), sum(map(len, wanted))
    return 100 * min(1.0, math.exp(1 - sizes[1] / sizes[0])) * math.exp(logs)


def test_bleu_is_that_of_its_paper() -> None:
    words = [each.split() for each in WRITTEN], [each.split() for each in WANTED]
    assert Bleu(tokens="none").build(AT)(WRITTEN, WANTED) == pytest.approx(bleu_by_hand(*words), abs=1e-3)
    letters = [list(each.replace(" ", "")) for each in WRITTEN], [list(each.replace(" ", "")) for each in WANTED]
    assert Bleu(tokens="char").build(AT)(WRITTEN, WANTED) == pytest.approx(bleu_by_hand(*letters), abs=1e-3)


def test_words_of_bleu_are_cut_from_the_signs_around_them_as_by_mteval() -> None:
    one, other = ["Open the file: done (really)."], ["Open the file : done ( really ) ."]
    assert Bleu().build(AT)(one, other) == pytest.approx(100, abs=1e-3)
    assert Bleu(tokens="none").build(AT)(one, other) < 50


def test_chrf_is_that_of_its_paper() -> None:
    """Popović (2015), eq. 1: over all texts, F of each length's precision and recall, a mean over the lengths."""
    scores = []
    for length in range(1, 7):
        pairs = [
            (runs(list(a.replace(" ", "")), length), runs(list(b.replace(" ", "")), length))
            for a, b in zip(WRITTEN, WANTED, strict=True)
        ]
        both = sum((a & b).total() for a, b in pairs)
        precision, recall = both / sum(a.total() for a, _ in pairs), both / sum(b.total() for _, b in pairs)
        scores.append(5 * precision * recall / (4 * precision + recall))
    assert Chrf().build(AT)(WRITTEN, WANTED) == pytest.approx(100 * sum(scores) / 6, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        *(("bleu", "tokens", cut) for cut in ("intl", "zh", "char", "none")),
        ("bleu", "lowercase", True),
        *(("chrf", "characters", 2), ("chrf", "words", 2), ("chrf", "beta", 1), ("chrf", "lowercase", True)),
    ],
)
def test_every_setting_changes_a_score(name: str, key: str, value: Any) -> None:
    plain, changed = (member("text_score", name)(**said).build(AT) for said in ({}, {key: value}))
    assert abs(plain(WRITTEN, WANTED) - changed(WRITTEN, WANTED)) > 1e-2


def test_a_text_that_shares_nothing_costs_what_it_lacks() -> None:
    """Its wanted text counts as any other: leaving out what it lacks would make such texts free."""
    score = Chrf().build(AT)
    assert score(["", *WANTED[1:]], WANTED) < score(WANTED[1:], WANTED[1:]) - 5


def test_a_library_that_is_not_there_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(ValueError, match=r"pip install 'blueprint-lightning\[scores\]'"):
        Bleu().build(AT)


def test_every_setting_is_tried_above() -> None:
    from blueprint.schema.shape import fields
    from tests.shipped import shipped

    every = {(name, key) for name in shipped("text_score") for key in fields(member("text_score", name))}
    (mark,) = test_every_setting_changes_a_score.pytestmark  # type: ignore[attr-defined]
    assert {(name, key) for name, key, _ in mark.args[1]} == every
