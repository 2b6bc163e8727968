"""Files that are made to hurt: each with the command that is given it, and words that its refusal must have."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL = "model: {type: decoder, d_model: 32, layers: 2, vocab_size: 61, block: {attention: {heads: 4}}}\n"
DEEP = 100_000

#: What a hostile file would make if anything in it were run.
MARK = "executed"


@dataclass(frozen=True)
class Case:
    """A file or folder that `make` puts into a folder, the command line that reads it, and what the refusal says."""

    make: Callable[[Path], None]
    says: str
    command: tuple[str, ...] = ("check", "spec.yaml")
    #: Whether tensors are read, for which torch is imported.
    tensors: bool = False


def text(said: str | bytes, name: str = "spec.yaml") -> Callable[[Path], None]:
    """A maker of one file."""
    data = said if isinstance(said, bytes) else said.encode()
    return lambda folder: (folder / name).write_bytes(data) and None


def files(**said: str | bytes) -> Callable[[Path], None]:
    """A maker of several files, `__` for the dot in their names."""

    def make(folder: Path) -> None:
        for name, each in said.items():
            text(each, name.replace("__", "."))(folder)

    return make


def laughs() -> str:
    """Ten names, each ten times the one before."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    return "\n".join(lines) + "\n"


def merges() -> str:
    """Maps that merge each other, each twice the one before."""
    lines = ["a0: &a0 {k0: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}], k{n}: 1}}" for n in range(1, 9)]
    return "\n".join(lines) + "\n"


def interpolations() -> str:
    """Texts of which each holds the one before ten times."""
    lines = ["name: ${description}", "description: " + "${start.from}" * 10]
    return MODEL + "\n".join(lines) + "\nstart: {from: '" + "${name}" * 10 + "'}\n"


def large(folder: Path) -> None:
    """200 MB of YAML, most of them a hole in the file."""
    with open(folder / "spec.yaml", "wb") as out:
        out.write(MODEL.encode() + b"# ")
        out.truncate(200 << 20)


def pipe(folder: Path) -> None:
    """A pipe that nobody writes to."""
    os.mkfifo(folder / "spec.yaml")


def loop(folder: Path) -> None:
    """A link to itself."""
    (folder / "spec.yaml").symlink_to(folder / "spec.yaml")


def zeros(folder: Path) -> None:
    """A link to what never ends."""
    (folder / "spec.yaml").symlink_to("/dev/zero")


def plugin(folder: Path) -> None:
    """A plugin that nobody allowed."""
    (folder / "mine.py").write_text(f"open({str(folder / MARK)!r}, 'w').close()\n")
    (folder / "spec.yaml").write_text("plugins: [./mine.py]\n" + MODEL)


def safetensors(header: bytes, length: int | None = None, data: bytes = b"") -> bytes:
    """A safetensors file with any header, and any word for its length."""
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def checkpoint(config: str | bytes | None = None, tensors: bytes | None = None) -> Callable[[Path], None]:
    """A maker of a folder as the hub has them, of Llama's family."""
    said = {
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_hidden_layers": 1,
        "vocab_size": 61,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
    }

    def make(folder: Path) -> None:
        text(json.dumps(said) if config is None else config, "config.json")(folder)
        if tensors is not None:
            text(tensors, "model.safetensors")(folder)

    return make


def header(**said: Any) -> bytes:
    """A header of tensors."""
    return json.dumps(said).encode()


class Evil:
    """What runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


def pickled(folder: Path) -> None:
    """A checkpoint that is a pickle which runs something."""
    with zipfile.ZipFile(folder / "step=000001.ckpt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"state_dict": Evil(folder / MARK)}, protocol=2))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")


def bare_pickle(folder: Path) -> None:
    """The same without an archive, as torch wrote them once."""
    (folder / "step=000001.ckpt").write_bytes(pickle.dumps({"state_dict": Evil(folder / MARK)}))


def zip_bomb(folder: Path) -> None:
    """An archive of which a part grows a thousandfold."""
    archive = zipfile.ZipFile(folder / "step=000001.ckpt", "w", zipfile.ZIP_DEFLATED)
    # Bit by bit, as what a test holds is counted with its processes.
    with archive, archive.open("archive/data.pkl", "w") as part:
        for _ in range(400):
            part.write(b"\x00" * (1 << 20))


IMPORT = ("import", ".", "-o", "out")
LOAD = ("generate", "step=000001.ckpt", "--prompt", "a")
TENSOR = {"dtype": "F32", "shape": [61, 32], "data_offsets": [0, 61 * 32 * 4]}

CASES: dict[str, Case] = {
    # Specs
    "alias bomb": Case(text(laughs() + MODEL), "alias"),
    "merge-key bomb": Case(text(merges() + MODEL), ""),
    "deep flow": Case(text("model: " + "[" * DEEP + "]" * DEEP), "deep"),
    "deep flow maps": Case(text("{a: " * DEEP + "}" * DEEP), "deep"),
    "deep blocks": Case(text("\n".join(" " * n + "a:" for n in range(2000))), "deep"),
    "200 MB": Case(large, "at most 10 MB"),
    "python object": Case(text(f"model: !!python/object/apply:os.system ['touch {MARK}']\n"), "tag"),
    "python name": Case(text("model: !!python/name:os.system\n"), "tag"),
    "unknown tag": Case(text("model: !ours {type: decoder}\n"), "tag"),
    "extends itself": Case(text("extends: spec.yaml\n" + MODEL), "spec.yaml"),
    "extends in a circle": Case(files(spec__yaml="extends: b.yaml\n", b__yaml="extends: spec.yaml\n"), "b.yaml"),
    "extends elsewhere": Case(text("extends: ../../../../../../../../etc/passwd\n" + MODEL), "passwd"),
    "extends a folder": Case(lambda f: (f / "d").mkdir() or text("extends: d\n" + MODEL)(f), "d"),
    "extends an address": Case(text("extends: https://example.org/x.yaml\n" + MODEL), "example.org"),
    "extends a device": Case(text("extends: /dev/zero\n" + MODEL), "zero"),
    "a folder": Case(lambda f: (f / "spec.yaml").mkdir(), "spec.yaml"),
    "a pipe": Case(pipe, "spec.yaml"),
    "a link to itself": Case(loop, "spec.yaml"),
    "a device": Case(zeros, "spec.yaml"),
    "nothing": Case(lambda f: None, "spec.yaml"),
    "empty": Case(text(""), "model"),
    "comments alone": Case(text("# nothing\n"), "model"),
    "a list": Case(text("- a\n- b\n"), "map"),
    "a word": Case(text("decoder\n"), "map"),
    "not UTF-8": Case(text(b"model: \xff\xfe\xfa\n"), "UTF-8"),
    "UTF-16": Case(text(MODEL.encode("utf-16")), "UTF-8"),
    "NUL": Case(text("model: a\x00b\n"), ""),
    "control characters": Case(text("model: a\x07\x1b[31mb\n"), ""),
    "a key twice": Case(text(MODEL + MODEL), "twice"),
    "two documents": Case(text(MODEL + "---\n" + MODEL), "document"),
    "a number of 5,000 digits": Case(text(MODEL.replace("32", "9" * 5000)), "d_model"),
    "a hexadecimal number of 5,000 digits": Case(text(MODEL.replace("32", "0x" + "f" * 5000)), "d_model"),
    "no number": Case(text(MODEL + "optimizer: {type: adamw, lr: .nan}\n"), "lr"),
    "an infinite number": Case(text(MODEL + "optimizer: {type: adamw, lr: .inf}\n"), "lr"),
    "interpolation in a circle": Case(text(interpolations()), "name"),
    "interpolation of the environment": Case(text(MODEL + "name: ${oc.env:HOME}\n"), "oc.env"),
    "interpolation of code": Case(text(MODEL + "name: ${eval:1+1}\n"), "eval"),
    "a tower of powers": Case(text(MODEL.replace("heads: 4", "heads: 4, scale: '9**9**9**9'")), "scale"),
    "deep parentheses": Case(text(MODEL.replace("heads: 4", f"heads: 4, scale: '{'(' * DEEP}1{')' * DEEP}'")), "scale"),
    "code for a number": Case(text(MODEL.replace("heads: 4", "heads: 4, scale: '__import__(\"os\")'")), "scale"),
    "a plugin not allowed": Case(plugin, "plugin"),
    "a module for a plugin": Case(text("plugins: [antigravity]\n" + MODEL), "plugin"),
    "a billion layers": Case(text(MODEL.replace("layers: 2", "layers: 1000000000")), "layers"),
    "a pattern of a million": Case(
        text(MODEL.replace("layers: 2", f"layers: 2, pattern: [{'block, ' * 999_999}block]")), ""
    ),
    "a hundred thousand unknown keys": Case(
        text(MODEL + "".join(f"key{n}: 1\n" for n in range(100_000))), "at most 200,000 values"
    ),
    "a key of a megabyte": Case(text(MODEL + "k" * (1 << 20) + ": 1\n"), ""),
    "an override that is code": Case(text(MODEL), "tag", ("check", "spec.yaml", "name=!!python/name:os.system")),
    "an override that is deep": Case(text(MODEL), "deep", ("check", "spec.yaml", "name=" + "[" * 5000)),
    # Checkpoints of the hub
    "config that is no JSON": Case(checkpoint("model_type: llama"), "config.json", IMPORT),
    "config that is a list": Case(checkpoint("[1, 2]"), "config.json", IMPORT),
    "config that is deep": Case(checkpoint('{"model_type": ' + "[" * DEEP + "]" * DEEP + "}"), "config.json", IMPORT),
    "config of nobody": Case(checkpoint('{"model_type": "../../evil"}'), "evil", IMPORT),
    "config that is not UTF-8": Case(checkpoint(b'{"model_type": "\xff"}'), "config.json", IMPORT),
    "header longer than the file": Case(checkpoint(tensors=safetensors(b"{}", 1 << 40)), "model.safetensors", IMPORT),
    "header that is no JSON": Case(checkpoint(tensors=safetensors(b"{" * 64)), "model.safetensors", IMPORT),
    "header that is deep": Case(
        checkpoint(tensors=safetensors(b'{"a":' * DEEP + b"1" + b"}" * DEEP)), "model.safetensors", IMPORT
    ),
    "tensor past the end": Case(
        checkpoint(tensors=safetensors(header(**{"model.embed_tokens.weight": TENSOR}))), "model.safetensors", IMPORT
    ),
    "tensor of a lie": Case(
        checkpoint(
            tensors=safetensors(
                header(**{"model.embed_tokens.weight": {**TENSOR, "shape": [1 << 40, 1 << 40]}}), data=b"0" * 7808
            )
        ),
        "model.safetensors",
        IMPORT,
    ),
    "tensor before the beginning": Case(
        checkpoint(tensors=safetensors(header(a={**TENSOR, "data_offsets": [-8, 7800]}), data=b"0" * 7808)),
        "model.safetensors",
        IMPORT,
    ),
    "tensor of no type": Case(
        checkpoint(tensors=safetensors(header(a={**TENSOR, "dtype": "F7"}), data=b"0" * 7808)),
        "model.safetensors",
        IMPORT,
    ),
    "empty tensors": Case(checkpoint(tensors=b""), "model.safetensors", IMPORT),
    "an index that leads elsewhere": Case(
        lambda f: (
            checkpoint()(f)
            or text(
                json.dumps({"weight_map": {"model.embed_tokens.weight": "../../../../etc/passwd"}}),
                "model.safetensors.index.json",
            )(f)
        ),
        "passwd",
        IMPORT,
    ),
    "a family that runs away": Case(
        lambda f: (
            checkpoint()(f)
            or text("match: {model_type: llama}\nmodel: " + "${" * 5000 + "}" * 5000 + "\n", "f.yaml")(f)
        ),
        "f.yaml",
        (*IMPORT, "--family", "f.yaml"),
    ),
    # Checkpoints of ours
    "a pickle in a checkpoint": Case(pickled, "step=000001.ckpt", LOAD, tensors=True),
    "a pickle for a checkpoint": Case(bare_pickle, "step=000001.ckpt", LOAD, tensors=True),
    "a bomb in a checkpoint": Case(zip_bomb, "compressed", LOAD, tensors=True),
    "an empty checkpoint": Case(text(b"", "step=000001.ckpt"), "empty", LOAD, tensors=True),
    "a checkpoint cut short": Case(
        text(b"PK\x03\x04" + b"0" * 100, "step=000001.ckpt"), "step=000001.ckpt", LOAD, tensors=True
    ),
}
