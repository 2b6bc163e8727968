"""What an import takes beyond reading a checkpoint once and writing it once, and how much memory it needs.

A Llama-shaped checkpoint in bfloat16 is made, in shards, with random bits. Then in turn, each in a process of its own
that has imported its libraries and begins its clock after that: the safetensors library reads every tensor and writes
them all into one file, synced as every file of ours is; and `blueprint import` brings the same checkpoint in. Between
the two everything on disk is settled. Medians of the paired rounds are compared. Memory is the highest resident memory
(Linux's `VmHWM`) over that before the import; it counts pages of files that are mapped.

    python tests/benchmarks/bench_import.py [--gigabytes 2] [--rounds 5] [--fused]

`--fused` stores queries, keys and values, and gate and up, as one tensor each, and all of them transposed, so that
nothing can be copied as it is.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HIDDEN, HEADS, KV, INNER, VOCABULARY = 2048, 16, 8, 5632, 32000
SHARD = 500_000_000

FUSED = """\
match: {model_type: fused_llama}
inert: {torch_dtype: any}
model:
  type: decoder
  vocab_size: ${hf.vocab_size}
  d_model: ${hf.hidden_size}
  layers: ${hf.num_hidden_layers}
  max_length: ${hf.max_position_embeddings}
  norm: {type: rms, eps: "${hf.rms_norm_eps}"}
  block:
    attention: {heads: "${hf.num_attention_heads}", kv_heads: "${hf.num_key_value_heads}"}
    feed_forward: {type: gated, d_ff: "${hf.intermediate_size}"}
weights:
  embedding.tokens.weight: model.embed_tokens.weight
  layers.{i}.{attention,feed_forward}_norm.weight: "model.layers.{i}.{input,post_attention}_layernorm.weight"
  layers.{i}.attention.{q,k,v}.weight: {from: "model.layers.{i}.qkv.weight", as: "m (q + k + v) -> q m, k m, v m"}
  layers.{i}.attention.o.weight: {from: "model.layers.{i}.o.weight", as: a b -> b a}
  layers.{i}.feed_forward.{gate,up}.weight: {from: "model.layers.{i}.gate_up.weight", as: "m (g + u) -> g m, u m"}
  layers.{i}.feed_forward.down.weight: {from: "model.layers.{i}.down.weight", as: a b -> b a}
  norm.weight: model.norm.weight
  head.weight: lm_head.weight
"""


@dataclass(frozen=True)
class Round:
    """Seconds of both ways and bytes of memory of the import."""

    plain: float
    ours: float
    memory: int

    @property
    def ratio(self) -> float:
        return self.ours / self.plain


def shapes(layers: int, fused: bool) -> dict[str, tuple[int, ...]]:
    """The tensors of the checkpoint."""
    q, kv = HIDDEN, HIDDEN * KV // HEADS
    one: dict[str, tuple[int, ...]] = {"input_layernorm": (HIDDEN,), "post_attention_layernorm": (HIDDEN,)}
    if fused:
        one |= {"qkv": (HIDDEN, q + 2 * kv), "o": (HIDDEN, HIDDEN), "gate_up": (HIDDEN, 2 * INNER)}
        one |= {"down": (INNER, HIDDEN)}
    else:
        one |= {f"self_attn.{n}_proj": (size, HIDDEN) for n, size in zip("qkvo", (q, kv, kv, q), strict=True)}
        one |= {f"mlp.{n}_proj": (INNER, HIDDEN) for n in ("gate", "up")} | {"mlp.down_proj": (HIDDEN, INNER)}
    found = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for i in range(layers):
        found.update({f"model.layers.{i}.{name}.weight": shape for name, shape in one.items()})
    return {**found, "model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCABULARY, HIDDEN)}


def make(folder: Path, nbytes: int, fused: bool = False) -> int:
    """Write a checkpoint of about so many bytes; returns how many the largest tensor has."""
    from blueprint.interop.safetensors_out import Out, sharded, shards

    def size(layers: int) -> int:
        return sum(2 * math.prod(shape) for shape in shapes(layers, fused).values())

    layers = max(1, round((nbytes - size(0)) / (size(1) - size(0))))
    said = {
        "model_type": "fused_llama" if fused else "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "torch_dtype": "bfloat16",
    }
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(said))
    (folder / "family.yml").write_text(FUSED)
    outs = [Out(name, "BF16", shape) for name, shape in shapes(layers, fused).items()]
    generator = np.random.default_rng(0)
    with sharded(folder, shards(outs, SHARD)) as writers:
        for out in outs:
            writers[out.name].put(out.name, generator.integers(0, 1 << 16, out.shape, np.uint16))
    return max(out.nbytes for out in outs)


def child(way: str, source: Path, target: Path, family: str | None) -> dict[str, Any]:
    """Do it one way in this process: seconds, and bytes of memory beyond what was there."""
    import torch
    from safetensors.torch import load_file, save_file

    import blueprint.interop.import_ as interop

    torch.set_num_threads(1)
    before, began = resident("VmRSS"), time.perf_counter()
    if way == "plain":
        tensors: dict[str, torch.Tensor] = {}
        for shard in sorted(source.glob("*.safetensors")):
            tensors |= load_file(shard)
        target.mkdir()
        save_file(tensors, target / "model.safetensors")
        handle = os.open(target / "model.safetensors", os.O_RDONLY)
        os.fsync(handle)
    else:
        interop.import_folder(source, target, family=family)
    return {"seconds": time.perf_counter() - began, "memory": resident("VmHWM") - before}


def resident(name: str) -> int:
    """A figure of this process's memory in bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None, "this needs Linux"
    return int(found[1]) * 1024


def measure(source: Path, rounds: int, fused: bool = False) -> list[Round]:
    """Both ways in turn."""
    found = []
    for number in range(rounds):
        results = {}
        for way in ("plain", "ours") if number % 2 else ("ours", "plain"):
            target = source.parent / "target"
            os.sync()
            command = [sys.executable, __file__, "--child", way, str(source), str(target)]
            command += [str(source / "family.yml")] if fused else []
            env = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
            results[way] = json.loads(done.stdout.splitlines()[-1])
            shutil.rmtree(target)
        found.append(Round(results["plain"]["seconds"], results["ours"]["seconds"], results["ours"]["memory"]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--fused", action="store_true")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        way, source, target, *family = options.child
        print(json.dumps(child(way, Path(source), Path(target), family[0] if family else None)))
        return
    with tempfile.TemporaryDirectory() as root:
        source = Path(root) / "checkpoint"
        largest = make(source, int(options.gigabytes * 1e9), options.fused)
        size = sum(path.stat().st_size for path in source.glob("*.safetensors"))
        rounds = measure(source, options.rounds, options.fused)
    print(f"{size / 1e9:.2f} GB, the largest tensor {largest / 1e6:.0f} MB")
    for each in rounds:
        print(f"read and write {each.plain:6.2f} s   import {each.ours:6.2f} s   ratio {each.ratio:.2f}", end="")
        print(f"   memory {each.memory / 1e6:.0f} MB")
    ratio = statistics.median(each.ratio for each in rounds)
    print(f"median ratio {ratio:.2f}, highest memory {max(each.memory for each in rounds) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
