"""The memory that `blueprint cost` foretells of a training step, against what a process grows by that makes some.

Each spec trains in a process of its own, one thread, random tokens: forward, loss, backward, optimizer, averages, with
the gradients of the last step cleared between forward and backward and batches accumulated as Lightning does. Measured
is the highest resident memory (Linux's `VmHWM`) over that after steps of the spec's miniature, which have loaded all
code. The allocator gives back what it can: its threshold for mapping is fixed at 1 MiB. From 1 GB on, what is foretold
must lie within 10 % of what is measured.

    python tests/benchmarks/bench_memory.py [CASE…] [--steps 3] [--json]
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blueprint.plan import Plan
    from blueprint.schema.spec import Spec

LIMIT, FROM = 0.1, 10**9  # of what is measured, and the bytes from which on it holds


def decoder(d_model: int, layers: int, vocabulary: int = 8192, attention: Any = None, **more: Any) -> dict[str, Any]:
    """A decoder with heads of 64 channels."""
    sizes = {"type": "decoder", "d_model": d_model, "layers": layers, "vocab_size": vocabulary, "max_length": 4096}
    return {**sizes, "block": {"attention": attention or {"heads": d_model // 64, "position": "rope"}, **more}}


MLP = {"type": "mlp", "bias": True}
BERT = {
    "type": "encoder",
    "vocab_size": 30522,
    "d_model": 512,
    "layers": 6,
    "max_length": 512,
    "norm": "layer",
    "embedding": {"positions": "learned", "token_types": 2, "norm": "layer", "dropout": 0.1},
    "block": {
        "placement": "post",
        "attention": {"heads": 8, "bias": True, "position": "none", "dropout": 0.1},
        "feed_forward": MLP,
        "dropout": 0.1,
    },
    "final_norm": None,
    "head": {"type": "masked_language_model", "tie": True},
}
T5 = {
    "type": "encoder_decoder",
    "vocab_size": 32128,
    "d_model": 512,
    "layers": 6,
    "max_length": 512,
    "block": {
        "attention": {"heads": 8, "scale": 1, "position": "t5_bias", "dropout": 0.1},
        "feed_forward": {"type": "mlp", "d_ff": 2048, "activation": "relu"},
        "dropout": 0.1,
    },
    "head": {"tie": True, "scale": "1 / sqrt(d_model)"},
}
VIT = {
    "type": "encoder",
    "d_model": 384,
    "layers": 12,
    "norm": "layer",
    "embedding": {"type": "patches", "image_size": 224, "patch_size": 16, "positions": "learned"},
    "block": {"attention": {"heads": 6, "bias": True, "position": "none"}, "feed_forward": MLP},
    "head": {"type": "classification", "labels": 1000},
}
EXPERTS = {
    "type": "experts",
    "experts": 8,
    "expert": {"type": "gated", "d_ff": 1024},
    "router": {"type": "top_k", "k": 2, "renormalise": True},
    "balance": {"type": "expert", "weight": 0.02},
}
LATENT = {"type": "latent", "heads": 8, "q_rank": 384, "kv_rank": 128, "nope_dim": 64, "rope_dim": 32, "value_dim": 64}
LOCAL = {"heads": 6, "kv_heads": 2, "mask": {"type": "sliding", "window": 256}}

#: A spec, the sequences of a batch and their tokens (None: as many as there always are).
CASES: dict[str, tuple[dict[str, Any], int, int | None]] = {
    "mostly weights": ({"model": decoder(768, 12)}, 1, 256),
    "weights and activations": ({"model": decoder(640, 8)}, 4, 512),
    "mostly activations": ({"model": decoder(320, 8)}, 8, 512),
    "bf16-mixed": ({"model": decoder(512, 8), "trainer": {"precision": "bf16-mixed"}}, 8, 512),
    "bf16-true": ({"model": decoder(768, 8), "trainer": {"precision": "bf16-true"}}, 8, 512),
    "encoder, masked": ({"model": BERT, "objective": "masked", "tokenizer": None}, 8, 256),
    "encoder-decoder": ({"model": T5, "objective": "seq2seq"}, 4, 256),
    "experts": ({"model": decoder(384, 6, feed_forward=EXPERTS)}, 4, 512),
    "latent attention": ({"model": decoder(640, 8, attention=LATENT)}, 4, 512),
    "window, long": ({"model": decoder(384, 8, attention=LOCAL)}, 1, 4096),
    "images": ({"model": VIT, "objective": "classification"}, 16, None),
    "recomputed": ({"model": decoder(512, 16), "recompute": {"part": "block"}}, 16, 512),
    "adafactor": ({"model": decoder(768, 12, 50304), "optimizer": "adafactor"}, 1, 128),
    "sgd": ({"model": decoder(768, 12, 50304), "optimizer": {"type": "sgd", "lr": 0.1, "momentum": 0.9}}, 1, 128),
    "lion, averaged": ({"model": decoder(768, 12), "optimizer": "lion", "ema": {"decay": 0.99}}, 1, 256),
    "muon, accumulated": (
        {"model": decoder(1024, 8), "optimizer": "muon", "trainer": {"accumulate_grad_batches": 2}},
        1,
        128,
    ),
}


def load(said: Mapping[str, Any]) -> Spec:
    """The spec of a case."""
    import blueprint as bp

    return bp.load({**said, "trainer": {"precision": "32-true", **said.get("trainer", {}), "accelerator": "cpu"}})


def resident(name: str) -> int:
    """A figure of this process's memory in bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None, "this needs Linux"
    return int(found[1]) * 1024


def train(spec: Spec, plan: Plan, batch: int, length: int, steps: int) -> None:
    """Make training steps of a plan as its spec says."""
    import torch

    from blueprint.cost.memory import cast, computing
    from blueprint.model.build import build_plan
    from blueprint.model.recompute import recompute
    from blueprint.model.trial import trial_batch, trial_loss
    from blueprint.model.weights import trained
    from blueprint.training.average import Average

    model = cast(build_plan(plan), spec.trainer.precision).train()
    recompute(model, spec.recompute)
    optimizer = spec.optimizer.build(plan.site)(trained(model, spec))
    average = None if spec.ema is None else Average(spec.ema, model)
    loss_of = trial_loss(spec, plan.site)
    generator = torch.Generator().manual_seed(0)
    several = spec.trainer.accumulate_grad_batches
    for index in range(steps * several):
        inputs = trial_batch(plan, batch, length, objective=spec.objective, generator=generator)
        with computing(spec.trainer.precision):
            loss, _ = loss_of(model, inputs)
        if index % several == 0:
            optimizer.zero_grad()
        (loss / several).backward()
        del loss
        if (index + 1) % several == 0:
            optimizer.step()
            if average is not None:
                average.update(index // several)


def child(name: str, steps: int) -> int:
    """Bytes that training takes in this process."""
    import torch

    from blueprint.plan import plan

    torch.set_num_threads(1)
    said, batch, length = CASES[name]
    spec = load(said)
    whole = plan(spec)
    small = whole.miniature()
    train(spec, small, 2, small.site.max_length or 16, 2)
    gc.collect()
    before = resident("VmRSS")
    train(spec, whole, batch, length or 0, steps)
    return resident("VmHWM") - before


def measure(name: str, steps: int) -> dict[str, float]:
    """Bytes foretold and measured of a case."""
    import blueprint as bp

    said, batch, length = CASES[name]
    found = bp.cost(load(said), length, batch)
    assert found.memory.training is not None, found.unknown
    command = [sys.executable, __file__, "--steps", str(steps), "--child", name]
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 20), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env)
    measured = int(done.stdout.split()[-1])
    parts = {name: part or 0 for name, part in found.memory.to_plain().items()}
    return {**parts, "measured": measured, "difference": found.memory.training / measured - 1}


def main() -> int:
    """Print the table; 1 where a case from 1 GB on lies too far off."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(child(options.child, options.steps))
        return 0
    names = ("weights", "gradients", "optimizer", "activations", "averages", "training", "measured")
    if not options.json:
        print(f"{'GB':<26}" + "".join(f"{'foretold' if each == 'training' else each:>12}" for each in names))
    figures = {}
    for name in options.cases or CASES:
        found = figures[name] = measure(name, options.steps)
        if not options.json:
            sizes = "".join(f"{found[each] / 1e9:>12.3f}" for each in names)
            print(f"{name:<26}{sizes}{found['difference']:>+9.1%}", flush=True)
    if options.json:
        print(json.dumps(figures, indent=2))
    return int(any(each["measured"] >= FROM and abs(each["difference"]) > LIMIT for each in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
