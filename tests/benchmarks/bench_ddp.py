"""Two processes that train one model (DDP, gloo, one thread each) against two that train alone, side by side.

Both sides keep both cores as busy, and a process has as many rows a step on either: a batch is the whole run's, so that
one alone gets half of it. What is compared is the exchange of gradients and what waiting for the other costs. Each
round trains the same spec both ways; tokens a second of a side are those of both its processes, from the median time of
a batch, the ratio is the median over rounds. A larger batch hides more,
as gradients cross once a step, whatever it holds: where a process had 1,024 tokens a step, 0.81; at 4,096, 0.91.

    python tests/benchmarks/bench_ddp.py [--batch 64] [--steps 20] [--rounds 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

#: DDP's speed over that of processes on their own.
BAR = 0.9
LENGTH = 128


def said(text: Path, batch: int, steps: int, shared: bool) -> dict[str, Any]:
    """A spec that is trained by two processes, or by one."""
    several = {"devices": 2, "strategy": "ddp"} if shared else {"devices": 1}
    attention = {"heads": 4}
    return {
        "model": {
            "type": "decoder",
            "d_model": 256,
            "layers": 4,
            "max_length": LENGTH,
            "block": {"attention": attention},
        },
        "tokenizer": "byte",
        "data": {"source": {"type": "text", "path": str(text)}, "length": LENGTH, "batch_size": batch},
        "trainer": {
            "max_steps": steps,
            "accelerator": "cpu",
            "log_every_n_steps": 1,
            "limit_val_batches": 1,
            **several,
        },
        "checkpoint": {"every_n_steps": 10**6},
        "sample": None,
    }


def start(spec: Path, run: Path) -> subprocess.Popen[bytes]:
    """A process that trains, with one thread."""
    command = [sys.executable, "-m", "blueprint", "train", str(spec), "-o", str(run), "--quiet"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(*processes: subprocess.Popen[bytes]) -> None:
    """Wait for all; raises RuntimeError with what one said that failed."""
    for process in processes:
        _, problem = process.communicate()
        if process.returncode:
            raise RuntimeError(problem.decode()[-2000:])


def speed(run: Path) -> float:
    """Tokens a second of a run, at its last step."""
    from blueprint.training import metrics

    return metrics.read(run / "metrics.csv")[-1]["tokens_per_second"]


def measure(batch: int, steps: int, rounds: int) -> dict[str, Any]:
    """Tokens a second together and apart, round by round, and the median of their ratios."""
    together, apart = [], []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        text = folder / "text.txt"
        needed = 4 * batch * LENGTH * (steps + 2)
        text.write_text("\n".join(f"line {n} of a text that is read by both" for n in range(needed // 30 + 1)))
        for shared in (True, False):
            rows = batch if shared else batch // 2
            (folder / f"{shared}.json").write_text(json.dumps(said(text, rows, steps, shared)))
        for index in range(rounds):
            both = folder / f"both{index}"
            finish(start(folder / "True.json", both))
            together.append(speed(both))
            alone = [folder / f"{name}{index}" for name in ("one", "other")]
            finish(*(start(folder / "False.json", each) for each in alone))
            apart.append(sum(speed(each) for each in alone))
    ratios = [one / other for one, other in zip(together, apart, strict=True)]
    return {"together": together, "apart": apart, "ratio": statistics.median(ratios), "bar": BAR}


def main() -> int:
    """Print the figures; 1 if below the bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=64, help=f"rows of {LENGTH} tokens that two processes share")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.batch, options.steps, options.rounds)
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        for name in ("together", "apart"):
            print(f"{name:10}{statistics.median(found[name]):>10,.0f} tokens/s")
        print(f"{found['ratio']:.2f} of two processes on their own (bar {BAR})")
    return int(found["ratio"] < BAR)


if __name__ == "__main__":
    sys.exit(main())
