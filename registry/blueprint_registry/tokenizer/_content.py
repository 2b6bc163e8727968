"""What a `tokenizer.json` says, read without the library that runs it.

Legend: V vocabulary.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blueprint.component import NotKnown

#: What special tokens are called in the files that are about, the commonest first.
NAMES: dict[str, tuple[str, ...]] = {
    "pad": ("[PAD]", "<pad>", "<|pad|>", "<PAD>"),
    "mask": ("[MASK]", "<mask>", "<|mask|>"),
    "cls": ("[CLS]", "<cls>", "<s>"),
    "sep": ("[SEP]", "<sep>", "</s>"),
    "bos": ("[BOS]", "<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>"),
    "eos": ("[EOS]", "</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>"),
    "unk": ("[UNK]", "<unk>", "<|unk|>"),
}


class BadFile(NotKnown, ValueError):
    """A file that is missing, or that is no `tokenizer.json`; the text says which and why.

    What else is said of the tokenizer cannot be judged then.
    """


@dataclass(frozen=True)
class Content:
    """A whole file: `text` as it lies there, `said` what it says."""

    text: str
    said: Mapping[str, Any]

    @cached_property
    def fingerprint(self) -> str:
        """A hash of what decides the ids: order of keys, spaces, and lengths to cut and pad to, which are the model's
        affair, change nothing."""
        kept = {key: value for key, value in self.said.items() if key not in ("truncation", "padding")}
        data = json.dumps(kept, sort_keys=True, separators=(",", ":")).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, digest_size=16).hexdigest()

    @cached_property
    def ids(self) -> dict[str, int]:
        """Every token's id; what was added to the vocabulary has the last word."""
        vocab = self.said["model"].get("vocab", {})
        if isinstance(vocab, list):  # with a score each
            vocab = {entry[0] if isinstance(entry, list) else entry: number for number, entry in enumerate(vocab)}
        return {**vocab, **{each["content"]: each["id"] for each in self._added}}

    @property
    def _added(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.said.get("added_tokens") or []
        return found

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return max(self.ids.values()) + 1

    def special(self, role: str) -> int | None:
        """The id of the special token of a role (`pad`, `mask`, …) as it is usually called, or None."""
        said = {each["content"]: each["id"] for each in self._added if each.get("special")}
        unknown = self.said["model"].get("unk_token") if role == "unk" else None
        if isinstance(unknown, str) and unknown in self.ids:
            return self.ids[unknown]
        return next((said[name] for name in NAMES[role] if name in said), None)

    @property
    def special_ids(self) -> set[int]:
        """The ids of all tokens that the file calls special."""
        return {each["id"] for each in self._added if each.get("special")}

    @cached_property
    def begins_V(self) -> NDArray[np.bool_] | None:
        """(V,) whether a token begins a word, or None where tokens bear no mark of it.

        WordPiece marks what continues a word (`##`), byte-level and SentencePiece files the space before it (`Ġ`, `▁`).
        """
        continues = self.said["model"].get("continuing_subword_prefix")
        steps = [self.said.get("pre_tokenizer") or {}, self.said.get("decoder") or {}]
        steps += [each for step in steps for key in ("pretokenizers", "decoders") for each in step.get(key, [])]
        types = {step.get("type") for step in steps}
        spaces = ("Ġ", "Ċ", "ĉ") if "ByteLevel" in types else ("▁", "\n", "\t") if "Metaspace" in types else ()
        if not continues and not spaces:
            return None
        begins_V = np.ones(self.vocab_size, dtype=np.bool_)
        for token, number in self.ids.items():
            begins_V[number] = token.startswith(spaces) if spaces else not token.startswith(continues)
        begins_V[list(self.special_ids)] = True
        return begins_V


def content(path: str) -> Content:
    """What the file at `path` says, read once while it stays the same; raises `BadFile`."""
    file = Path(path).expanduser()
    try:
        if file.is_dir():
            inside = " (say `tokenizer.json` in it)" if (file / "tokenizer.json").is_file() else ""
            raise BadFile(f"{path} is a folder, not a file{inside}")
        stat = file.stat()
        return _content(str(file), stat.st_mtime_ns, stat.st_size)
    except FileNotFoundError as error:
        raise BadFile(f"{path} does not exist") from error
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}") from error


@lru_cache(maxsize=8)
def _content(path: str, _changed: int, _size: int) -> Content:
    text = Path(path).read_bytes()
    if path.endswith(".model"):
        return _of_sentencepiece(path, text)
    try:
        said = json.loads(text)
    except ValueError as error:
        raise BadFile(f"{path} is no tokenizer.json: it is not JSON ({error})") from error
    model = said.get("model") if isinstance(said, dict) else None
    if not isinstance(model, dict) or not model.get("vocab"):
        raise BadFile(
            f"{path} is no tokenizer.json: it has no `model` with a `vocab`, as the tokenizers library writes"
        )
    found = Content(text.decode(), said)
    try:
        if found.vocab_size > 0 and found.special_ids is not None:
            return found
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        raise BadFile(
            f"{path} is no tokenizer.json: its tokens are not as the tokenizers library writes them"
        ) from error
    raise BadFile(f"{path} has no token")


def _of_sentencepiece(path: str, data: bytes) -> Content:
    from blueprint_registry.tokenizer._sentencepiece import sentencepiece

    try:
        said = sentencepiece(data)
    except (ValueError, KeyError, TypeError) as error:
        raise BadFile(f"{path} is no SentencePiece file that can be read: {error}") from error
    return Content(json.dumps(said, ensure_ascii=False), said)
