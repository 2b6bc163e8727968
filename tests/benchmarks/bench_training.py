"""What each choice of training costs beside a plain run: time a step, and memory, on the same tokens.

Each stands alone beside the plain run (fp32, AdamW, one thread), and is said as the spec says it. Time: steps are taken
in turn in one process, ratios are medians of pairs. Memory: each trains in a child process of its own; what it grows by
after a tiny model has loaded all code.

What to expect, and why:
    recompute        a layer is run forward twice: up to 4/3 of the time; its activations shrink to its input. Every
                     second layer, or the feed-forward alone: part of both.
    accumulation     the same tokens in four batches: activations a quarter, matrix products on fewer rows each.
    ema              one multiplication and addition a weight and step, and a copy of the weights in float32.
    adamw            two numbers kept a weight.            lion, muon, sgd with momentum: one; Muon's are five
    adafactor        rows and columns of a matrix alone.   iterations of three products a matrix and step beside.
    compile          fewer passes over memory in a step, after a slow first one (only with `--compile`).

    python tests/benchmarks/bench_training.py [--repeats 5] [--only recompute,ema] [--compile] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from bench_memory import resident
from llama_shape import compare, ratio

PLAIN = "plain"
#: What the spec says beside the plain one, by the name it is printed under.
CASES: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "recompute": {"recompute": {}},
    "recompute every 2nd": {"recompute": {"every": 2}},
    "recompute feed_forward": {"recompute": {"part": "feed_forward"}},
    "recompute attention": {"recompute": {"part": "attention"}},
    "accumulation of 4": {"trainer": {"accumulate_grad_batches": 4}},
    "ema": {"ema": {}},
    **{name: {"optimizer": name} for name in ("adafactor", "lion", "muon", "sgd")},
    "compile": {"compile": True},
}


def spec(case: dict[str, Any], d_model: int = 384, layers: int = 8, length: int = 256) -> Any:
    """A decoder that is trained as the case says."""
    import blueprint as bp

    sizes = {"type": "decoder", "d_model": d_model, "layers": layers, "vocab_size": 2048, "max_length": length}
    said = {"model": {**sizes, "block": {"attention": {"heads": d_model // 64}}}, **case}
    return bp.load({**said, "trainer": {"accelerator": "cpu", **case.get("trainer", {})}})


def trainer(case: dict[str, Any], batch: int, length: int = 256, **sizes: int) -> Callable[[], None]:
    """A closure that takes an optimizer step as a run does, on `batch` sequences."""
    import torch

    import blueprint as bp
    from blueprint.model.weights import trained

    said = spec(case, length=length, **sizes)
    module = bp.compile(said)
    model = module.require_model().train()
    optimizer = module.spec.optimizer.build(module.plan.site)(trained(model, said))
    parts = min(said.trainer.accumulate_grad_batches, batch)
    taken = 0

    def step() -> None:
        nonlocal taken
        ids_BT = torch.randint(2048, (batch, length + 1))
        for index, part_BT in enumerate(ids_BT.chunk(parts)):
            loss, _ = module.objective(model, {"input_ids": part_BT[:, :-1], "labels": part_BT[:, 1:]})
            # Lightning clears between forward and backward.
            if index == 0:
                optimizer.zero_grad()
            (loss / parts).backward()
        optimizer.step()
        if module.average is not None:
            module.average.update(taken)
        taken += 1

    return step


def child(name: str, batch: int) -> int:
    """Bytes that three steps of a case take in this process."""
    import torch

    torch.set_num_threads(1)
    small = trainer(CASES[name], 2, length=64, d_model=64, layers=2)
    small()
    del small
    before = resident("VmRSS")
    step = trainer(CASES[name], batch)
    for _ in range(3):
        step()
    return resident("VmHWM") - before


def grown(name: str, batch: int) -> int:
    """The same, measured in a child process, whose allocator gives back what it can."""
    command = [sys.executable, __file__, "--batch", str(batch), "--child", name]
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1048576", "OMP_NUM_THREADS": "1"}
    return int(subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout)


def measure(names: list[str], batch: int, repeats: int) -> dict[str, dict[str, float]]:
    """Of each case the seconds and bytes of a step, and how many times the plain run's they are."""
    import torch

    torch.set_num_threads(1)
    memory = {name: grown(name, batch) for name in names}
    taken = compare({name: trainer(CASES[name], batch) for name in names}, repeats)
    return {
        name: {
            "seconds": statistics.median(taken[name]),
            "time": 1 / ratio(taken[name], taken[PLAIN]),
            "bytes": memory[name],
            "memory": memory[name] / memory[PLAIN],
        }
        for name in names
    }


def main() -> None:
    """Print a row a case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default="", help="Cases whose names begin with one of these, separated by commas.")
    parser.add_argument("--compile", action="store_true", help="Compiled blocks too, which takes minutes.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(child(options.child, options.batch))
        return
    chosen = tuple(options.only.split(",")) if options.only else ("",)
    names = [name for name in CASES if name.startswith((*chosen, PLAIN)) and (name != "compile" or options.compile)]
    found = measure(names, options.batch, options.repeats)
    if options.json:
        print(json.dumps(found, indent=2))
        return
    print(f"an optimizer step on {options.batch} x 256 tokens, fp32, one thread, against adamw alone")
    print(f"{'':24}{'seconds':>9}{'time':>9}{'memory':>12}{'':>9}")
    for name, each in found.items():
        sizes = f"{each['bytes'] / 2**20:>8.0f} MiB{each['memory']:>7.2f} x"
        print(f"{name:24}{each['seconds']:>9.3f}{each['time']:>7.2f} x{sizes}")


if __name__ == "__main__":
    main()
