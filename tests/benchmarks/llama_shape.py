"""The network that the speed benchmarks share: 31.6 M parameters in the shape of Llama, ours and transformers'."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

import blueprint as bp

D_MODEL, LAYERS, HEADS, KV_HEADS, D_FF, VOCABULARY, LENGTH = 512, 8, 8, 4, 1376, 8192, 1024
SPEC = {
    "model": {
        "type": "decoder",
        "d_model": D_MODEL,
        "layers": LAYERS,
        "vocab_size": VOCABULARY,
        "max_length": LENGTH,
        "block": {"attention": {"heads": HEADS, "kv_heads": KV_HEADS}, "feed_forward": {"type": "gated", "d_ff": D_FF}},
    }
}
Run = Callable[[], object]


def ours() -> torch.nn.Module:
    """The spec's model."""
    return bp.build(bp.load(SPEC))


def llama_config() -> Any:
    """The same network, as transformers says it."""
    import transformers

    return transformers.LlamaConfig(
        hidden_size=D_MODEL,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        intermediate_size=D_FF,
        vocab_size=VOCABULARY,
        max_position_embeddings=LENGTH,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
        use_cache=False,
    )


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    """Every matrix that multiplies each token."""
    return [module.weight for module in model.modules() if isinstance(module, torch.nn.Linear)]


def multiply(matrices: Sequence[torch.Tensor], tokens: int) -> Run:
    """The bound: `tokens` vectors through every matrix and nothing else."""
    inputs = {matrix.shape[1]: torch.randn(tokens, matrix.shape[1]) for matrix in matrices}

    def run() -> None:
        for matrix in matrices:
            F.linear(inputs[matrix.shape[1]], matrix)

    return run


def compare(
    runs: dict[str, Run], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each, taken in turn so that whatever else the machine does meets all alike."""
    for run in runs.values():
        run()
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = clock()
            run()
            taken[name].append(clock() - start)
    return taken


def ratio(times: Sequence[float], others: Sequence[float]) -> float:
    """How many times as fast as the others: the median of paired ratios."""
    return statistics.median(other / own for own, other in zip(times, others, strict=True))
