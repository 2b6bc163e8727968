"""How much memory it takes to prepare much text: stages, exact duplicates among them, a tokenizer trained on a part of
it, token files, and batches of them.

The text is made up: words of a vocabulary by Zipf's law, a document a line, one of fifty a copy. What is measured is a
process of its own and those it starts: `resident` counts pages that they share once for each of them, `proportional`
once. Time and sizes are printed too; everything is deleted afterwards.

    python tests/benchmarks/bench_data_memory.py [--megabytes 2000] [--limit 2000] [--tokenizer byte] [--json]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SPEC = """
model: {{type: decoder, d_model: 16, layers: 1, max_length: 256, block: {{attention: {{heads: 2}}}}}}
tokenizer: {tokenizer}
data:
  source: {{type: text, path: {folder}/text, document: line}}
  stages: [unicode, exact_duplicates, {{type: length, least: 20}}]
  length: 256
trainer: {{max_steps: 1}}
sample: null
"""
WORK = """
import json, sys, time
from pathlib import Path
import blueprint as bp
from blueprint.training.data.loader import loader
from blueprint.training.task import prepare

folder = Path(sys.argv[1])
text = prepare(bp.load(folder / "spec.yaml"), cache=folder / "cache", progress=False)
batches = iter(loader(text.train, batch_size=8))
for _ in range(200):
    next(batches)
print(json.dumps({
    "documents": text.tokens.train.documents + text.tokens.validation.documents,
    "tokens": text.tokens.train.tokens + text.tokens.validation.tokens,
    "left_out": sum(sum(tally.why.values()) for tally in text.tallies),
    "baseline_nats": text.baseline.nats,
}))
"""
_FILES, _VOCABULARY, _LINES = 20, 60_000, 20_000


def make(folder: Path, size: int) -> None:
    """Write `size` bytes of text into files of a folder."""
    drawn = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    words = np.array(["".join(letters[drawn.integers(0, 26, length)]) for length in drawn.integers(2, 11, _VOCABULARY)])
    share = 1 / np.arange(1, _VOCABULARY + 1)
    below = np.cumsum(share / share.sum())
    folder.mkdir()
    for number in range(_FILES):
        written, before = 0, ""
        with open(folder / f"{number:02d}.txt", "w") as file:
            while written < size / _FILES:
                lengths = drawn.integers(20, 400, _LINES // 20)
                text = words[np.searchsorted(below, drawn.random(int(lengths.sum()))).clip(0, _VOCABULARY - 1)].tolist()
                at = 0
                for length in lengths.tolist():
                    line = before if before and drawn.random() < 0.02 else " ".join(text[at : at + length])
                    at, before = at + length, line
                    written += file.write(line + "\n")


def memory(root: int) -> tuple[int, int]:
    """(resident, proportional) bytes of a process and all below it."""
    resident = proportional = 0
    for process in family(root):
        try:
            said = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        found = {line.split(":")[0]: int(line.split()[1]) << 10 for line in said.splitlines()[1:]}
        resident, proportional = resident + found["Rss"], proportional + found["Pss"]
    return resident, proportional


def family(root: int) -> list[int]:
    """A process and all below it."""
    found = [root]
    for process in found:
        for task in Path(f"/proc/{process}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                continue
    return found


def measure(folder: Path, size: int, tokenizer: str) -> dict[str, float]:
    """Make the text, prepare it, and watch."""
    make(folder / "text", size)
    (folder / "spec.yaml").write_text(SPEC.format(folder=folder, tokenizer=tokenizer))
    began, resident, proportional = time.monotonic(), 0, 0
    with open(folder / "said", "w+") as said:
        process = subprocess.Popen([sys.executable, "-c", WORK, str(folder)], stdout=said)
        while process.poll() is None:
            now = memory(process.pid)
            resident, proportional = max(resident, now[0]), max(proportional, now[1])
            time.sleep(0.05)
        if process.returncode:
            raise SystemExit(f"preparing failed with exit code {process.returncode}")
        said.seek(0)
        found = json.loads(said.read())
    return {
        "text_bytes": sum(path.stat().st_size for path in (folder / "text").iterdir()),
        "resident_bytes": resident,
        "proportional_bytes": proportional,
        "seconds": round(time.monotonic() - began, 1),
        **found,
    }


def main() -> int:
    """Print the figures; 1 above the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--limit", type=int, default=2000, help="megabytes, of which the processes may take as many")
    parser.add_argument("--tokenizer", default="{type: byte_bpe, vocab_size: 8192}", help="as a spec says it")
    parser.add_argument("--folder", type=Path, default=None, help="where there is room for eight times the text")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        figures = measure(Path(folder), arguments.megabytes * 10**6, arguments.tokenizer)
    above = int(figures["resident_bytes"] > arguments.limit * 10**6)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return above
    limit = f"(limit {arguments.limit:,})"
    print(f"text           {figures['text_bytes'] / 1e6:,.0f} MB, {figures['documents']:,} documents left")
    print(f"tokens         {figures['tokens']:,}")
    print(f"resident       {figures['resident_bytes'] / 1e6:,.0f} MB at most, of all processes {limit}")
    print(f"proportional   {figures['proportional_bytes'] / 1e6:,.0f} MB at most")
    print(f"time           {figures['seconds']:,.0f} s")
    return above


if __name__ == "__main__":
    sys.exit(main())
