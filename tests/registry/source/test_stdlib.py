"""The standard library's source."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from blueprint_registry.source.stdlib import Stdlib


def test_it_holds_the_modules_everyone_knows_and_no_tests() -> None:
    text = dict(Stdlib().documents())
    assert "class ArgumentParser" in text["argparse.py"]
    assert "class JSONEncoder" in text["json/encoder.py"]
    assert not [name for name in text if "site-packages" in name or {"test", "tests"} & set(Path(name).parts)]
    assert sum(map(len, text.values())) > 2_000_000
    assert list(text) == sorted(text)


def test_it_is_the_same_each_time() -> None:
    first = list(itertools.islice(Stdlib().documents(), 5))
    assert first == list(itertools.islice(Stdlib().documents(), 5))
    assert Stdlib().fingerprint() == Stdlib().fingerprint()


def test_files_that_are_not_text_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good.py").write_text("x = 1\n")
    (tmp_path / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\nx = '\xe9'\n")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "test_good.py").write_text("y = 1\n")
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert list(Stdlib().documents()) == [("good.py", "x = 1\n")]


def test_a_python_without_source_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(ValueError, match="no Python source"):
        list(Stdlib().documents())
