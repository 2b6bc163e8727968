"""A file that cannot be read is named, with the nearest that can."""

from __future__ import annotations

from pathlib import Path

import pytest

from blueprint.diagnosis import Problem, SpecError
from blueprint.load.files import read_file
from blueprint.tree import Scalar, find, plain


def file_problem(path: Path) -> Problem:
    with pytest.raises(SpecError) as caught:
        read_file(path)
    (problem,) = caught.value.problems
    return problem


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").write_text("a: 1")
    problem = file_problem(tmp_path / "quikstart.yaml")
    assert problem.suggestion == str(tmp_path / "quickstart.yaml")
    assert "quikstart.yaml" in str(problem)


def test_a_folder_a_null_in_the_name_and_an_empty_file_are_no_specs(tmp_path: Path) -> None:
    assert "folder" in file_problem(tmp_path).message
    assert "null" in file_problem(tmp_path / "a\0b").message
    (tmp_path / "empty.yaml").write_text("")
    assert "empty" in file_problem(tmp_path / "empty.yaml").message


def test_bytes_that_are_no_utf8_are_placed(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("a: 1\nname: caf\u00e9\n".encode("latin-1"))
    problem = file_problem(path)
    assert problem.span is not None
    assert (problem.code, problem.span.line, problem.span.column) == ("encoding", 2, 10)


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes("\ufeffa: 1\r\nb: {x: 2}\r\n".encode())
    root = read_file(path)
    assert plain(root) == {"a": 1, "b": {"x": 2}}
    inner, entry, _ = find(root, ("b", "x"))
    assert entry is not None
    assert isinstance(inner, Scalar)
    assert (inner.span.line, inner.span.column, inner.span.text) == (2, 8, "b: {x: 2}")
