"""Pairs and labelled texts from tab-separated and CSV files; malformed rows are named, counted and bounded."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from blueprint_registry.source.labelled import Labelled
from blueprint_registry.source.pairs import Pairs


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_row_is_a_pair_named_by_file_and_line(folder: Path) -> None:
    (folder / "a.tsv").write_bytes("\ufeffone\teins\r\n\r\ntwo ☕\tzwei\n".encode())
    assert list(Pairs(path="a.tsv").documents()) == [("a.tsv:1", ("one", "eins")), ("a.tsv:3", ("two ☕", "zwei"))]


def test_columns_go_by_number_or_by_the_names_in_the_first_row(folder: Path) -> None:
    (folder / "a.tsv").write_text("id\tde\ten\n1\teins\tone\n")
    assert [pair for _, pair in Pairs(path="a.tsv", source="en", target="de").documents()] == [("one", "eins")]
    assert [pair for _, pair in Pairs(path="a.tsv", source=2).documents()] == [("en", "de"), ("one", "eins")]


def test_csv_has_quotes_and_tabs_stand_for_themselves_in_it(folder: Path) -> None:
    (folder / "a.csv").write_text('"one, two\nlines","a ""word"""\nb\tc,d\n')
    found = list(Pairs(path="a.csv").documents())
    assert found == [("a.csv:1", ("one, two\nlines", 'a "word"')), ("a.csv:3", ("b\tc", "d"))]


def test_several_files_are_read_in_the_order_of_their_names(folder: Path) -> None:
    for name in ("b.tsv", "a.tsv"):
        (folder / name).write_text(f"{name}\tx\n")
    assert [name for name, _ in Pairs(path="*.tsv").documents()] == ["a.tsv:1", "b.tsv:1"]


ROWS = {
    "1 columns, where the first row has 2": b"alone\n",
    "3 columns, where the first row has 2": b"a\tb\tc\n",
    "column 1 is empty": b"a\t\n",
    "column 0 is empty": b"\tb\n",
    "it is not UTF-8": b"caf\xe9\tb\n",
}


@pytest.mark.parametrize("what", ROWS)
def test_a_malformed_row_is_named_and_fatal_unless_a_share_is_allowed(folder: Path, what: str) -> None:
    (folder / "a.tsv").write_bytes(b"x\ty\n" + ROWS[what] + b"z\tw\n")
    with pytest.raises(ValueError, match=rf"1 of 3 rows is malformed, where none is allowed.*\n.*a\.tsv:2: {what}"):
        list(Pairs(path="a.tsv").documents())
    with pytest.warns(UserWarning, match=rf"1 of 3 rows is malformed and left out:\n.*a\.tsv:2: {what}"):
        good = list(Pairs(path="a.tsv", bad_rows=0.34).documents())
    assert [pair for _, pair in good] == [("x", "y"), ("z", "w")]
    with pytest.raises(ValueError, match=r"a share of 0\.3 is allowed"):
        list(Pairs(path="a.tsv", bad_rows=0.3).documents())


def test_many_malformed_rows_are_counted_and_some_are_named(folder: Path) -> None:
    (folder / "a.tsv").write_text("x\ty\n" + "alone\n" * 20)
    with pytest.raises(ValueError, match="20 of 21 rows are malformed") as error:
        list(Pairs(path="a.tsv").documents())
    assert str(error.value).count("a.tsv:") == 5


def test_csv_goes_on_after_a_malformed_row(folder: Path) -> None:
    (folder / "a.csv").write_text('a,b\n"x"y,z\nc,d\n')
    with pytest.warns(UserWarning, match=r"a\.csv:2"):
        assert [name for name, _ in Pairs(path="a.csv", bad_rows=0.5).documents()] == ["a.csv:1", "a.csv:3"]


def test_a_column_that_is_not_there_is_told_with_those_that_are(folder: Path) -> None:
    (folder / "a.tsv").write_text("en\tde\none\teins\n")
    with pytest.raises(ValueError, match=r"a\.tsv:1 names no column 'fr'; it names 'en', 'de'"):
        list(Pairs(path="a.tsv", source="fr").documents())
    with pytest.raises(ValueError, match=r"has 2 columns, and none is number 2"):
        list(Pairs(path="a.tsv", target=2).documents())


def test_the_fingerprint_tells_other_files_and_other_columns(folder: Path) -> None:
    (folder / "a.tsv").write_text("a\tb\tc\n")
    one = Pairs(path="a.tsv").fingerprint()
    assert one == Pairs(path="a.tsv").fingerprint()
    others = [Pairs(path="a.tsv", target=2), Pairs(path="a.tsv", bad_rows=0.1), Labelled(path="a.tsv")]
    assert one not in [other.fingerprint() for other in others]


def test_labels_are_those_found_sorted_or_those_named_in_their_order(folder: Path) -> None:
    (folder / "a.tsv").write_text("good\tyes\nbad\tno\nfine\tyes\n")
    assert Labelled(path="a.tsv").classes(read=True) == ["no", "yes"]
    assert Labelled(path="a.tsv").classes() is None
    assert Labelled(path="a.tsv", labels=["yes", "no"]).classes() == ["yes", "no"]
    with pytest.raises(ValueError, match=r"a\.tsv:2: the label 'no' is none of those named"):
        list(Labelled(path="a.tsv", labels=["yes", "maybe"]).documents())


@pytest.mark.parametrize("labels", [[], ["a"], ["a", "a"]])
def test_labels_are_two_at_least_and_each_once(labels: list[str]) -> None:
    with pytest.raises(ValidationError, match="at least two labels"):
        Labelled(path="a.tsv", labels=labels)
