"""A checkpoint is whole or it is known to be broken; reading one never runs code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blueprint.training import checkpoint
from blueprint.training.error import RestoreError

CONTENT = {"state_dict": {"model.w": torch.arange(2000.0)}, "blueprint": {"spec": {"name": "x", "list": [1, None]}}}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoints") / checkpoint.name(7)
    checkpoint.write(path, CONTENT)
    return path


def test_what_was_written_is_read_back(written: Path) -> None:
    found = checkpoint.read(written)
    assert found["blueprint"] == CONTENT["blueprint"]
    assert torch.equal(found["state_dict"]["model.w"], torch.arange(2000.0))
    assert checkpoint.step_of(written) == 7
    assert not [path for path in written.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("beside", [True, False], ids=["with its checksum", "moved alone"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.9999))
def test_a_file_cut_short_is_refused(beside: bool, share: float, written: Path, tmp_path: Path) -> None:
    path = tmp_path / written.name
    data = written.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    if beside:
        checkpoint.sidecar(path).write_bytes(checkpoint.sidecar(written).read_bytes())
    assert checkpoint.damage(path)
    with pytest.raises(RestoreError, match=path.name):
        checkpoint.read(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_single_bit_that_flipped_is_found(data: st.DataObject, written: Path, tmp_path: Path) -> None:
    path, content = tmp_path / written.name, bytearray(written.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    checkpoint.sidecar(path).write_bytes(checkpoint.sidecar(written).read_bytes())
    assert checkpoint.damage(path) == "its content does not match its checksum"


def test_a_flipped_weight_is_found_without_the_checksum_file(written: Path, tmp_path: Path) -> None:
    path, content = tmp_path / written.name, bytearray(written.read_bytes())
    content[content.index(torch.arange(2000.0).numpy().tobytes()) + 100] ^= 1
    path.write_bytes(content)
    assert "does not match its checksum" in (checkpoint.damage(path) or "")


def test_the_newest_whole_one_is_taken_and_damaged_ones_are_named(tmp_path: Path) -> None:
    for step in (1, 2, 10, 9):
        checkpoint.write(tmp_path / checkpoint.name(step), CONTENT)
    assert checkpoint.newest_whole(tmp_path) == (tmp_path / checkpoint.name(10), {})
    for step in (10, 9):
        os.truncate(tmp_path / checkpoint.name(step), 100)
    newest, damaged = checkpoint.newest_whole(tmp_path)
    assert newest == tmp_path / checkpoint.name(2)
    assert list(damaged) == [tmp_path / checkpoint.name(10), tmp_path / checkpoint.name(9)]


def test_a_crash_while_a_checkpoint_is_replaced_leaves_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / checkpoint.name(1)
    checkpoint.write(path, CONTENT)
    replace, count = os.replace, 0

    def dying(source: object, target: object) -> None:
        nonlocal count
        count += 1
        if count == crash:
            raise KeyboardInterrupt
        replace(source, target)  # type: ignore[arg-type]

    for crash in (1, 2, 3):
        count = 0
        monkeypatch.setattr(os, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.write(path, {**CONTENT, "more": torch.ones(crash)})
        monkeypatch.setattr(os, "replace", replace)
        assert checkpoint.damage(path) is None, f"crash at rename {crash}"
        checkpoint.read(path)


def test_only_the_newest_are_kept_and_nothing_half_written(tmp_path: Path) -> None:
    for step in (100, 200, 1000):
        checkpoint.write(tmp_path / checkpoint.name(step), CONTENT)
    (tmp_path / ".0123456789ab.step=000300.ckpt").write_bytes(b"half")
    (tmp_path / "step=000050.ckpt.sha256").write_text("of a file that never came")
    (tmp_path / "notes.txt").write_text("the user's own")
    checkpoint.prune(tmp_path, 2)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["notes.txt", *(f"step={n}.ckpt{end}" for n in ("000200", "001000") for end in ("", ".sha256"))]


class Exploit:
    """What an attacker would hide in a checkpoint."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("/tmp/blueprint-must-not-exist",)


@pytest.mark.parametrize("form", ["torch", "plain pickle"])
def test_code_in_a_checkpoint_is_refused_and_never_runs(form: str, tmp_path: Path) -> None:
    path = tmp_path / "evil.ckpt"
    content = {"state_dict": {}, "blueprint": {"spec": Exploit()}}
    if form == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(RestoreError, match=r"could run code|no checkpoint at all"):
        checkpoint.read(path)
    assert not Path("/tmp/blueprint-must-not-exist").exists()


def test_a_checkpoint_that_is_a_folder_is_told_and_goes_when_it_is_old(tmp_path: Path) -> None:
    """As DeepSpeed writes them."""
    for step in (1, 2, 3):
        (tmp_path / checkpoint.name(step) / "checkpoint").mkdir(parents=True)
    newest, damaged = checkpoint.newest_whole(tmp_path)
    assert newest is None and all("DeepSpeed" in why for why in damaged.values())
    checkpoint.prune(tmp_path, 2)
    assert [path.name for path in checkpoint.listing(tmp_path)] == [checkpoint.name(2), checkpoint.name(3)]
