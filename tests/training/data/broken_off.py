"""Prepares data so slowly that it can be killed on the way: `python broken_off.py WHAT CACHE LOG`.

LOG gets a line for every document that is worked on: the process, and the document.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from blueprint.component import register
from blueprint.kinds import Document, Stage
from blueprint.training.data import build, pool, prepare
from blueprint.training.data.journal import Journal
from blueprint_registry.stage.exact_duplicates import ExactDuplicates

WHAT, CACHE, LOG = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
COUNT = 120
DRAWN = random.Random(0)
TEXTS = [f"{n:04d} " + " ".join(DRAWN.choices(("spec", "model", "run"), k=100)) for n in range(COUNT)]


def work(text: str) -> None:
    """A hundredth of a second of it."""
    with open(LOG, "a") as file:
        file.write(f"{os.getpid()} {text[:4]}\n")
    time.sleep(0.01)


class Bytes:
    """The bytes of a text."""

    vocab_size, eos_id, fingerprint = 257, 256, "bytes"

    def encode(self, text: str) -> Any:
        """Slowly."""
        work(text)
        return np.frombuffer(text.encode(), dtype=np.uint8)


@register("slow")
class Slow(Stage):
    """Capital letters."""

    def each(self, document: Document, lot: str) -> Iterator[Document]:
        """Slowly."""
        work(document.texts[0])
        yield replace(document, texts=(document.texts[0].upper(),))


@register("slow_to_compare")
class SlowToCompare(ExactDuplicates):
    """Each text once."""

    def sketch(self, document: Document) -> bytes:
        """Slowly."""
        work(document.texts[0])
        return super().sketch(document)


def main() -> None:
    """Few documents at once, and everything that is done is noted."""
    build._BATCH = prepare._BATCH = 2000
    pool._START = pool._WAY = 0.0
    pool.available = lambda: 2
    Journal.EVERY = 0.0
    names = [f"d{number}" for number in range(COUNT)]
    said: dict[str, Any] = {"source": "made-up text", "cache": CACHE, "progress": False}
    if WHAT == "tokens":
        build.build(list(zip(names, TEXTS, strict=True)), Bytes(), validation=0.3, **said)
        return
    stages = [Slow(), ExactDuplicates()] if WHAT == "each" else [SlowToCompare()]
    documents = [Document(name, (text,)) for name, text in zip(names, TEXTS, strict=True)]
    prepare.prepare(lambda: iter(documents), stages, fingerprint="one", seed=0, **said)


if __name__ == "__main__":
    main()
