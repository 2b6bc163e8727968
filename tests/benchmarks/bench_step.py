"""A training step, fp32, one thread: against the fastest of its peers, and against matrix products alone.

Forward, loss, backward and AdamW (fused) on the 31.6 M-parameter network in the shape of Llama: rms norm, rotary
positions, grouped queries, gated silu, no biases, head and table apart. Peers: transformers (eager and sdpa attention),
LitGPT, x-transformers, as many as are installed. Steps are taken in turn in one process, ratios are medians of pairs.
The bound multiplies every token with every matrix three times: forward, and backward for inputs and weights.

Where ours gains: the head's product and the cross-entropy go chunk by chunk through the cache, and make their gradients
on the way; the RMS norm has a backward of its own; grouped keys are never copied out to every head.

    python tests/benchmarks/bench_step.py [--batch 8] [--length 256] [--repeats 9] [--processor] [--json]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from figures import OURS, PRODUCTS, Bar, Clock, Found, parser, tell
from llama_shape import VOCABULARY, compare, llama_config, multiply, ours, weights
from peers import LITGPT, TRANSFORMERS, X_TRANSFORMERS, both, lacking, litgpt, plain_loss, same_size, x_transformers

BARS = (Bar("the fastest peer", (*TRANSFORMERS, LITGPT, X_TRANSFORMERS), 0.97),)


def own_loss(model: nn.Module, ids_BT: Tensor, labels_BT: Tensor) -> Tensor:
    """As the causal objective takes it."""
    return model.cross_entropy(model(ids_BT, logits=False).hidden, labels_BT)


def step(model: nn.Module, loss: Callable[..., Tensor]) -> Callable[..., None]:
    """A closure that makes one step on what `loss` reads."""
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-4, fused=True)

    def run(*batch: Tensor) -> None:
        loss(model, *batch).backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def measure(batch: int, length: int, repeats: int, clock: Clock) -> Found:
    """Every step's seconds."""
    import transformers

    torch.set_num_threads(1)
    torch.manual_seed(0)
    ids_BT = torch.randint(VOCABULARY, (batch, length + 1))
    models = {OURS: ours()} | both(transformers.LlamaForCausalLM, llama_config())
    for name, make in {LITGPT: partial(litgpt, models[OURS]), X_TRANSFORMERS: x_transformers}.items():
        if name not in lacking():
            models[name] = make()
    forward = multiply([matrix.detach() for matrix in weights(models[OURS])], batch * length)

    def bound() -> None:
        for _ in range(3):
            forward()

    sizes = {"every network holds as many numbers": same_size(models)}
    runs = {
        name: partial(step(model, own_loss if name == OURS else plain_loss), ids_BT[:, :-1], ids_BT[:, 1:])
        for name, model in models.items()
    }
    taken = compare({**runs, PRODUCTS: bound}, repeats, clock)
    title = f"training step, fp32, one thread, {batch} x {length} tokens"
    return Found(title, batch * length, taken, BARS, sizes)


def main() -> int:
    """Print the figures; 1 if a bar is missed."""
    options = parser(__doc__, repeats=9)
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--length", type=int, default=256)
    asked = options.parse_args()
    return tell([measure(asked.batch, asked.length, asked.repeats, asked.clock)], asked.json, lacking())


if __name__ == "__main__":
    sys.exit(main())
