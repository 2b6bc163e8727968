"""A path in a spec starts from the file that says it."""

from __future__ import annotations

from pathlib import Path

import pytest

import blueprint as bp

MODEL = "model: {type: decoder, d_model: 16, layers: 1, block: {attention: {heads: 2}}}\ntokenizer: byte\n"
DATA = "data: {{length: 8, source: {{type: text, path: {path}}}}}\n"


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A base in one folder, a spec that extends it in another, and a working directory beside both."""
    for name in ("base", "mine", "here"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(f"the text of {name}")
    (tmp_path / "base" / "base.yaml").write_text(MODEL + DATA.format(path="a.txt"))
    (tmp_path / "mine" / "mine.yaml").write_text("extends: ../base/base.yaml\n")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def texts(spec: bp.Spec) -> list[str]:
    assert spec.data is not None
    return [text for _, text in spec.data.source.documents()]


def test_a_path_starts_from_the_file_that_says_it_also_when_that_is_extended(folders: Path) -> None:
    for path in ("../base/base.yaml", "../mine/mine.yaml"):
        assert texts(bp.load(path)) == ["the text of base"]


def test_what_is_said_over_it_starts_where_that_is_said(folders: Path) -> None:
    (folders / "mine" / "other.yaml").write_text("extends: mine.yaml\ndata: {source: {path: [a.txt, ../here/a.txt]}}\n")
    assert texts(bp.load("../mine/other.yaml")) == ["the text of here", "the text of mine"]
    assert texts(bp.load("../mine/other.yaml", ["data.source.path=a.txt"])) == ["the text of here"]


def test_a_path_that_was_put_together_starts_from_the_file_that_puts_it_together(folders: Path) -> None:
    said = "extends: mine.yaml\nname: a\ndata: {source: {path: '${name}.txt'}}\n"
    (folders / "mine" / "other.yaml").write_text(said)
    assert texts(bp.load("../mine/other.yaml")) == ["the text of mine"]


def test_a_text_or_a_dict_is_no_file_and_starts_from_the_working_directory(folders: Path) -> None:
    spec = bp.loads(MODEL + DATA.format(path="a.txt"))
    assert texts(spec) == ["the text of here"]
    assert texts(bp.load(spec.to_plain())) == ["the text of here"]


def test_a_spec_that_was_read_finds_its_files_from_anywhere(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = bp.load("../mine/mine.yaml")
    monkeypatch.chdir("/")
    assert texts(spec) == texts(bp.load(spec.to_plain())) == ["the text of base"]


def test_home_stays_home_and_an_absolute_path_itself(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folders / "here"))
    for path in ("~/a.txt", folders / "here" / "a.txt"):
        assert texts(bp.load("../mine/mine.yaml", [f"data.source.path={path}"])) == ["the text of here"]


def test_a_pattern_is_one_only_where_it_was_said(folders: Path) -> None:
    (folders / "base").rename(folders / "ba[s]e")
    assert texts(bp.load("../ba[s]e/base.yaml")) == ["the text of base"]
    (folders / "ba[s]e" / "base.yaml").write_text(MODEL + DATA.format(path="'*.txt'"))
    assert texts(bp.load("../ba[s]e/base.yaml")) == ["the text of base"]


def test_weights_to_begin_from_are_found_alike(folders: Path) -> None:
    (folders / "mine" / "tuned.yaml").write_text("extends: mine.yaml\nstart: {from: ../base/run}\n")
    begun = bp.load("../mine/tuned.yaml").start
    assert begun is not None
    assert begun.from_ == str(folders / "base" / "run")
    again = bp.load("../mine/tuned.yaml", ["start.from=run"]).start
    assert again is not None
    assert again.from_ == str(folders / "here" / "run")
