"""The memory that `blueprint cost` foretells of a training step, against what a process grows by that makes some.

Each model trains in a process of its own, one thread, random tokens: forward, loss, backward, AdamW, the gradients of
the last step cleared between forward and backward as Lightning does. Measured is the highest resident memory (Linux's
`VmHWM`) over that after a step of a tiny model, which has loaded all code by then. The allocator gives back what it
can: its threshold for mapping is fixed at 1 MiB.

    python tests/benchmarks/bench_memory.py [--steps 3]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

CASES: dict[str, dict[str, Any]] = {
    "mostly weights": {"d_model": 512, "layers": 8, "batch": 2, "length": 256},
    "both": {"d_model": 640, "layers": 8, "batch": 4, "length": 512},
    "mostly activations": {"d_model": 320, "layers": 8, "batch": 8, "length": 512},
    "mixed precision": {"d_model": 512, "layers": 8, "batch": 8, "length": 512, "precision": "bf16-mixed"},
}


def said(d_model: int, layers: int, length: int, precision: str = "32-true", **_: Any) -> dict[str, Any]:
    """The spec of a case."""
    attention = {"heads": d_model // 64, "position": "rope"}
    sizes = {"type": "decoder", "d_model": d_model, "layers": layers, "vocab_size": 8192, "max_length": length}
    return {
        "model": {**sizes, "block": {"attention": attention}},
        "trainer": {"precision": precision, "accelerator": "cpu"},
    }


def resident(name: str) -> int:
    """A figure of this process's memory in bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None, "this needs Linux"
    return int(found[1]) * 1024


def train(case: dict[str, Any], steps: int) -> None:
    """Make training steps."""
    import torch

    import blueprint as bp
    from blueprint.cost.memory import cast, computing
    from blueprint.model.weights import trained

    spec = bp.load(said(**case))
    plan = bp.plan(spec)
    precision = spec.trainer.precision
    model = cast(bp.build(spec), precision).train()
    optimizer = spec.optimizer.build(plan.site)(trained(model, spec))
    objective = spec.objective.build(plan.site)
    for _ in range(steps):
        ids_BT = torch.randint(8192, (case["batch"], case["length"] + 1))
        with computing(precision):
            loss, _ = objective(model, {"input_ids": ids_BT[:, :-1], "labels": ids_BT[:, 1:]})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def child(case: dict[str, Any], steps: int) -> int:
    """Bytes that training takes in this process."""
    import torch

    torch.set_num_threads(1)
    train({**case, "d_model": 64, "layers": 1, "batch": 1, "length": 64}, 2)
    before = resident("VmRSS")
    train(case, steps)
    return resident("VmHWM") - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(child(json.loads(options.child), options.steps))
        return
    import blueprint as bp

    print(f"{'':<20}{'parameters':>12}{'foretold':>12}{'measured':>12}{'ratio':>8}")
    for name, case in CASES.items():
        found = bp.cost(bp.load(said(**case)), case["length"], case["batch"])
        assert found.memory.training is not None
        command = [sys.executable, __file__, "--steps", str(options.steps), "--child", json.dumps(case)]
        env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1048576", "OMP_NUM_THREADS": "1"}
        measured = int(subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout)
        sizes = "".join(f"{each / 2**30:>8.3f} GiB" for each in (found.memory.training, measured))
        print(f"{name:<20}{found.parameters / 1e6:>10.1f} M{sizes}{found.memory.training / measured:>8.3f}")


if __name__ == "__main__":
    main()
