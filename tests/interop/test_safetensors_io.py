"""Safetensors files: the library reads what we write, we read what it writes, and what is false is refused by name."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from blueprint.interop.error import CheckpointError
from blueprint.interop.safetensors_io import BITS, ITEM, open_checkpoint, read_header
from blueprint.interop.safetensors_out import Out, ordered, sharded, shards, writer

DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I16": torch.int16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "F32": torch.float32,
    "I64": torch.int64,
    "F64": torch.float64,
}


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    found = {name: torch.randint(0, 2, (3, 5)).to(dtype) for name, dtype in DTYPES.items()}
    found |= {"nan": torch.tensor([float("nan"), -0.0, 1e-45]), "empty": torch.empty(0, 4), "scalar": torch.tensor(2.5)}
    return found | {"größe": torch.randn(7)}


def test_what_the_library_writes_is_read(tmp_path: Path) -> None:
    save_file(tensors(), tmp_path / "model.safetensors", metadata={"format": "pt"})
    found = open_checkpoint(tmp_path)
    assert found.metadata == {"model.safetensors": {"format": "pt"}}
    assert set(found.tensors) == set(tensors())
    for name, tensor in tensors().items():
        stored = found.tensors[name]
        assert (stored.shape, stored.read().tobytes()) == (tuple(tensor.shape), bits(tensor)), name
        assert name not in DTYPES or stored.dtype == name


def test_what_is_written_is_the_librarys_file_byte_for_byte(tmp_path: Path) -> None:
    """From its order and its metadata, a file comes out as it came in."""
    save_file(tensors(), tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    found, metadata = read_header(tmp_path / "theirs.safetensors")
    outs = [Out(each.name, each.dtype, each.shape) for each in found.values()]
    with writer(tmp_path / "ours.safetensors", outs, metadata) as made:
        for n, name in enumerate(reversed(found)):
            if n % 2:
                made.put(name, found[name].read())
            else:
                made.put_stored(name, found[name])
    assert (tmp_path / "ours.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()


def test_shards_are_read_by_the_library_and_by_us(tmp_path: Path) -> None:
    given = {f"t{n}": torch.randn(10, 10).to(torch.bfloat16 if n % 2 else torch.float32) for n in range(9)}
    outs = [Out(name, "BF16" if tensor.dtype == torch.bfloat16 else "F32", (10, 10)) for name, tensor in given.items()]
    files = shards(outs, limit=1000)
    assert next(iter(files)) == f"model-00001-of-{len(files):05}.safetensors"
    with sharded(tmp_path, files) as writers:
        for out in outs:
            writers[out.name].put(out.name, given[out.name].view(getattr(torch, f"int{8 * ITEM[out.dtype]}")).numpy())
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_parameters": 900, "total_size": 5 * 400 + 4 * 200}
    for name, file in index["weight_map"].items():
        assert (tmp_path / file).stat().st_size < 1000 + 400
        with safe_open(tmp_path / file, "pt") as opened:
            assert torch.equal(opened.get_tensor(name), given[name])
            assert opened.metadata() == {"format": "pt"}
    assert set(open_checkpoint(tmp_path).tensors) == set(given)
    assert list(shards(outs)) == ["model.safetensors"]


def test_every_tensor_lies_at_a_multiple_of_its_size(tmp_path: Path) -> None:
    outs = ordered([Out("a", "BOOL", (3,)), Out("b", "BF16", (3,)), Out("c", "F64", (1,)), Out("d", "F32", (3,))])
    with writer(tmp_path / "x.safetensors", outs) as made:
        for out in outs:
            made.put(out.name, np.zeros(out.shape, BITS[ITEM[out.dtype]]))
    for stored in read_header(tmp_path / "x.safetensors")[0].values():
        assert stored.start % ITEM[stored.dtype] == 0
    assert set(load_file(tmp_path / "x.safetensors")) == {"a", "b", "c", "d"}


def test_a_failed_writer_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writer(tmp_path / "x.safetensors", [Out("a", "F32", (1,))]):
        _ = 1 / 0
    with (
        pytest.raises(AssertionError, match="never written"),
        writer(tmp_path / "x.safetensors", [Out("a", "F32", ())]),
    ):
        pass
    assert not list(tmp_path.iterdir())


def file(header: Any, data: int = 8, *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(data)


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no safetensors file"),
        (b"PK\x03\x04 pickled archive", "no safetensors file"),
        (file({"a": F32}, length=1 << 50), "no safetensors file"),
        (file(b"{broken"), "cannot be read"),
        (file(b"[" * 100_000), "cannot be read"),
        (file([]), "the header is no map"),
        (file(b'{"a": {"dtype": "F32"}, "a": {"dtype": "F32"}}'), "a name stands twice"),
        (file({"a": {"dtype": "F32"}}), "does not say shape and place of the tensor a"),
        (file({"a": {**F32, "shape": [-2]}}), "does not say shape and place"),
        (file({"a": {**F32, "shape": [True]}}), "does not say shape and place"),
        (file({"a": {**F32, "data_offsets": [0, 8, 9]}}), "does not say shape and place"),
        (file({"a": {**F32, "shape": [1 << 40]}}), "has 8 bytes"),
        (file({"a": {**F32, "dtype": "F4"}}), "number format 'F4'"),
        (file({"a": F32, "b": F32}), "overlaps another"),
        (file({"a": F32, "b": {**F32, "data_offsets": [12, 20]}}, 20), "leaves a gap"),
        (file({"a": F32}, 4), "cut short"),
        (file({"a": F32}, 80), "longer than its header says"),
        (file({"__metadata__": {"format": 1}, "a": F32}), "no map of text"),
    ],
)
def test_false_files_are_refused_by_name(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(tmp_path)
    assert said in str(caught.value)
    assert str(tmp_path / "model.safetensors") in str(caught.value)


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ({"weight_map": {"a": "../model.safetensors"}}, "no file of this folder"),
        ({"weight_map": {"a": "/etc/passwd"}}, "no file of this folder"),
        ({"weight_map": {"a": "other.safetensors"}}, "other.safetensors is missing"),
        ({"weight_map": {"b": "one.safetensors"}}, "the tensor b should be in one.safetensors"),
        ({"weight_map": ["a"]}, "no `weight_map`"),
        ({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}, "the tensor a is in one.safetensors, too"),
    ],
)
def test_a_false_index_is_refused_by_name(tmp_path: Path, index: Any, said: str) -> None:
    (tmp_path / "one.safetensors").write_bytes(file({"a": F32}))
    (tmp_path / "two.safetensors").write_bytes(file({"a": F32}))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(tmp_path)
    assert said in str(caught.value)


def test_pickled_weights_are_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no weights"):
        open_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="does not exist"):
        open_checkpoint(tmp_path / "no")
    (tmp_path / "pytorch_model.bin").write_bytes(b"anything")
    with pytest.raises(CheckpointError, match="save_pretrained"):
        open_checkpoint(tmp_path)
    for name in "ab":
        (tmp_path / f"{name}.safetensors").write_bytes(file({name: F32}))
    with pytest.raises(CheckpointError, match=r"holds 2 safetensors files \(a.safetensors, b.safetensors\)"):
        open_checkpoint(tmp_path)
