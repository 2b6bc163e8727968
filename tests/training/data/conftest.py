"""A byte tokenizer, made-up documents, and token folders built of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blueprint.training.data.build import build
from blueprint.training.data.store import Tokens


@dataclass
class Bytes:
    """The UTF-8 bytes of a text are its ids; an end token comes after them, if there is one."""

    eos_id: int | None = 256
    vocab_size: int = 257

    @property
    def fingerprint(self) -> str:
        return "bytes"

    def encode(self, text: str) -> NDArray[Any]:
        return np.frombuffer(text.encode(), dtype=np.uint8)


def made_up(count: int, seed: int = 0, longest: int = 60) -> list[tuple[str, str]]:
    """`count` different documents of letters, from one to `longest` of them and more."""
    chance = random.Random(seed)
    return [(f"d{i}", f"{i}" + "".join(chance.choices("abcdeé ", k=chance.randint(0, longest)))) for i in range(count)]


class Watched:
    """Documents that count how often they are read, and that may carry a fingerprint."""

    def __init__(self, documents: list[tuple[str, str]]) -> None:
        self.documents, self.reads = documents, 0

    def __iter__(self) -> Iterator[tuple[str, str]]:
        self.reads += 1
        return iter(self.documents)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Tokens]:
    """Build token files of documents in a cache of the test's own."""

    def make(documents: Any, tokenizer: Any = None, **settings: Any) -> Tokens:
        settings = {
            "source": "made-up text",
            "cache": tmp_path / "cache",
            "progress": False,
            "validation": 0.3,
        } | settings
        return build(documents, tokenizer or Bytes(), **settings)

    return make


@pytest.fixture
def documents() -> list[tuple[str, str]]:
    return made_up(80)


@pytest.fixture
def tokens(make: Callable[..., Tokens], documents: list[tuple[str, str]]) -> Tokens:
    return make(documents)


@pytest.fixture
def byte_tokenizer() -> type[Bytes]:
    return Bytes


@pytest.fixture
def watched() -> type[Watched]:
    return Watched


@pytest.fixture
def invent() -> Callable[..., list[tuple[str, str]]]:
    return made_up
