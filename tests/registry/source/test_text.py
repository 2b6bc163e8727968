"""Text files by name, folder and glob."""

from __future__ import annotations

import gzip
import os
import sys
from pathlib import Path

import pytest
import zstandard
from pydantic import ValidationError

from blueprint_registry.source.text import Text


@pytest.fixture
def books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "books" / "old").mkdir(parents=True)
    (tmp_path / "books" / "b.txt").write_text("two\n")
    (tmp_path / "books" / "a.txt").write_text("one ☕\n", encoding="utf-8")
    (tmp_path / "books" / "old" / "c.md").write_bytes(b"\xef\xbb\xbfthree\r\n")
    (tmp_path / "books" / "cover.png").write_bytes(b"\x89PNG\0\0\xff")
    (tmp_path / "books" / ".hidden").write_text("no")
    return tmp_path


def read(path: str | list[str]) -> dict[str, str]:
    found = list(Text(path=path).documents())
    assert len(dict(found)) == len(found)
    return dict(found)


def test_a_file_is_one_document(books: Path) -> None:
    assert read("books/a.txt") == {"books/a.txt": "one ☕\n"}


def test_a_folder_gives_all_its_texts_sorted_without_hidden_and_binary_files(books: Path) -> None:
    found = read("books")
    assert list(found.items()) == [
        ("books/a.txt", "one ☕\n"),
        ("books/b.txt", "two\n"),
        ("books/old/c.md", "three\r\n"),
    ]


def test_globs_match_at_any_depth(books: Path) -> None:
    assert list(read("books/*.txt")) == ["books/a.txt", "books/b.txt"]
    assert list(read("**/*.md")) == ["books/old/c.md"]


def test_a_list_is_the_union_and_a_file_named_twice_counts_once(books: Path) -> None:
    assert list(read(["books/old", "books/b.txt", "books/*.txt"])) == ["books/a.txt", "books/b.txt", "books/old/c.md"]


def test_the_home_folder_has_its_sign(books: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(books))
    assert list(read("~/books/old/c.md").values()) == ["three\r\n"]


@pytest.mark.parametrize(
    ("path", "meant"),
    [("books/aa.txt", "books/a.txt"), ("boks/a.txt", "books"), ("books/old/d.md", "books/old/c.md")],
)
def test_a_missing_path_is_named_with_the_likely_one(books: Path, path: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"{path} does not exist.*did you mean {meant}"):
        read(path)


def test_a_glob_without_match_and_an_empty_folder_are_told(books: Path) -> None:
    (books / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no file matches books/\*\.rst"):
        read("books/*.rst")
    with pytest.raises(ValueError, match="the folder empty holds no file"):
        read("empty")


def test_a_file_that_is_not_utf8_is_named_with_the_line(books: Path) -> None:
    (books / "books" / "latin.txt").write_bytes(b"fine\ncaf\xe9\n")
    with pytest.raises(
        ValueError,
        match=r"1 of 4 rows is malformed[^\n]*\n  books/latin\.txt: it is not UTF-8 text: line 2 holds the byte 0xe9",
    ):
        read("books")


def test_a_binary_file_that_was_named_is_not_passed_over(books: Path) -> None:
    with pytest.raises(ValueError, match=r"cover\.png: it is not UTF-8"):
        read(["books", "books/cover.png"])


@pytest.mark.parametrize("path", ["", [], ["a", ""]])
def test_no_path_at_all_is_a_fault_of_the_spec(path: str | list[str]) -> None:
    with pytest.raises(ValidationError, match="at least one"):
        Text(path=path)


def test_documents_are_read_as_they_are_asked_for(books: Path) -> None:
    documents = Text(path="books").documents()
    next(documents)
    (books / "books" / "b.txt").write_text("changed")
    assert next(documents) == ("books/b.txt", "changed")


def test_the_fingerprint_changes_with_the_files(books: Path) -> None:
    source = Text(path="books")
    before = source.fingerprint()
    assert source.fingerprint() == before
    os.utime(books / "books" / "b.txt", ns=(0, 0))
    assert source.fingerprint() != before


def test_a_share_of_malformed_files_may_be_passed_over(books: Path) -> None:
    (books / "books" / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.warns(UserWarning, match=r"1 of 4 rows is malformed and left out:\n  books/latin\.txt"):
        assert len(list(Text(path="books", bad_rows=0.25).documents())) == 3


def test_a_document_may_be_a_line_or_a_paragraph_named_by_its_first_line(books: Path) -> None:
    (books / "a.txt").write_bytes("\ufeffone\ntwo\r\n\n \nthree\n".encode())
    lines = Text(path="a.txt", document="line").documents()
    assert list(lines) == [("a.txt:1", "one"), ("a.txt:2", "two"), ("a.txt:5", "three")]
    paragraphs = Text(path="a.txt", document="paragraph").documents()
    assert list(paragraphs) == [("a.txt:1", "one\ntwo"), ("a.txt:5", "three")]


def test_compressed_files_read_as_what_is_in_them(books: Path) -> None:
    (books / "a.txt.gz").write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    # Two frames end to end, as parallel compression leaves them.
    (books / "b.txt.zst").write_bytes(zstandard.compress(b"one\n") + zstandard.compress(b"two\n"))
    assert read(["a.txt.gz", "b.txt.zst"]) == {"a.txt.gz": "one\ntwo\n", "b.txt.zst": "one\ntwo\n"}


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst"])
def test_a_damaged_archive_is_named(books: Path, name: str) -> None:
    whole = gzip.compress(b"one" * 999) if name.endswith("gz") else zstandard.compress(b"one" * 999)
    for data in (b"no archive", whole[: len(whole) // 2] + b"?" * 20):
        (books / name).write_bytes(data)
        with pytest.raises(ValueError, match=f"{name} cannot be read"):
            read(name)


def test_what_a_missing_library_is_needed_for_names_the_extra(books: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    (books / "a.zst").write_bytes(b"")
    with pytest.raises(ValueError, match=r"zst are read by zstandard: pip install 'blueprint-lightning\[zstd\]'"):
        read("a.zst")


@pytest.mark.parametrize("text", ["line one\nline two ☕\n" * 12, "☕é🙂x" * 30, "short"])
def test_a_large_file_is_pieces_cut_after_lines_or_between_characters(
    text: str, books: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blueprint_registry.source.text._LARGE", 50)
    Path("large.txt").write_text(text, encoding="utf-8")
    found = list(Text(path="large.txt").documents())
    assert "".join(piece for _, piece in found) == text
    assert all(len(piece.encode()) <= 100 for _, piece in found)
    assert (len(found) > 1) == (len(text) > 50)
    assert found[0][0] == "large.txt"
    assert "\n" not in text or all(piece.endswith("\n") for _, piece in found)
    for where, piece in found[1:] if "\n" in text else []:
        line = int(where.removeprefix("large.txt:"))
        assert piece.startswith(text.splitlines(keepends=True)[line - 1])
