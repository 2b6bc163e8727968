"""What `bp.build` takes beside filling the same tensors with `torch.randn`, one thread, at a billion parameters.

    python tests/benchmarks/bench_build.py [--rounds 5] [--layers 16]

In turn, in one process: the model of a spec is built with its seeded weights and dropped, then tensors of its
parameters' shapes are drawn by `torch.randn`, all kept until the last is drawn, as the model's are. Both touch fresh
memory. Medians of the paired rounds are compared, by time and by what the processor was busy for.

It was 1.53, as every linear map and table drew values in its constructor that `initialise` then overwrote; they wait
for those now (`blueprint.ops.filled_later`), and what is left is the drawing itself: 1.01.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable
from statistics import median

import torch

import blueprint as bp

TARGET = 1.3


def spec(layers: int) -> bp.Spec:
    """A Llama-shaped model of a billion parameters at 16 layers."""
    block = {"attention": {"heads": 32, "kv_heads": 8}, "feed_forward": {"type": "gated", "d_ff": 8192}}
    model = {"type": "decoder", "d_model": 2048, "layers": layers, "vocab_size": 32768, "max_length": 2048}
    return bp.load({"model": {**model, "block": block, "head": {"tie": True}}})


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and seconds of the processor's, that a call takes; what it gives is dropped after that."""
    gc.collect()
    start, busy = time.perf_counter(), time.process_time()
    kept = run()
    taken = time.perf_counter() - start, time.process_time() - busy
    del kept
    return taken


def main() -> int:
    """Measure, print, and fail above the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    said = spec(options.layers)
    shapes = [value.shape for value in bp.build(said, device="meta").parameters()]
    bp.build(spec(1))
    rounds = [
        (timed(lambda: bp.build(said)), timed(lambda: [torch.randn(shape) for shape in shapes]))
        for _ in range(options.rounds)
    ]
    print(f"parameters   {sum(shape.numel() for shape in shapes):,}")
    for unit, which in (("s", 0), ("s of the processor's", 1)):
        print(f"bp.build     {median(ours[which] for ours, _ in rounds):.2f} {unit}")
        print(f"torch.randn  {median(plain[which] for _, plain in rounds):.2f} {unit}")
    ratio = median(ours[0] / plain[0] for ours, plain in rounds)
    busy = median(ours[1] / plain[1] for ours, plain in rounds)
    print(f"ratio        {ratio:.3f}, by the processor's seconds {busy:.3f}  (at most {TARGET})")
    return 0 if ratio <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
