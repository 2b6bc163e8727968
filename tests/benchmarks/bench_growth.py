"""Whether a long run grows: memory of a process that trains a small spec as `blueprint train` does, step after step.

Metrics, statistics, validations, samples, checkpoints, an average of the weights and many epochs are all on. What is
measured is the resident set of a process of its own, whose allocator gives back what it can
(`MALLOC_MMAP_THRESHOLD_=1048576`), every hundred steps from the `--warm` th on: by then each of those things has
happened at least once. The bar is on all of it; the `anonymous` part has no libraries in it, and is told beside.

    python tests/benchmarks/bench_growth.py [--steps 10000] [--warm 500] [--bar 2] [--json]

Ten thousand steps on a CPU: 495.6 MB at step 500, 497.3 MB at the end, +0.34 %.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SPEC = """
name: growth
model:
  type: decoder
  d_model: 64
  layers: 2
  max_length: 64
  block: {{attention: {{heads: 4}}, feed_forward: {{d_ff: 128}}, dropout: 0.1}}
tokenizer: byte
data: {{source: {{type: text, path: {folder}/text.txt, document: line}}, batch_size: 4, validation: 0.1}}
optimizer: {{type: adamw, lr: 1e-3}}
schedule: {{type: cosine, warmup_steps: 50}}
trainer: {{max_steps: {steps}, accelerator: cpu, gradient_clip_val: 1.0, val_check_interval: 200, limit_val_batches: 4}}
checkpoint: {{every_n_steps: 200, keep: 2}}
sample: {{every_n_steps: 200, tokens: 16}}
ema: {{decay: 0.99}}
"""
#: Steps between two readings.
EVERY = 100
_WIDTH, _HEIGHT = 60, 8


def work(folder: Path, steps: int) -> None:
    """Train in this process; write what it holds into `readings`, a row every `EVERY` steps."""
    import lightning.pytorch as pl
    import torch

    import blueprint as bp

    torch.set_num_threads(1)

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            if trainer.global_step % EVERY == 0:
                with open(folder / "readings", "a") as file:
                    file.write(json.dumps([trainer.global_step, resident("VmRSS"), resident("RssAnon")]) + "\n")

    drawn = random.Random(0)
    words = ["".join(drawn.choices("etaoinshrdlu", k=drawn.randint(2, 8))) for _ in range(300)]
    lines = [" ".join(drawn.choices(words, k=12)) for _ in range(800)]
    (folder / "text.txt").write_text("\n".join(lines))
    spec = bp.loads(SPEC.format(folder=folder, steps=steps))
    bp.fit(spec, folder / "run", progress=False, cache=folder / "cache", callbacks=[Watch()])


def resident(what: str) -> int:
    """Bytes that this process holds now, as the kernel counts them."""
    said = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) << 10 for line in said.splitlines() if line.startswith(f"{what}:"))


def measure(steps: int, warm: int) -> dict[str, Any]:
    """Train in a child process; what it held at first and at last, and all between."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--steps", str(steps), "--child", folder]
        env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1048576", "OMP_NUM_THREADS": "1"}
        subprocess.run(command, check=True, env=env)
        rows = [json.loads(line) for line in (Path(folder) / "readings").read_text().splitlines()]
    series = [row for row in rows if row[0] >= warm]
    (first, start, bare), (last, end, bare_end) = series[0], series[-1]
    return {
        "steps": [first, last],
        "start_bytes": start,
        "end_bytes": end,
        "most_bytes": max(each for _, each, _ in series),
        "growth": end / start - 1,
        "anonymous_growth": bare_end / bare - 1,
        "series": series,
    }


def drawing(values: list[int]) -> list[str]:
    """A curve of letters, from the least value to the most."""
    least, most = min(values), max(values)
    at = [values[index * len(values) // _WIDTH] for index in range(_WIDTH)]
    heights = [round((value - least) / max(1, most - least) * (_HEIGHT - 1)) for value in at]
    rows = ["".join("•" if height == row else " " for height in heights) for row in reversed(range(_HEIGHT))]
    return [
        f"{f'{most / 1e6:.1f} MB' if row == 0 else f'{least / 1e6:.1f} MB' if row == _HEIGHT - 1 else '':>10} │{line}"
        for row, line in enumerate(rows)
    ]


def main() -> int:
    """Print the figures; 1 above the bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--warm", type=int, default=500, help="steps before the first reading that counts")
    parser.add_argument("--bar", type=float, default=2.0, help="growth in %% that is still good")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.child is not None:
        work(arguments.child, arguments.steps)
        return 0
    found = measure(arguments.steps, arguments.warm)
    above = int(100 * found["growth"] >= arguments.bar)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return above
    first, last = found["steps"]
    print(*drawing([row[1] for row in found["series"]]), sep="\n")
    print(f"step {first:>6,}    {found['start_bytes'] / 1e6:.1f} MB")
    print(f"step {last:>6,}    {found['end_bytes'] / 1e6:.1f} MB, {found['most_bytes'] / 1e6:.1f} MB at most")
    print(
        f"growth         {found['growth']:+.2%} (bar {arguments.bar:g} %); anonymous {found['anonymous_growth']:+.2%}"
    )
    return above


if __name__ == "__main__":
    sys.exit(main())
