"""A training step, fp32, one thread: against transformers, and against matrix products alone.

Forward, loss, backward and AdamW on the 31.6 M-parameter network in the shape of Llama; steps are taken in turn,
ratios are medians of pairs. The bound multiplies every token with every matrix three times: forward, and backward for
inputs and weights.

    python tests/benchmarks/bench_step.py [--batch 8] [--length 256] [--repeats 5]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from llama_shape import VOCABULARY, compare, multiply, ours, ratio, theirs, weights


def loss_of_ours(model: nn.Module, ids_BT: Tensor, labels_BT: Tensor) -> Tensor:
    """As the causal objective takes it."""
    return model.cross_entropy(model(ids_BT, logits=False).hidden, labels_BT)


def loss_of_theirs(model: nn.Module, ids_BT: Tensor, labels_BT: Tensor) -> Tensor:
    """The plain cross-entropy of the logits, which is what the library computes too."""
    return F.cross_entropy(model(ids_BT, use_cache=False).logits.flatten(0, 1), labels_BT.flatten())


def step(model: nn.Module, loss: Callable[..., Tensor], ids_BT: Tensor) -> Callable[[], None]:
    """A closure that makes one step."""
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-4, fused=True)

    def run() -> None:
        loss(model, ids_BT[:, :-1], ids_BT[:, 1:]).backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def measure(batch: int, length: int, repeats: int) -> dict[str, float]:
    """Seconds of each and the ratios of ours to the others."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ids_BT = torch.randint(VOCABULARY, (batch, length + 1))
    model = ours()
    forward = multiply([matrix.detach() for matrix in weights(model)], batch * length)

    def bound() -> None:
        for _ in range(3):
            forward()

    runs = {"blueprint": step(model, loss_of_ours, ids_BT), "products": bound}
    for name in ("eager", "sdpa"):
        runs[name] = step(theirs(name), loss_of_theirs, ids_BT)
    taken = compare(runs, repeats)
    fastest = min(("eager", "sdpa"), key=lambda name: statistics.median(taken[name]))
    return {
        **{f"{name}_seconds": statistics.median(times) for name, times in taken.items()},
        "ratio_to_transformers": ratio(taken["blueprint"], taken[fastest]),
        "share_of_bound": 1 / ratio(taken["products"], taken["blueprint"]),
    }


def main() -> int:
    """Print the figures; 1 if transformers is faster."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = measure(arguments.batch, arguments.length, arguments.repeats)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return int(figures["ratio_to_transformers"] < 1)
    print(f"training step, fp32, one thread, {arguments.batch} × {arguments.length} tokens")
    for name in ("blueprint", "eager", "sdpa", "products"):
        what = {"eager": "transformers, eager", "sdpa": "transformers, sdpa", "products": "matrix products alone"}
        print(f"{what.get(name, name):22} {figures[f'{name}_seconds']:7.3f} s")
    faster, share = figures["ratio_to_transformers"], figures["share_of_bound"]
    print(f"{faster:.2f} × the faster of transformers', {share:.0%} of the bound")
    return int(faster < 1)


if __name__ == "__main__":
    sys.exit(main())
