"""A block of experts, forward and backward, fp32, one thread: against transformers', and against matrix products alone.

Both blocks have the same weights, route the same tokens and give the same outputs, which is asserted. Steps are taken
in turn, ratios are medians of pairs. Transformers' block runs as its default loop and with its grouped products. The
bound is every expert's products alone, of as many rows as it was sent, into memory that is there already: forward, and
backward for inputs and weights.

    python tests/benchmarks/bench_experts.py [--tokens 4096] [--repeats 7] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import blueprint as bp
from blueprint.ops import Flow

sys.path.insert(0, str(Path(__file__).parent))
from llama_shape import compare, ratio

WIDTH = 512


@dataclass(frozen=True)
class Shape:
    """So many experts, of which k serve a token, each so wide."""

    experts: int
    k: int
    d_ff: int

    def __str__(self) -> str:
        return f"{self.experts} experts, top {self.k}, {self.d_ff}"


COARSE, FINE, MANY = Shape(8, 2, 1024), Shape(64, 6, 256), Shape(256, 6, 256)


def ours(shape: Shape, tokens: int) -> nn.Module:
    """The registry's component, router included."""
    said = {"type": "experts", "experts": shape.experts, "expert": {"type": "gated", "d_ff": shape.d_ff}}
    said["router"] = {"type": "top_k", "k": shape.k, "renormalise": True}
    model = {"d_model": WIDTH, "layers": 1, "vocab_size": 8, "max_length": tokens}
    spec = {"model": {"type": "decoder", **model, "block": {"attention": {"heads": 8}, "feed_forward": said}}}
    return bp.build(bp.load(spec)).get_submodule("layers.0.feed_forward").train()


def theirs(shape: Shape, how: str, mine: nn.Module) -> nn.Module:
    """Mixtral's block with the weights of ours."""
    import transformers
    from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

    config = transformers.MixtralConfig(
        hidden_size=WIDTH,
        intermediate_size=shape.d_ff,
        num_local_experts=shape.experts,
        num_experts_per_tok=shape.k,
    )
    config._experts_implementation = how
    block: Any = MixtralSparseMoeBlock(config).float().train()
    own = mine.state_dict()
    with torch.no_grad():
        block.gate.weight.copy_(own["router.logits.weight"])
        block.experts.gate_up_proj.copy_(torch.cat((own["experts.gate.weight"], own["experts.up.weight"]), 1))
        block.experts.down_proj.copy_(own["experts.down.weight"])
    made: nn.Module = block
    return made


def step(block: Callable[[Tensor], Tensor], parameters: list[nn.Parameter], x: Tensor, g: Tensor) -> Callable[[], None]:
    """A closure that goes forward and back, to gradients of the input and of all weights."""

    def run() -> None:
        block(x).backward(g)
        x.grad = None
        for each in parameters:
            each.grad = None

    return run


def products(shape: Shape, load: list[int]) -> Callable[[], None]:
    """What no dispatch can do without: three matrices an expert, three products each."""
    rows, inner = sum(load), shape.d_ff
    wide, thin = torch.randn(rows, WIDTH), torch.randn(rows, inner)
    into, back = torch.randn(shape.experts, inner, WIDTH), torch.randn(shape.experts, WIDTH, inner)
    wide_out, thin_out = torch.empty_like(wide), torch.empty_like(thin)
    into_out, back_out = torch.empty_like(into), torch.empty_like(back)

    def matrix(x: Tensor, weight: Tensor, g: Tensor, y_out: Tensor, x_out: Tensor, weight_out: Tensor) -> None:
        for phase in range(3):
            start = 0
            for expert, count in enumerate(load):
                own = slice(start, start := start + count)
                if phase == 0:
                    torch.mm(x[own], weight[expert].T, out=y_out[own])
                elif phase == 1:
                    torch.mm(g[own], weight[expert], out=x_out[own])
                else:
                    torch.mm(g[own].T, x[own], out=weight_out[expert])

    def run() -> None:
        for _ in range(2):
            matrix(wide, into, thin, thin_out, wide_out, into_out)
        matrix(thin, back, wide, wide_out, thin_out, back_out)

    return run


def runs_of(shape: Shape, tokens: int, peers: bool = True) -> dict[str, Callable[[], object]]:
    """Ours, transformers' two, the bound; raises AssertionError where outputs or gradients differ."""
    torch.manual_seed(0)
    x, g = torch.randn(1, tokens, WIDTH, requires_grad=True), torch.randn(1, tokens, WIDTH)
    block = ours(shape, tokens)
    flow = Flow.of(1, tokens)
    call: dict[str, Callable[[Tensor], Tensor]] = {"blueprint": lambda x: block(x, flow)[0]}
    modules: dict[str, nn.Module] = {"blueprint": block}
    for how in ("eager", "grouped_mm") if peers else ():
        modules[how] = call[how] = theirs(shape, how, block)
    found = {}
    for name, module in call.items():
        y = module(x)
        y.backward(g)
        assert x.grad is not None
        found[name] = (y.detach(), x.grad)
        x.grad = None
        torch.testing.assert_close(found[name], found["blueprint"], rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        load = [int(each) for each in block.router(x, flow).load()]
    made: dict[str, Callable[[], object]] = {
        name: step(call[name], list(modules[name].parameters()), x, g) for name in call
    }
    return {**made, "products": products(shape, load)}


def measure(shape: Shape, tokens: int, repeats: int) -> dict[str, float]:
    """Seconds of each, and the ratios of ours to the others."""
    taken = compare(runs_of(shape, tokens), repeats)
    return {
        **{f"{name}_seconds": statistics.median(times) for name, times in taken.items()},
        "ratio_to_loop": ratio(taken["blueprint"], taken["eager"]),
        "ratio_to_grouped": ratio(taken["blueprint"], taken["grouped_mm"]),
        "share_of_bound": ratio(taken["blueprint"], taken["products"]),
    }


def growth(tokens: int, repeats: int) -> float:
    """How many times as long four times the experts take, of which as many serve a token."""
    few, many = (runs_of(shape, tokens, peers=False)["blueprint"] for shape in (FINE, MANY))
    taken = compare({"few": few, "many": many}, repeats)
    return ratio(taken["few"], taken["many"])


def main() -> int:
    """Print the figures; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    figures: dict[str, Any] = {}
    for shape in (COARSE, FINE):
        figures[str(shape)] = measure(shape, arguments.tokens, arguments.repeats)
    figures["growth"] = growth(arguments.tokens, arguments.repeats)
    coarse, fine = figures[str(COARSE)], figures[str(FINE)]
    met = (
        min(coarse["ratio_to_loop"], coarse["ratio_to_grouped"], fine["ratio_to_grouped"]) >= 1
        and fine["ratio_to_loop"] >= 4
        and figures["growth"] <= 1.25
    )
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return int(not met)
    print(f"experts, forward and backward, fp32, one thread, {arguments.tokens:,} tokens, width {WIDTH}")
    named = {"blueprint": "blueprint", "eager": "transformers, its loop", "grouped_mm": "transformers, grouped"}
    for shape in (COARSE, FINE):
        told = figures[str(shape)]
        print(shape)
        for name, what in {**named, "products": "matrix products alone"}.items():
            print(f"  {what:22} {told[f'{name}_seconds']:7.3f} s")
        loop, grouped = told["ratio_to_loop"], told["ratio_to_grouped"]
        print(f"  {loop:.2f} × the loop, {grouped:.2f} × grouped, {told['share_of_bound']:.0%} of the bound")
    print(f"{FINE.experts} → {MANY.experts} experts: {figures['growth'] - 1:+.0%}")
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
