"""What each stage makes of a document, and what it leaves out."""

from __future__ import annotations

import json
import random
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from blueprint.kinds import Document, Dropped, Stage
from blueprint_registry.stage.chunk import Chunk
from blueprint_registry.stage.exact_duplicates import ExactDuplicates
from blueprint_registry.stage.length import Length
from blueprint_registry.stage.near_duplicates import NearDuplicates
from blueprint_registry.stage.repetition import Repetition
from blueprint_registry.stage.symbols import Symbols
from blueprint_registry.stage.synonyms import Synonyms
from blueprint_registry.stage.unicode import Unicode
from blueprint_registry.stage.word_dropout import WordDropout


def document(*texts: str, **more: Any) -> Document:
    return Document("d", texts, **more)


def said(stage: Stage, *texts: str) -> list[tuple[str, ...]]:
    return [each.texts for each in stage.each(document(*texts), "lot")]


def why(stage: Stage, *texts: str) -> str | None:
    try:
        list(stage.each(document(*texts), "lot"))
    except Dropped as error:
        return str(error)
    return None


def compared(stage: Stage, documents: list[Document]) -> list[Document | Dropped]:
    return list(stage.over(documents, map(stage.sketch, documents)))


def over(stage: Stage, texts: Sequence[str]) -> list[str | None]:
    """The text of each document that is left, and None for the others."""
    found = compared(stage, [document(text) for text in texts])
    return [None if isinstance(each, Dropped) else each.texts[0] for each in found]


@given(st.text(max_size=40), st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_unicode_writes_each_character_one_way_and_once_is_enough(text: str, form: Any) -> None:
    stage = Unicode(form=form)
    if why(stage, text) is None:
        [(once,)] = said(stage, text)
        assert unicodedata.is_normalized(form, once)
        assert said(stage, once) == [(once,)]


def test_unicode_squeezes_spaces_and_drops_controls() -> None:
    assert said(Unicode(), "e\u0301\x00 \r\nx") == [("é \nx",)]
    assert said(Unicode(spaces="squeeze"), "  a \t b\r\n\n\n\n c\u00a0d ") == [("a b\n\nc d",)]
    assert said(Unicode(form="NFKC"), "ﬁ①") == [("fi1",)]
    assert why(Unicode(), "\x00 ") == "no text"


def test_length_counts_each_text_in_its_unit() -> None:
    assert why(Length(least=3), "ab") == "fewer than 3 characters"
    assert why(Length(most=2), "ab", "abc") == "more than 2 characters"
    assert why(Length(least=2, most=3, unit="words"), "a b", "a b c") is None
    assert why(Length(least=2, unit="words"), "a") == "fewer than 2 words"
    with pytest.raises(ValidationError, match="say `least` or `most`"):
        Length()
    with pytest.raises(ValidationError, match="nothing would be left"):
        Length(least=3, most=2)


def test_symbols_are_what_is_neither_letter_nor_digit_in_any_script() -> None:
    assert why(Symbols(most=0.4), "a#b $%") == "more than 0.4 of it symbols"
    assert why(Symbols(most=0.6), "a#b $%") is None
    assert why(Symbols(), "日本語 हिन्दी Ωμέγα 42") is None
    assert why(Symbols(worded=0.8), "12 34 ab 56") == "fewer than 0.8 of its words hold a letter"


def test_repetition_counts_lines_and_runs_of_words() -> None:
    prose = "one two three four five six seven eight nine ten"
    assert why(Repetition(), prose) is None
    assert why(Repetition(most=1.0), f"{prose}\n" * 3 + "end") == "more than 0.3 of its lines repeated"
    assert why(Repetition(), "buy now " * 5 + prose) == "one run of 2 words takes more than 0.2 of it"
    assert why(Repetition(words=3), "buy now " * 2 + prose) is None


def test_duplicates_but_for_signs_are_found_and_texts_of_signs_alone_are_not_all_the_same() -> None:
    stage = ExactDuplicates(ignore="signs")
    texts = ["_Open…", "&Open", "open", "O pen", "Öpen", "…", "%s", "%s", "..."]
    assert over(stage, texts) == ["_Open…", None, None, None, "Öpen", "…", "%s", None, "..."]


def test_an_input_is_left_once_whatever_is_to_be_said_of_it() -> None:
    pairs = [document("Open", "Öffnen"), document("Open", "Offen"), document("Offen", "Öffnen")]
    whole, inputs = (
        [not isinstance(each, Dropped) for each in compared(ExactDuplicates(compare=compare), pairs)]
        for compare in ("whole", "input")
    )
    assert whole == [True, True, True]
    assert inputs == [True, False, True]
    labelled = [document("good", label="1"), document("good", label="0")]
    found = compared(ExactDuplicates(compare="input"), labelled)
    assert isinstance(found[1], Dropped)


def test_exact_duplicates_keep_the_first() -> None:
    assert over(ExactDuplicates(), ["a b", "A  b", "a b"]) == ["a b", "A  b", None]
    assert over(ExactDuplicates(ignore="case_and_space"), ["a b", "A  b\n", "c"]) == ["a b", None, "c"]
    labels = [document("a", label="x"), document("a", label="y"), document("a", label="x")]
    assert [isinstance(each, Dropped) for each in compared(ExactDuplicates(), labels)] == [False, False, True]


def test_exact_duplicates_are_found_wherever_blocks_end(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = random.Random(0).choices("abcdefghijklmnop", k=60)
    expected = [text if text not in texts[:at] else None for at, text in enumerate(texts)]
    for block in (1, 2, 3, 7, 100):
        monkeypatch.setattr("blueprint_registry.stage.exact_duplicates._BLOCK", block)
        assert over(ExactDuplicates(), texts) == expected


def prose(seed: int, words: int = 200) -> list[str]:
    drawn = random.Random(seed)
    return ["".join(drawn.choices("abcdefgh", k=5)) for _ in range(words)]


def changed(words: list[str], every: int) -> str:
    return " ".join("other" if at % every == 7 else word for at, word in enumerate(words))


def test_near_duplicates_are_those_that_share_most_runs_of_words() -> None:
    one, other = prose(1), prose(2)
    texts = [" ".join(one), " ".join(other), changed(one, 190).upper(), changed(one, 20), " ".join(other[::-1])]
    # Two words of 200 changed leave 186 of 206 runs of five; ten leave about a third.
    assert over(NearDuplicates(), texts) == [texts[0], texts[1], None, texts[3], texts[4]]
    assert over(NearDuplicates(similarity=0.2), texts)[3] is None
    assert over(NearDuplicates(words=1), texts)[3:] == [None, None]


def test_near_duplicates_may_all_stay_in_one_group() -> None:
    one = prose(1)
    given = [document(" ".join(prose(2))), document(" ".join(one)), document(changed(one, 190))]
    found = [each for each in compared(NearDuplicates(keep="all"), given) if not isinstance(each, Dropped)]
    assert [each.texts for each in found] == [each.texts for each in given]
    assert found[0].group is None
    assert found[1].group == found[2].group is not None


def test_near_duplicates_find_what_comparing_all_finds() -> None:
    """Families of texts at known distances: against Jaccard's index itself, far from the border."""
    texts = [changed(prose(seed), every) for seed in range(30) for every in (999, 150)]
    runs = [{tuple(text.split()[at : at + 5]) for at in range(196)} for text in texts]
    near = [any(len(a & b) > 0.9 * len(a | b) for a in runs[:at]) for at, b in enumerate(runs)]
    assert sum(near) == 30
    assert [text is None for text in over(NearDuplicates(similarity=0.8), texts)] == near


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 12), st.sampled_from([" ", "\n", "  "])), max_size=40),
    st.integers(1, 30),
    st.integers(0, 29),
)
def test_chunks_split_no_word_lose_none_and_keep_their_bounds(
    drawn: list[tuple[int, str]], length: int, overlap: int
) -> None:
    # Every word is of a letter of its own, so that it is known by it.
    text = "".join(chr(0x4E00 + number) * size + space for number, (size, space) in enumerate(drawn))
    overlap = min(overlap, length - 1)
    pieces = [piece for (piece,) in said(Chunk(length=length, overlap=overlap), text)]
    words = text.split()
    if len(text) <= length:
        assert pieces == [text]
        return
    stop = 0
    for piece in pieces:
        inside = piece.split()
        assert piece in text
        assert len(piece) <= length or len(inside) == 1
        at = words.index(inside[0])
        assert inside == words[at : at + len(inside)]
        assert at <= stop < at + len(inside)
        assert len(" ".join(words[at:stop])) <= overlap
        stop = at + len(inside)
    assert stop == len(words)


def test_chunks_overlap_by_whole_words() -> None:
    assert said(Chunk(length=11, overlap=6), "one two three four five") == [
        ("one two",),
        ("two three",),
        ("three four",),
        ("four five",),
    ]
    with pytest.raises(ValidationError, match="never go on"):
        Chunk(length=10, overlap=10)


def test_dropout_adds_copies_that_lack_words_to_learn_from_alone() -> None:
    text = " ".join(prose(3, 1000))
    whole, one, two = WordDropout(share=0.2, copies=2).each(document(text, "target"), "lot")
    assert whole == document(text, "target")
    assert one.only_train and two.only_train and not whole.only_train
    assert one.texts[1] == "target"
    assert one.texts[0] != two.texts[0]
    assert len(one.texts[0].split()) == pytest.approx(800, abs=60)
    rest = iter(text.split())
    assert all(word in rest for word in one.texts[0].split())
    again = list(WordDropout(share=0.2, copies=2).each(document(text, "target"), "lot"))
    assert again == [whole, one, two]
    assert [len(list(WordDropout().each(each, "lot"))) for each in (one, document("word"))] == [1, 1]


def test_synonyms_stand_for_words_with_their_capitals_and_signs(tmp_path: Path) -> None:
    table = tmp_path / "table.tsv"
    table.write_text("quick\tfast\tswift\n\nfox\tvixen\n")
    stage = Synonyms(path=str(table), share=0.99, copies=8)
    found = {text for (text,) in said(stage, 'Quick "fox",\n ran.')}
    assert {'Fast "vixen",\n ran.', 'Swift "vixen",\n ran.'} <= found
    assert said(stage, "nothing here") == [("nothing here",)]
    before = stage.fingerprint()
    table.write_text("quick\tfast\n")
    assert Synonyms(path=str(table), share=0.99, copies=8).fingerprint() != before


@pytest.mark.parametrize(("text", "line"), [("alone\n", 1), ("a\tb\n\tc\n", 2)])
def test_a_table_that_is_none_is_named_by_its_line(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(ValueError, match=rf"t\.tsv:{line} is no word with others"):
        Synonyms(path=str(tmp_path / "t.tsv")).fingerprint()
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        Synonyms(path=str(tmp_path / "none.tsv")).fingerprint()


def test_a_fingerprint_holds_the_settings() -> None:
    assert Length(least=3).fingerprint() != Length(least=4).fingerprint()
    assert json.loads(Length(least=3).fingerprint())
