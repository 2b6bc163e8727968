"""How sliding attention grows from 4,096 to 16,384 tokens: forward and backward, time and extra memory.

Prints both ratios; four times the tokens should cost four times as much, and at most 4.4 times. Each measurement of
memory is the growth of a process of its own, above what it held with its inputs made.

    python tests/benchmarks/bench_sliding.py [--window 256] [--repeats 5]
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

SHORT, LONG, LIMIT = 4096, 16384, 4.4


def attention(length: int, window: int):
    """A closure that runs forward and backward once."""
    import torch

    from blueprint.ops import Flow, Keys, attend
    from blueprint.visible import Visible

    torch.set_num_threads(1)
    torch.manual_seed(0)
    q, k, v, up = (torch.randn(1, heads, length, 64, requires_grad=i < 3) for i, heads in enumerate((4, 4, 4, 4)))
    visible = Visible(back=window - 1, ahead=0)

    def run() -> None:
        flow = Flow.of(1, length, "cpu")
        o = attend(q, Keys.of(k, v, flow), flow=flow, visible=visible, scale=0.125)
        torch.autograd.grad(o, (q, k, v), up)

    return run


def status(field: str) -> int:
    """A line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def grown(run) -> int:
    """The bytes by which the process's peak exceeds what it held before `run`."""
    gc.collect()
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = status("VmRSS:")
        run()
        return status("VmHWM:") - before
    except OSError:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def memory(length: int, window: int) -> int:
    """The same, of a fresh process in which every large block goes back to the system when freed."""
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--child", str(length), "--window", str(window)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def measure(window: int, repeats: int) -> dict[str, float]:
    """Seconds, bytes and their ratios; times are taken in turn, the ratio is the median of the pairs'."""
    short, long = attention(SHORT, window), attention(LONG, window)
    short(), long()
    pairs = []
    for _ in range(repeats):
        pair = []
        for run in (short, long):
            start = time.perf_counter()
            run()
            pair.append(time.perf_counter() - start)
        pairs.append(pair)
    bytes_short, bytes_long = memory(SHORT, window), memory(LONG, window)
    return {
        "seconds_short": statistics.median(a for a, _ in pairs),
        "seconds_long": statistics.median(b for _, b in pairs),
        "time_ratio": statistics.median(b / a for a, b in pairs),
        "bytes_short": bytes_short,
        "bytes_long": bytes_long,
        "memory_ratio": bytes_long / bytes_short,
    }


def main() -> int:
    """Print both ratios; 1 if either is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        attention(512, arguments.window)()  # loads the kernels
        print(grown(attention(arguments.child, arguments.window)))
        return 0
    figures = measure(arguments.window, arguments.repeats)
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        print(f"sliding attention, window {arguments.window}, forward and backward, {SHORT:,} → {LONG:,} tokens")
        print(
            f"time    {figures['seconds_short']:.3f} → {figures['seconds_long']:.3f} s   × {figures['time_ratio']:.2f}"
        )
        mebi = [figures[name] / 2**20 for name in ("bytes_short", "bytes_long")]
        print(f"memory  {mebi[0]:.0f} → {mebi[1]:.0f} MiB   × {figures['memory_ratio']:.2f}   (both at most {LIMIT})")
    return int(max(figures["time_ratio"], figures["memory_ratio"]) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
