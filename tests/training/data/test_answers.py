"""Answers are asked for once, lie on disk row by row, and are whole or not there."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blueprint.training.data.answers import Answers, keep
from blueprint.training.data.error import DataError

ROWS = {"soft": np.arange(30, dtype=np.float16).reshape(10, 3), "soft_of": np.arange(20, dtype=np.int32).reshape(10, 2)}


class Asked:
    """Gives the rows in batches of four, and counts how often it is asked."""

    def __init__(self, fails: bool = False) -> None:
        self.times, self.fails = 0, fails

    def __call__(self) -> Iterator[dict[str, Any]]:
        self.times += 1
        for start in range(0, 10, 4):
            if start and self.fails:
                raise RuntimeError("the power is gone")
            yield {name: rows[start : start + 4] for name, rows in ROWS.items()}


def kept(cache: Path, asked: Asked, **settings: Any) -> Answers:
    return keep(asked, 10, settings, cache=cache, progress=False)


def test_every_samples_answers_come_back_and_are_asked_for_once(tmp_path: Path) -> None:
    asked = Asked()
    found = [kept(tmp_path, asked, teacher="a"), kept(tmp_path, asked, teacher="a")]
    assert asked.times == 1
    for answers in (*found, pickle.loads(pickle.dumps(found[0]))):
        for n in (0, 7, 9):
            assert {name: (each.tolist(), each.dtype) for name, each in answers(n).items()} == {
                name: (rows[n].tolist(), rows.dtype) for name, rows in ROWS.items()
            }
    kept(tmp_path, asked, teacher="b")
    assert asked.times == 2


def test_half_of_them_are_none(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        kept(tmp_path, Asked(fails=True))
    assert not [path for path in (tmp_path / "answers").iterdir() if path.is_dir()]
    asked = Asked()
    whole = kept(tmp_path, asked).folder
    (whole / "soft.bin").write_bytes(b"short")
    with pytest.raises(DataError, match="soft is cut short"):
        Answers(whole)
    assert kept(tmp_path, asked)(3)["soft"].tolist() == [9, 10, 11]
    assert asked.times == 2
    shutil.rmtree(whole)
    with pytest.raises(DataError, match="not a whole folder"):
        Answers(whole)


def test_what_finds_no_room_is_told_before_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1))  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"the answers take 0\.0 GB, of which .* has 0\.0 left"):
        kept(tmp_path, Asked())
