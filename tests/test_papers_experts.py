"""Papers with experts: counted by the transformers library and by the papers' own sizes, and costed as they say."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
import torch

import blueprint as bp
from blueprint.cost import parameters
from tests.conftest import ROOT
from tests.test_papers import ACTIVE, COUNTS

PAPERS = ROOT / "specs" / "papers"


@dataclass(frozen=True)
class Theirs:
    """A family of the library, what its configuration must say, and how many of how many experts serve a token."""

    family: str
    chosen: int
    experts: int
    config: dict[str, Any]


V2_LAYERS = {"num_hidden_layers": 60, "first_k_dense_replace": 1, "intermediate_size": 12288}
V2_EXPERTS = {"n_routed_experts": 160, "n_shared_experts": 2, "moe_intermediate_size": 1536}
THEIRS = {
    "mixtral_8x7b": Theirs("Mixtral", 2, 8, {}),
    "qwen3_30b_a3b": Theirs("Qwen3Moe", 8, 128, {"num_hidden_layers": 48, "head_dim": 128}),
    "gpt_oss_20b": Theirs("GptOss", 4, 32, {"num_hidden_layers": 24, "num_local_experts": 32}),
    "llama4_scout": Theirs("Llama4", 1, 16, {}),
    "deepseek_v2": Theirs(
        "DeepseekV2", 6, 160, {"hidden_size": 5120, "num_attention_heads": 128, **V2_LAYERS, **V2_EXPERTS}
    ),
    "deepseek_v3": Theirs("DeepseekV3", 8, 256, {}),
}


@pytest.mark.parametrize("name", THEIRS)
def test_the_transformers_library_counts_as_many(name: str) -> None:
    import transformers

    theirs = THEIRS[name]
    config = "Llama4Text" if theirs.family == "Llama4" else theirs.family
    with torch.device("meta"):
        made = getattr(transformers, f"{config}Config")(**theirs.config)
        model = getattr(transformers, f"{theirs.family}ForCausalLM")(made)
    sizes = {key: each.numel() for key, each in model.named_parameters()}
    assert sum(sizes.values()) == COUNTS[name]
    routed = sum(size for key, size in sizes.items() if ".experts." in key)
    assert ACTIVE[name] == COUNTS[name] - routed + routed * theirs.chosen // theirs.experts


def test_the_library_counts_as_many_of_switch_c() -> None:
    import transformers

    def counted(experts: int) -> int:
        layers = dict.fromkeys(("num_layers", "num_decoder_layers"), 15)
        sparse = dict.fromkeys(("num_sparse_encoder_layers", "num_sparse_decoder_layers"), 15)
        sizes = {"vocab_size": 32128, "d_model": 2080, "d_ff": 6144, "d_kv": 64, "num_heads": 32}
        config = transformers.SwitchTransformersConfig(**sizes, **layers, **sparse, num_experts=experts)
        with torch.device("meta"):
            model = transformers.SwitchTransformersForConditionalGeneration(config)
        return sum(each.numel() for each in model.parameters())

    # Every expert adds the same: the library makes one module for each, and 61,440 take long.
    two, three = counted(2), counted(3)
    assert two + 2046 * (three - two) == COUNTS["switch_c"]


def test_gshard_is_counted_from_its_sizes() -> None:
    d, d_ff, gathered, experts = 1024, 8192, 16 * 128, 2048
    attention, dense = 4 * d * gathered, 2 * d * d_ff
    norms, tables = 2 * d * (2 * 18 + 3 * 18), 3 * 64000 * d
    beside = 54 * attention + 18 * (dense + experts * d) + norms + tables
    assert COUNTS["gshard_600b"] == beside + 18 * experts * dense
    assert ACTIVE["gshard_600b"] == beside + 18 * 2 * dense


def test_deepseek_v3_corrects_by_14848_numbers_that_are_no_parameters() -> None:
    model = bp.build(bp.load(PAPERS / "deepseek_v3.yaml"), device="meta")
    held = {key: each.numel() for key, each in model.named_buffers() if key.endswith("router.correction")}
    assert len(held) == 58
    assert sum(held.values()) == 14_848
    assert held.keys() <= model.state_dict().keys()


def test_deepseek_v3_costs_what_it_says() -> None:
    found = bp.cost(bp.load(PAPERS / "deepseek_v3.yaml"), length=4096)
    assert (found.parameters, found.active_parameters) == (671_026_404_352, 37_552_282_624)
    assert found.cache_bytes_per_token == 70_272
    held = {name: round(number / 1e9, 1) for name, number in found.weights_by_format.items()}
    assert held == {
        "float32": 2684.1,
        "bfloat16": 1342.1,
        "float16": 1342.1,
        "float8": 671.0,
        "int8": 671.0,
        "int4": 335.5,
    }
    # All that is active but the table, which is looked up, and the norms is in a matrix that a token is multiplied by.
    assert found.flops_forward is not None
    assert found.flops_attention is not None
    inner = 61 * (1536 + 512)
    matrices = found.active_parameters - found.by_part["embedding"] - found.by_part["norm"] - inner
    assert found.flops_forward - found.flops_attention == 2 * matrices * 4096
    assert found.flops_training == 3 * found.flops_forward
    assert found.memory.training is not None
    assert "585,318,400 active" in str(found)
    assert not found.unknown


CHILD = """
import json, resource, sys, time
start = time.perf_counter()
import blueprint as bp
found = bp.cost(bp.load(sys.argv[1])).to_plain()
unit = 2**30 if sys.platform == "darwin" else 2**20
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
print(json.dumps({**found, "seconds": time.perf_counter() - start, "gigabytes": peak}))
"""


@pytest.mark.slow
def test_deepseek_v3_is_costed_in_twenty_seconds() -> None:
    command = [sys.executable, "-c", CHILD, str(PAPERS / "deepseek_v3.yaml")]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print(f"DeepSeek-V3 at {found['length']} tokens: {found['seconds']:.1f} s, {found['gigabytes']:.2f} GiB")
    assert found["length"] == 131_072
    assert found["cache_bytes"] == 70_272 * 131_072
    assert found["seconds"] < 20  # torch's import included
    assert found["gigabytes"] < 1.5


def test_experts_count_whole_and_active_by_part() -> None:
    feed_forward = {
        "type": "experts",
        "experts": 8,
        "expert": {"type": "gated", "d_ff": 16},
        "router": {"type": "top_k", "k": 3},
        "shared": {"type": "gated", "d_ff": 24},
        "shared_gate": True,
    }
    block = {"attention": {"heads": 4}, "feed_forward": feed_forward}
    spec = bp.load({"model": {"type": "decoder", "d_model": 32, "layers": 2, "vocab_size": 50, "block": block}})
    model = bp.build(spec, device="meta")
    one = 3 * 32 * 16
    assert parameters.total(model) - parameters.active(model) == 2 * (8 - 3) * one
    found = bp.cost(spec, 10, 3)
    assert found.by_part["feed_forward"] == 2 * (8 * one + 8 * 32 + 3 * 32 * 24 + 32)
    assert (found.layers[0].parameters, found.layers[0].active) == (
        2 * 32 + 4 * 32 * 32 + found.by_part["feed_forward"] // 2,
        2 * 32 + 4 * 32 * 32 + found.by_part["feed_forward"] // 2 - 5 * one,
    )
    matrices = found.active_parameters - found.by_part["embedding"] - found.by_part["norm"]
    assert found.flops_forward is not None
    assert found.flops_attention is not None
    assert found.flops_forward - found.flops_attention == 2 * matrices * 30
