"""Words with a label each, and texts with several, from files of every format; what does not fit is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from blueprint_registry.source.mixture import Mixture
from blueprint_registry.source.multi_labelled import MultiLabelled
from blueprint_registry.source.tagged import Tagged
from tests.registry.source.test_rows import stored

SENTENCES = [(("EU", "rejects", "#"), ("ORG", "O", "O")), (("Ōsaka",), ("LOC",))]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


COLUMNED = {
    "tabs": "EU\tORG\nrejects\tO\n#\tO\n\n\nŌsaka\tLOC\n",
    "spaces": "EU ORG\nrejects O\n# O\n \nŌsaka LOC",
    "windows": "\ufeffEU\tORG\r\nrejects\tO\r\n#\tO\r\n\r\nŌsaka\tLOC\r\n",
    "documents": "-DOCSTART- O\n\nEU ORG\nrejects O\n# O\n\n-DOCSTART- O\n\nŌsaka LOC\n",
    "comments": "# id = 1\n# text = EU rejects #\nEU\tORG\nrejects\tO\n#\tO\n\n# id = 2\nŌsaka\tLOC\n\n",
}


@pytest.mark.parametrize("said", COLUMNED)
def test_a_line_is_a_word_and_a_blank_one_ends_a_sentence(folder: Path, said: str) -> None:
    (folder / "a.conll").write_text(COLUMNED[said], newline="", encoding="utf-8")
    found = list(Tagged(path="a.conll").documents())
    assert [content for _, content in found] == SENTENCES
    lines = COLUMNED[said].lstrip("\ufeff").splitlines()
    for where, (words, _) in found:
        assert lines[int(where.rpartition(":")[2]) - 1].startswith(words[0])


def test_any_column_of_many_may_be_the_words_or_the_labels(folder: Path) -> None:
    (folder / "a.conllu").write_text("1\tEU\tNOUN\tORG\n2\trejects\tVERB\tO\n")
    assert [row for _, row in Tagged(path="a.conllu", word=1, label=3).documents()] == [
        (("EU", "rejects"), ("ORG", "O"))
    ]
    with pytest.raises(ValueError, match=r"a\.conllu:1 has 4 columns, and none is number 4"):
        list(Tagged(path="a.conllu", label=4).documents())
    with pytest.raises(ValueError, match="names no column 'upos': where a line is a word, columns go by number"):
        list(Tagged(path="a.conllu", label="upos").documents())


def written(folder: Path, name: str) -> str:
    rows = [{"words": list(words), "tags": list(tags)} for words, tags in SENTENCES]
    if name.startswith("saved"):
        names = ["O", "ORG", "LOC"]
        features = datasets.Features(
            {"words": datasets.List(datasets.Value("string")), "tags": datasets.List(datasets.ClassLabel(names=names))}
        )
        numbers = [[names.index(tag) for tag in row["tags"]] for row in rows]
        stored(pyarrow.table({"words": [row["words"] for row in rows], "tags": numbers}), features).save_to_disk(name)
    elif name.endswith(".parquet"):
        parquet.write_table(pyarrow.Table.from_pylist(rows), folder / name)
    elif name.endswith(".csv"):
        lines = [f"{' '.join(row['words'])},{' '.join(row['tags'])}" for row in rows]
        (folder / name).write_text("words,tags\n" + "\n".join(lines))
    else:
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet", "saved"])
def test_a_row_of_a_table_is_a_sentence(folder: Path, name: str) -> None:
    source = Tagged(path=written(folder, name), word="words", label="tags")
    assert [content for _, content in source.documents()] == SENTENCES
    assert source.classes(read=True) == ["LOC", "O", "ORG"]
    assert source.classes() is None


WRONG = {
    "it has 2 words and 1 labels": {"words": ["a", "b"], "tags": ["x"]},
    "it has 0 words": {"words": [], "tags": []},
    "column words holds no list": {"words": 3, "tags": ["x"]},
    "column words has an item that is empty": {"words": ["a", ""], "tags": ["x", "x"]},
    "the label 'z' is none of those named": {"words": ["a"], "tags": ["z"]},
}


@pytest.mark.parametrize("what", WRONG)
def test_a_malformed_sentence_is_named_and_fatal_unless_a_share_is_allowed(folder: Path, what: str) -> None:
    good = {"words": ["a"], "tags": ["x"]}
    (folder / "a.jsonl").write_text(f"{json.dumps(good)}\n{json.dumps(WRONG[what])}\n")
    said: dict[str, Any] = {"path": "a.jsonl", "word": "words", "label": "tags", "labels": ["x", "y"]}
    with pytest.raises(ValueError, match=rf"1 of 2 rows is malformed.*\n  a\.jsonl:2: {what}"):
        list(Tagged(**said).documents())
    with pytest.warns(UserWarning, match="left out"):
        assert [row for _, row in Tagged(**said, bad_rows=0.5).documents()] == [(("a",), ("x",))]


def test_a_word_of_another_width_spoils_its_sentence_alone(folder: Path) -> None:
    (folder / "a.txt").write_text("a x\nb\nc x\n\nd x\n\ne x y\n\nf\u00a0g x\n")
    with pytest.warns(
        UserWarning, match=r"2 of 4 rows.*\n.*a\.txt:1: line 2 has 1 columns, where the first word has 2"
    ):
        found = [words for _, (words, _) in Tagged(path="a.txt", bad_rows=0.5).documents()]
    assert found == [("d",), ("f\u00a0g",)]


LABELS = [("one", ("a", "b c")), ("two", ())]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.tsv", "one\ta, b c\ntwo\t\n", {}),
        ("a.csv", 'text,of\none,"a;b c "\ntwo,\n', {"text": "text", "label": "of", "separator": ";"}),
        ("a.jsonl", '{"t": "one", "l": ["a", "b c"]}\n{"t": "two", "l": []}\n', {"text": "t", "label": "l"}),
    ],
)
def test_labels_are_a_list_or_stand_between_separators(folder: Path, name: str, content: str, said: Any) -> None:
    (folder / name).write_text(content)
    source = MultiLabelled(path=name, **said)
    assert [row for _, row in source.documents()] == LABELS
    assert source.classes(read=True) == ["a", "b c"]


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("one\ta,a", "a label stands there twice"),
        ("one\ta,,b", "column 1 has an item that is empty"),
        ("one\tq", "the label 'q' is none of those named"),
        ("\ta", "column 0 is empty"),
    ],
)
def test_malformed_labels_are_named(folder: Path, row: str, what: str) -> None:
    (folder / "a.tsv").write_text(f"x\ta\n{row}\n")
    with pytest.raises(ValueError, match=rf"a\.tsv:2: {what}"):
        list(MultiLabelled(path="a.tsv", labels=["a", "b"]).documents())


def test_sources_of_several_labels_are_mixed(folder: Path) -> None:
    for name in "ab":
        (folder / name).write_text(f"{name} {name.upper()}\n\n{name}{name} {name.upper()}\n")
    mixed = Mixture.model_validate({"sources": {name: {"type": "tagged", "path": name} for name in "ab"}})
    assert sorted(words for _, (words, _) in mixed.documents()) == [("a",), ("aa",), ("b",), ("bb",)]
    assert mixed.classes(read=True) == ["A", "B"]
