"""Texts, pairs and labelled texts from files of rows in every format; malformed rows are named, counted and bounded."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path

import datasets
import pyarrow
import pytest
import zstandard
from pyarrow import parquet
from pydantic import ValidationError

from blueprint_registry.source.labelled import Labelled
from blueprint_registry.source.pairs import Pairs
from blueprint_registry.source.table import Table


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


PLACES = [{"city": "Ōsaka", "id": 1}, {"city": "Lyon", "id": 2}]


def stored(table: pyarrow.Table, features: datasets.Features | None = None) -> datasets.Dataset:
    info = datasets.DatasetInfo(features=features)
    return datasets.Dataset(datasets.table.InMemoryTable(table), info, fingerprint="made here")


def written(folder: Path, name: str) -> str:
    """The rows of PLACES in the format that a name's ending says."""
    path, lines = folder / name, "".join(json.dumps(row) + "\n" for row in PLACES).encode()
    if name.startswith("saved"):
        stored(pyarrow.Table.from_pylist(PLACES)).save_to_disk(path)
    elif name.endswith(".parquet"):
        parquet.write_table(pyarrow.Table.from_pylist(PLACES), path)
    elif "csv" in name:
        path.write_bytes(gzip.compress("city,id\nŌsaka,1\nLyon,2\n".encode()))
    elif "tsv" in name:
        path.write_bytes("city\tid\nŌsaka\t1\nLyon\t2\n".encode())
    else:
        path.write_bytes(zstandard.compress(lines) if name.endswith(".zst") else lines)
    return name


FORMATS = ["a.jsonl", "a.ndjson", "a.jsonl.zst", "a.csv.gz", "a.tsv", "a.parquet", "saved"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows(folder: Path, name: str) -> None:
    path = written(folder, name)
    found = list(Table(path=path, text="city").documents())
    assert [text for _, text in found] == ["Ōsaka", "Lyon"]
    first = 2 if "sv" in path else 1
    assert [where for where, _ in found] == [f"{path}:{first}", f"{path}:{first + 1}"]
    pairs = [pair for _, pair in Pairs(path=path, source="id", target="city").documents()]
    assert pairs == [("1", "Ōsaka"), ("2", "Lyon")]


@pytest.mark.parametrize("name", FORMATS)
def test_the_column_that_no_row_has_is_told_in_every_format(folder: Path, name: str) -> None:
    path = written(folder, name)
    with pytest.raises(ValueError, match=rf"{path}.*'?town'?"):
        list(Table(path=path, text="town").documents())


LINES = {
    "it is no JSON": '{"text": ',
    "it has no field 'text'": '{"body": "x"}',
    "column text is empty": '{"text": null}',
    "column text holds no text \\(list\\)": '{"text": []}',
    "it is not UTF-8": '{"text": "\\ud800"}',
}


@pytest.mark.parametrize("what", LINES)
def test_malformed_json_is_named_by_its_line(folder: Path, what: str) -> None:
    (folder / "a.jsonl").write_text('{"text": "good"}\n\n' + LINES[what] + "\n")
    with pytest.raises(ValueError, match=rf"1 of 2 rows is malformed.*\n  a\.jsonl:3: {what}"):
        list(Table(path="a.jsonl").documents())


def test_fields_of_fields_and_items_of_arrays(folder: Path) -> None:
    (folder / "a.jsonl").write_text('{"meta": {"title": "x"}, "a.b": "y"}\n')
    (folder / "b.jsonl").write_text('["first", "second"]\n')
    assert [text for _, text in Table(path="a.jsonl", text="meta.title").documents()] == ["x"]
    assert [text for _, text in Table(path="a.jsonl", text="a.b").documents()] == ["y"]
    assert [pair for _, pair in Pairs(path="b.jsonl").documents()] == [("first", "second")]
    with pytest.raises(ValueError, match=r"a\.jsonl:1 is a JSON object.*say one of 'meta', 'a\.b'"):
        list(Table(path="a.jsonl", text=0).documents())


def test_saved_classes_go_by_their_names_and_a_folder_of_several_sets_names_them(folder: Path) -> None:
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    one = stored(pyarrow.table({"text": ["good", "bad"], "label": [1, 0]}), features)
    datasets.DatasetDict(train=one, test=one).save_to_disk(folder / "both")
    found = Labelled(path="both/train", text="text", label="label").documents()
    assert [row for _, row in found] == [("good", "yes"), ("bad", "no")]
    with pytest.raises(ValueError, match=r"both holds several sets, test, train: name one of them, as both/test"):
        Table(path="both").fingerprint()


def test_a_damaged_parquet_file_is_named(folder: Path) -> None:
    (folder / "a.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(ValueError, match=r"a\.parquet cannot be read as Parquet"):
        list(Table(path="a.parquet").documents())


def test_rows_pass_through_without_being_held(folder: Path) -> None:
    with gzip.open(folder / "a.jsonl.gz", "wt") as file:
        file.writelines('{"text": "row"}\n' for _ in range(100_000))
    rows = Table(path="a.jsonl.gz").documents()
    tracemalloc.start()
    assert sum(len(text) for _, text in rows) == 300_000
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()
