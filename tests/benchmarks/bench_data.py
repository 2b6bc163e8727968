"""Text to packed samples: how fast beside the tokenizers library's own batches of the same text, on the same cores.

Text is the standard library's source, several times. In turn: the library's `encode_batch` and `encode_batch_fast` of
all documents at once, which leave ids nowhere; `build`, from texts in memory to synced token files, documents end to
end, which is all that packing needs; and every sample of an epoch cut from them, as a loader does. Ratios are medians
of pairs, of rates, to the faster of the library's two; that of the processors' time, of all processes, is told beside
that of the clock's, for on a busy machine the clock tells little.

    python tests/benchmarks/bench_data.py [--repeats 5] [--vocabulary 8192] [--length 256] [--copies 3] [--json]

`--waiting` also runs a few steps of the shipped recipes and prints the share of their time that waited for data.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blueprint as bp
from blueprint.kinds import Tokenizer
from blueprint.registry import member
from blueprint.training.data.build import build
from blueprint.training.data.packing import Continuous
from blueprint.training.data.pool import available

TARGET, MOST = 0.9, 0.02
TOKENIZERS = ("byte_bpe", "wordpiece")
ROOT = Path(__file__).resolve().parents[2]
RECIPES = {"specs/quickstart.yaml": 30, "specs/recipes/masked.yaml": 60}


def seconds(run: Callable[[], Any]) -> tuple[float, float]:
    """How long it takes, and how much of the processors' time."""
    before, began = os.times(), time.perf_counter()
    run()
    took, after = time.perf_counter() - began, os.times()
    return took, sum(after[:4]) - sum(before[:4])


def measure(name: str, repeats: int, vocabulary: int, length: int, copies: int) -> dict[str, float]:
    """Rates in megabytes of text a second, and the ratios to the library's."""
    found = list(member("source", "stdlib")().documents())
    documents = [(f"{name} {number}", f"{text}# {number}\n") for number in range(copies) for name, text in found]
    texts = [text for _, text in documents]
    size = sum(len(text.encode()) for text in texts) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        said = {"type": name, "vocab_size": vocabulary}
        path.write_text(Tokenizer.of(said).train(texts))
        tokenizer = Tokenizer.of({**said, "path": str(path)})
        library = tokenizer.runner()
        tokens: list[Any] = []

        def ours() -> None:
            cache = Path(tempfile.mkdtemp(dir=folder))
            tokens.append(build(documents, tokenizer, source="text", cache=cache, progress=False))

        def cut() -> None:
            packing, train = Continuous(length), tokens[-1].train
            for number in range(packing.count(train)):
                packing.sample(train, number)

        runs = {
            "encode_batch": lambda: library.encode_batch(texts),
            "encode_batch_fast": lambda: library.encode_batch_fast(texts),
            "build": ours,
            "samples": cut,
        }
        taken: dict[str, list[float]] = {each: [] for each in runs}
        worked: dict[str, list[float]] = {each: [] for each in runs}
        for number in range(repeats + 1):
            for each, run in runs.items():
                one, work = seconds(run)
                if number:  # the first is to warm up
                    taken[each].append(one)
                    worked[each].append(work)
    rates = {f"{each}_mb_per_second": size / statistics.median(times) for each, times in taken.items()}
    work = [min(pair) for pair in zip(worked["encode_batch"], worked["encode_batch_fast"], strict=True)]
    theirs = [min(pair) for pair in zip(taken["encode_batch"], taken["encode_batch_fast"], strict=True)]
    whole = [sum(pair) for pair in zip(taken["build"], taken["samples"], strict=True)]
    return {
        "megabytes": size,
        **rates,
        "ratio": statistics.median(a / b for a, b in zip(theirs, taken["build"], strict=True)),
        "ratio_of_processors": statistics.median(a / b for a, b in zip(work, worked["build"], strict=True)),
        "ratio_with_samples": statistics.median(a / b for a, b in zip(theirs, whole, strict=True)),
    }


def waiting(path: str, steps: int) -> float:
    """The share of a short run of a spec that its steps waited for data."""
    short = [f"trainer.max_steps={steps}", "trainer.val_check_interval=null", "trainer.accelerator=cpu", "sample=null"]
    with tempfile.TemporaryDirectory() as folder:
        run = bp.fit(bp.load(ROOT / path, overrides=short), Path(folder) / "run", progress=False)
        return float(run.summary["data_wait"])


def main() -> int:
    """Print the figures; 1 where one misses its target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--copies", type=int, default=3)
    parser.add_argument("--tokenizers", nargs="*", default=TOKENIZERS)
    parser.add_argument("--waiting", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {
        name: measure(name, arguments.repeats, arguments.vocabulary, arguments.length, arguments.copies)
        for name in arguments.tokenizers
    }
    waits = {path: waiting(path, steps) for path, steps in RECIPES.items()} if arguments.waiting else {}
    missed = any(found["ratio"] < TARGET for found in figures.values()) or any(wait > MOST for wait in waits.values())
    if arguments.json:
        print(json.dumps({**figures, "waiting": waits}, indent=2))
        return int(missed)
    for name, found in figures.items():
        print(f"{name}: {found['megabytes']:.1f} MB of text, {available()} cores, MB/s")
        for each in ("encode_batch", "encode_batch_fast", "build", "samples"):
            print(f"  {each:18} {found[f'{each}_mb_per_second']:8.2f}")
        print(f"  build is {found['ratio']:.2f} × the library's rate (at least {TARGET})")
        print(f"  of the processors' time: {found['ratio_of_processors']:.2f} ×")
        print(f"  with every sample cut, one process: {found['ratio_with_samples']:.2f} ×")
    for path, wait in waits.items():
        print(f"{path}: {wait:.2%} of the time waited for data (at most {MOST:.0%})")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
