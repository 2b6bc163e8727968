"""Greedy decoding, batch 1, one thread: tokens a second against transformers, and against matrix products alone.

The network has 31.6 M parameters in the shape of Llama; runs are taken in turn, ratios are medians of pairs.

    python tests/benchmarks/bench_decode.py [--prompt 16] [--tokens 64] [--repeats 15]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

import torch

import blueprint as bp

sys.path.insert(0, str(Path(__file__).parent))
from llama_shape import VOCABULARY, compare, multiply, ours, ratio, theirs, weights


def measure(prompt: int, tokens: int, repeats: int) -> dict[str, float]:
    """Tokens a second of each and the ratios of ours to the others."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, references = ours().eval(), {name: theirs(name).eval() for name in ("eager", "sdpa")}
    ids = torch.randint(VOCABULARY, (1, prompt))
    asked = {"max_new_tokens": tokens, "do_sample": False, "pad_token_id": 0}
    products = multiply(weights(model), 1)

    def bound() -> None:
        with torch.inference_mode():
            for _ in range(tokens):
                products()

    runs = {"blueprint": lambda: bp.generate(model, ids, tokens, temperature=0), "products": bound}
    for name, reference in references.items():
        runs[name] = lambda reference=reference: reference.generate(ids, attention_mask=torch.ones_like(ids), **asked)
    taken = compare(runs, repeats)
    fastest = min(references, key=lambda name: statistics.median(taken[name]))
    rates = {f"{name}_tokens_per_second": tokens / statistics.median(times) for name, times in taken.items()}
    return {
        **rates,
        "ratio_to_transformers": ratio(taken["blueprint"], taken[fastest]),
        "share_of_bound": 1 / ratio(taken["products"], taken["blueprint"]),
    }


def main() -> int:
    """Print the figures; 1 if transformers is faster."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompt", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = measure(arguments.prompt, arguments.tokens, arguments.repeats)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return int(figures["ratio_to_transformers"] < 1)
    print(f"greedy decoding, batch 1, one thread, {arguments.tokens} tokens after {arguments.prompt}")
    for name in ("blueprint", "eager", "sdpa", "products"):
        what = {"eager": "transformers, eager", "sdpa": "transformers, sdpa", "products": "matrix products alone"}
        print(f"{what.get(name, name):22} {figures[f'{name}_tokens_per_second']:7.1f} tokens/s")
    faster, share = figures["ratio_to_transformers"], figures["share_of_bound"]
    print(f"{faster:.2f} × the faster of transformers', {share:.0%} of the bound")
    return int(faster < 1)


if __name__ == "__main__":
    sys.exit(main())
