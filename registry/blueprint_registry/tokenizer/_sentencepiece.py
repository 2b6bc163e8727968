"""SentencePiece's own files, said as a `tokenizer.json` says the same; no library is needed to read them.

The file is a protocol buffer (https://protobuf.dev/programming-guides/encoding), its fields those of SentencePiece's
`sentencepiece_model.proto` (Kudo & Richardson, 2018).
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import Any

_MARK = "▁"
#: Numbers of the fields that are read.
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE, _SCORE, _TYPE = 1, 2, 3
_MODEL_TYPE, _SUFFIX, _BYTES = 3, 24, 35
_CHARS_MAP, _DUMMY_PREFIX, _REMOVE_SPACES, _ESCAPE_SPACES = 2, 3, 4, 5
#: Kinds of pieces: unknown and control tokens are special, the user's are found in a text before anything else.
_NORMAL, _UNKNOWN, _CONTROL, _USER = 1, 2, 3, 4
#: Kinds of models, by their number.
_MODELS = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}


def sentencepiece(data: bytes) -> dict[str, Any]:
    """The content of a `tokenizer.json` that gives the ids a SentencePiece file gives.

    Raises ValueError for what is no such file, or is of a kind that the tokenizers library has not.
    """
    pieces: list[tuple[str, float, int]] = []
    trainer: dict[int, Any] = {}
    normalizer: dict[int, Any] = {}
    for number, value in _fields(data):
        if number == _PIECES:
            piece = dict(_fields(_bytes(value)))
            pieces.append((_bytes(piece[_PIECE]).decode(), _float(piece.get(_SCORE)), piece.get(_TYPE, _NORMAL)))
        elif number == _TRAINER:
            trainer = dict(_fields(_bytes(value)))
        elif number == _NORMALIZER:
            normalizer = dict(_fields(_bytes(value)))
    kind = _MODELS.get(trainer.get(_MODEL_TYPE, 1), "unknown")
    if not pieces:
        raise ValueError("it has no pieces")
    if kind not in _MAKE or trainer.get(_SUFFIX, 0) or not normalizer.get(_ESCAPE_SPACES, 1):
        what = f"of the kind `{kind}`" if kind not in _MAKE else "one that marks spaces in another way"
        raise ValueError(f"it is {what}; unigram and bpe that mark the space before a word are read")
    falls_back = bool(trainer.get(_BYTES, 0))
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(i, piece, type_) for i, (piece, _, type_) in enumerate(pieces) if type_ in _ADDED],
        "normalizer": {"type": "Sequence", "normalizers": list(_normalizers(normalizer))},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": _decoder(falls_back, bool(normalizer.get(_DUMMY_PREFIX, 1))),
        "model": _MAKE[kind](pieces, falls_back),
    }


_ADDED = (_UNKNOWN, _CONTROL, _USER)


def _added(number: int, piece: str, type_: int) -> dict[str, Any]:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": number, "content": piece, **plain, "special": type_ != _USER}


def _normalizers(said: dict[int, Any]) -> Iterator[dict[str, Any]]:
    if said.get(_CHARS_MAP):
        yield {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(said[_CHARS_MAP]).decode()}
    if said.get(_REMOVE_SPACES, 1):
        # Only spaces: what other white space becomes, the map says.
        yield {"type": "Replace", "pattern": {"Regex": "^ +| +$"}, "content": ""}
        yield {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    if said.get(_DUMMY_PREFIX, 1):
        yield {"type": "Prepend", "prepend": _MARK}
    yield {"type": "Replace", "pattern": {"String": " "}, "content": _MARK}


def _decoder(falls_back: bool, prefix: bool) -> dict[str, Any]:
    marks = {"type": "Metaspace", "replacement": _MARK, "prepend_scheme": "always" if prefix else "never"}
    steps = [{"type": "ByteFallback"}] if falls_back else []
    return {"type": "Sequence", "decoders": [*steps, {**marks, "split": True}]}


def _unigram(pieces: list[tuple[str, float, int]], falls_back: bool) -> dict[str, Any]:
    vocab = [[piece, score] for piece, score, _ in pieces]
    unknown = next((i for i, (*_, type_) in enumerate(pieces) if type_ == _UNKNOWN), None)
    return {"type": "Unigram", "unk_id": unknown, "vocab": vocab, "byte_fallback": falls_back}


def _bpe(pieces: list[tuple[str, float, int]], falls_back: bool) -> dict[str, Any]:
    """Of two neighbours those are joined first whose whole has the best score: pairs in that order."""
    vocab = {piece: number for number, (piece, _, _) in enumerate(pieces)}
    joined = {piece: score for piece, score, type_ in pieces if type_ == _NORMAL}
    merges = [
        (-score, vocab[piece[:n]], vocab[piece[n:]], piece[:n], piece[n:])
        for piece, score in joined.items()
        for n in range(1, len(piece))
        if piece[:n] in joined and piece[n:] in joined
    ]
    unknown = next((piece for piece, _, type_ in pieces if type_ == _UNKNOWN), None)
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unknown,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": falls_back,
        "ignore_merges": False,
        "vocab": vocab,
        "merges": [[left, right] for *_, left, right in sorted(merges)],
    }


_MAKE = {"unigram": _unigram, "bpe": _bpe}


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of every field of a message: whole numbers, or bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, form = key >> 3, key & 7
        if form == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if form == 2:
            size, at = _varint(data, at)
        elif form in (1, 5):
            size = 8 if form == 1 else 4
        else:
            raise ValueError("it is no message of fields")
        if at + size > len(data):
            raise ValueError("it is cut short")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A whole number written in groups of seven bits, and where it ends."""
    value = shift = 0
    while at < len(data) and shift < 64:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 0x80:
            return value, at
    raise ValueError("it is cut short")


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("its fields are not those of such a file")
    return value


def _float(value: Any) -> float:
    return float(struct.unpack("<f", _bytes(value))[0]) if value is not None else 0.0
