"""The time a token takes after 512 to 8,192 others, and what is kept of them: window, latents, all keys and values.

The same decoder three times, fp32, batch 1, one thread, random tokens: with a window of 256, with latent attention
(what DeepSeek-V2 calls MLA), and with every head's keys and values kept. States of all lengths decode in turn; times
are medians, ratios medians of pairs. A window's time must not grow (its ring is full from 256 on). Latent attention
reads every token's latent at every step, so that its time does grow, if less than with all keys: against all keys, what
a token's time grows by from the first length to the last is printed, as is the latents' share of the bytes. What states
hold must be to the byte what `blueprint cost` says.

    python tests/benchmarks/bench_cache.py [--rounds 24] [--tokens 4] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from typing import Any

import torch

import blueprint as bp

LENGTHS = (512, 2048, 4096, 8192)
VOCABULARY, WINDOW, FLAT = 8192, 256, 1.1
ATTENTION: dict[str, dict[str, Any]] = {
    "window 256": {"heads": 8, "mask": {"type": "sliding", "window": WINDOW}},
    "latent": {"type": "latent", "heads": 8, "kv_rank": 128, "nope_dim": 64, "rope_dim": 32, "value_dim": 64},
    "all keys": {"heads": 8},
}


def spec_of(name: str) -> Any:
    """A decoder of 4 layers with this attention."""
    sizes = {"type": "decoder", "d_model": 512, "layers": 4, "vocab_size": VOCABULARY, "max_length": LENGTHS[-1]}
    return bp.load({"model": {**sizes, "block": {"attention": ATTENTION[name]}}})


class Decoding:
    """One sequence that has been read up to so many tokens before its length, to be continued to it."""

    def __init__(self, model: Any, length: int, left: int) -> None:
        self.model, self.state = model, model.new_state(1, LENGTHS[-1])
        ids_1T = torch.randint(VOCABULARY, (1, length - left))
        with torch.inference_mode():
            for part_1T in ids_1T.split(1024, 1):
                model(part_1T, state=self.state, logits=False)
        self.next_11 = ids_1T[:, -1:]

    def seconds(self, tokens: int) -> float:
        """What a token takes, of so many that are written greedily."""
        start = time.perf_counter()
        with torch.inference_mode():
            for _ in range(tokens):
                self.next_11 = self.model(self.next_11, state=self.state).logits[:, -1:].argmax(-1)
        return (time.perf_counter() - start) / tokens


def measure(rounds: int, tokens: int) -> dict[str, dict[str, Any]]:
    """Of each kind of attention: the median seconds a token by length, their ratios to the first, bytes and growth."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    left = (rounds + 1) * tokens
    specs = {name: spec_of(name) for name in ATTENTION}
    runs = {
        (name, length): Decoding(model, length, left)
        for name, spec in specs.items()
        for model in [bp.build(spec).eval()]
        for length in LENGTHS
    }
    taken: dict[tuple[str, int], list[float]] = {key: [] for key in runs}
    for index in range(rounds + 1):
        for key, run in runs.items():
            seconds = run.seconds(tokens)
            if index:  # the first round warms up
                taken[key].append(seconds)
    found: dict[str, dict[str, Any]] = {}
    for name, spec in specs.items():
        first = taken[name, LENGTHS[0]]
        pairs = {n: list(zip(first, taken[name, n], strict=True)) for n in LENGTHS}
        cost = bp.cost(spec, LENGTHS[-1], 1)
        found[name] = {
            "seconds": {n: statistics.median(taken[name, n]) for n in LENGTHS},
            "ratios": {n: statistics.median(b / a for a, b in pairs[n]) for n in LENGTHS},
            "growth": statistics.median(b - a for a, b in pairs[LENGTHS[-1]]),
            "bytes": {runs[name, n].state.nbytes for n in LENGTHS}.pop(),
            "foretold": cost.cache_bytes,
        }
    return found


def good(found: dict[str, dict[str, Any]]) -> bool:
    """Whether a window's time is flat, latents' grows less than all keys', and all states hold what was foretold."""
    flat = max(found["window 256"]["ratios"].values()) <= FLAT
    less = found["latent"]["growth"] < found["all keys"]["growth"]
    return flat and less and all(each["bytes"] == each["foretold"] for each in found.values())


def main() -> int:
    """Print the table; 1 where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=4, help="tokens that each state decodes in a round")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = measure(arguments.rounds, arguments.tokens)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return int(not good(found))
    heads = "".join(f"{f'at {n:,}':>16}" for n in LENGTHS)
    print(f"{'ms a token':<12}{heads}{'growth':>10}{'cache, MB':>12}{'as `cost` said':>16}")
    for name, each in found.items():
        times = "".join(f"{each['seconds'][n] * 1e3:>8.2f} (×{each['ratios'][n]:4.2f})" for n in LENGTHS)
        same = "yes" if each["bytes"] == each["foretold"] else f"no: {each['foretold']:,}"
        print(f"{name:<12}{times}{each['growth'] * 1e3:>10.2f}{each['bytes'] / 1e6:>12.2f}{same:>16}")
    latent, every = found["latent"], found["all keys"]
    print(
        f"latents: {latent['bytes'] / every['bytes']:.0%} of the bytes of all keys and values, and "
        f"{latent['growth'] / every['growth']:.0%} of the growth; a window may take × {FLAT} at most"
    )
    return int(not good(found))


if __name__ == "__main__":
    sys.exit(main())
