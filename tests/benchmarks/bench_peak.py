"""The most memory that a training step takes: ours against transformers', and our loss against the plain one.

The step: forward, loss, backward and AdamW on the 31.6 M-parameter network in the shape of Llama, fp32; ours is at most
0.8 × transformers', which computes its loss by `labels=`. The loss: hidden states and a table of 131,072 rows, forward
and backward; what it takes above these and their gradients is at most a fifth of the plain form's, and the gradients
are equal to 1e-6 (‖difference‖ / ‖gradient‖, each in float32). Each measurement is the growth of a process of its own,
one thread, in which every large block goes back to the system when it is freed.

    python tests/benchmarks/bench_peak.py [--batch 8] [--length 256] [--tokens 2048] [--width 512]
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))
if TYPE_CHECKING:
    from torch import Tensor, nn

MOST, LEAST, EQUAL = 0.8, 5.0, 1e-6
VOCABULARY = 1 << 17
STEPS = ("blueprint", "eager", "sdpa")
LOSSES = ("chunked", "plain")


def resident(name: str) -> int:
    """A figure of this process's memory in bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None, "this needs Linux"
    return int(found[1]) * 1024


def grown(run: Callable[[], object]) -> int:
    """Bytes by which the process's peak exceeds what it held before."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident("VmRSS")
    run()
    return resident("VmHWM") - before


def train(model: nn.Module, name: str, batch: int, length: int, steps: int) -> None:
    """Make training steps."""
    import torch
    from llama_shape import VOCABULARY as WORDS

    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-4, fused=True)
    for _ in range(steps):
        ids_BT = torch.randint(WORDS, (batch, length + 1))
        if name == "blueprint":
            loss = model.cross_entropy(model(ids_BT[:, :-1], logits=False).hidden, ids_BT[:, 1:])
        else:
            loss = model(input_ids=ids_BT[:, :-1], labels=ids_BT[:, :-1], use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def stepping(name: str, batch: int, length: int) -> int:
    """Bytes that a network, its optimizer and steps take."""
    from llama_shape import llama_config, ours

    def made() -> nn.Module:
        if name == "blueprint":
            return ours()
        from transformers import LlamaForCausalLM

        config = llama_config()
        config._attn_implementation = name
        return LlamaForCausalLM(config).float()

    model = made()
    train(model, name, 1, 8, 2)  # loads the kernels
    del model
    return grown(lambda: train(made(), name, batch, length, 3))


def of_loss(name: str, hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor) -> Tensor:
    """Cross-entropy, chunked or plain."""
    from torch.nn import functional as F

    from blueprint.ops import cross_entropy

    if name == "chunked":
        return cross_entropy(hidden_ND, weight_VD, target_N)
    return F.cross_entropy(F.linear(hidden_ND, weight_VD), target_N)


def sample(tokens: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states as a norm gives them, a table, targets."""
    import torch

    torch.manual_seed(0)
    hidden_ND, weight_VD = torch.randn(tokens, width), torch.randn(VOCABULARY, width) * width**-0.5
    return hidden_ND.requires_grad_(), weight_VD.requires_grad_(), torch.randint(VOCABULARY, (tokens,))


def losing(name: str, tokens: int, width: int) -> int:
    """Bytes that a loss takes above its inputs and their gradients."""
    hidden_ND, weight_VD, target_N = sample(tokens, width)
    of_loss(name, hidden_ND[:2], weight_VD[:64], target_N[:2] % 64).backward()  # loads the kernels
    hidden_ND.grad = weight_VD.grad = None
    taken = grown(lambda: of_loss(name, hidden_ND, weight_VD, target_N).backward())
    return taken - hidden_ND.nbytes - weight_VD.nbytes


def gradients_differ(tokens: int, width: int) -> float:
    """The larger relative distance of the two forms' gradients."""
    inputs = sample(tokens, width)
    found = []
    for name in LOSSES:
        of_loss(name, *inputs).backward()
        found.append([each.grad for each in inputs[:2]])
        inputs[0].grad = inputs[1].grad = None
    return max(float((a - b).norm() / b.norm()) for a, b in zip(*found, strict=True))


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Every figure, each from a process of its own."""
    told = ("batch", "length", "tokens", "width")
    said = [text for name in told for text in (f"--{name}", str(getattr(arguments, name)))]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    found: dict[str, float] = {}
    for name in (*STEPS, *LOSSES, "gradients"):
        command = [sys.executable, __file__, *said, "--child", name]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        found[name] = float(done.stdout.split()[-1])
    found["step_ratio"] = found["blueprint"] / min(found["eager"], found["sdpa"])
    found["loss_ratio"] = found["plain"] / found["chunked"]
    return found


def child(arguments: argparse.Namespace) -> float:
    """One figure, of this process."""
    import torch

    torch.set_num_threads(1)
    if arguments.child in STEPS:
        return stepping(arguments.child, arguments.batch, arguments.length)
    if arguments.child in LOSSES:
        return losing(arguments.child, arguments.tokens, arguments.width)
    return gradients_differ(arguments.tokens, arguments.width)


def main() -> int:
    """Print the figures; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(child(arguments))
        return 0
    found = measure(arguments)
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        print(f"training step, fp32, {arguments.batch} × {arguments.length} tokens: weights, optimizer and all")
        for name in STEPS:
            print(f"{'transformers, ' * (name != 'blueprint') + name:22} {found[name] / 1e6:8.0f} MB")
        print(f"{found['step_ratio']:.3f} × the lesser of transformers' (at most {MOST})")
        print(f"loss of {arguments.tokens:,} tokens, width {arguments.width}, vocabulary {VOCABULARY:,}: what is extra")
        for name in LOSSES:
            print(f"{name:22} {found[name] / 1e6:8.0f} MB")
        print(f"{found['loss_ratio']:.1f} × less (at least {LEAST}), gradients differ by {found['gradients']:.1e}")
    good = found["step_ratio"] <= MOST and found["loss_ratio"] >= LEAST and found["gradients"] <= EQUAL
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
