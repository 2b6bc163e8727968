"""The gated feed-forward against its formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from blueprint.component import Site
from blueprint.ops import Flow
from blueprint_registry.feed_forward.gated import Gated

SITE = Site(d_model=16, width=16)
GATES = {"silu": F.silu, "gelu": F.gelu, "sigmoid": torch.sigmoid, "identity": lambda x: x}


@pytest.mark.parametrize("activation", GATES)
def test_it_is_its_formula(activation: str) -> None:
    said = Gated(d_ff=24, activation=activation, bias=True).filled(SITE)
    made, x = said.build(SITE), torch.randn(2, 3, 16)
    gate, up, down = made.gate, made.up, made.down
    hidden = GATES[activation](x @ gate.weight.T + gate.bias) * (x @ up.weight.T + up.bias)
    y, terms = made(x, Flow.of(2, 3))
    torch.testing.assert_close(y, hidden @ down.weight.T + down.bias)
    assert terms == {}
    assert [m.role for m in (gate, up, down)] == ["linear", "linear", "residual"]


@pytest.mark.parametrize("d_model", [64, 256, 1000, 4096])
def test_its_default_width_holds_about_as_many_parameters_as_an_mlp(d_model: int) -> None:
    width = Gated().filled(Site(d_model=d_model, width=d_model)).d_ff
    assert isinstance(width, int)
    assert width % 64 == 0
    assert 0 <= 3 * width - 8 * d_model < 3 * 64


def test_without_biases_there_are_three_matrices() -> None:
    made = Gated(d_ff=24).filled(SITE).build(SITE)
    assert sorted(name for name, _ in made.named_parameters()) == ["down.weight", "gate.weight", "up.weight"]


def test_it_is_gpt_oss_experts_activation() -> None:
    """Bounds that bite, an offset, and a sigmoid of their own steepness."""
    from transformers.models.gpt_oss.modeling_gpt_oss import GptOssConfig, GptOssExperts

    config = GptOssConfig(hidden_size=16, intermediate_size=24, num_local_experts=1, swiglu_limit=0.7, swiglu_alpha=1.3)
    experts = GptOssExperts(config)
    swish = {"type": "swish", "alpha": 1.3}
    made = Gated(d_ff=24, activation=swish, bias=True, clamp=0.7, up_offset="2 / 2").filled(SITE).build(SITE)
    x = torch.randn(2, 3, 16)
    both = torch.stack([made.gate(x), made.up(x)], -1).flatten(-2)
    assert (both.abs() > 0.7).any()
    torch.testing.assert_close(made(x, Flow.of(2, 3))[0], made.down(experts._apply_gate(both)))


def test_it_is_bitnets_with_a_norm_inside() -> None:
    from transformers.models.bitnet.modeling_bitnet import BitNetConfig, BitNetMLP

    theirs = BitNetMLP(BitNetConfig(hidden_size=16, intermediate_size=24, hidden_act="relu2", rms_norm_eps=1e-3))
    said = Gated(d_ff=24, activation="relu2", inner_norm={"type": "rms", "eps": 1e-3})
    made = said.filled(SITE).build(SITE)
    renamed = {"gate_proj": "gate", "up_proj": "up", "down_proj": "down", "ffn_sub_norm": "inner_norm"}
    weights = {name.split(".")[0]: torch.randn_like(value) for name, value in theirs.state_dict().items()}
    theirs.load_state_dict({f"{name}.weight": value for name, value in weights.items()})
    made.load_state_dict({f"{renamed[name]}.weight": value for name, value in weights.items()})
    x = torch.randn(2, 3, 16)
    torch.testing.assert_close(made(x, Flow.of(2, 3))[0], theirs(x))


def test_what_is_inside_stands_at_the_hidden_width() -> None:
    parts = {name: site for name, _, site in Gated(d_ff="3 * d_model", inner_norm="rms").parts(SITE)}
    assert {name: site.width for name, site in parts.items()} == {"activation": 48, "inner_norm": 48}
