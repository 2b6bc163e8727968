"""Components against the transformers library's own: run where that is installed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from blueprint.component import Site
from blueprint.ops import Flow
from blueprint.registry import member, names

#: The names by which the library knows activations whose name differs.
ELSEWHERE = {"gelu_tanh": "gelu_pytorch_tanh", "identity": "linear"}


def build(kind: str, name: str, site: Site, **said: Any) -> Any:
    return member(kind, name)(**said).build(site)


#: Those it does not have as a function of their own.
ABSENT = {"softplus", "swish", "xielu"}


@pytest.mark.parametrize("name", sorted(set(names("activation")) - ABSENT))
def test_activations(name: str) -> None:
    from transformers.activations import ACT2FN

    x = torch.randn(1000)
    made = build("activation", name, Site(d_model=8, width=8))
    torch.testing.assert_close(made(x), ACT2FN[ELSEWHERE.get(name, name)](x), atol=1e-6, rtol=1e-6)


def test_xielu_is_apertus() -> None:
    from transformers.activations import XIELUActivation

    theirs = XIELUActivation(alpha_p_init=0.7, alpha_n_init=1.1, beta=0.4, eps=-1e-3, dtype=torch.float32)
    ours = build("activation", "xielu", Site(d_model=8, width=8), alpha_p=0.7, alpha_n=1.1, beta=0.4, eps=-1e-3)
    x = torch.cat((torch.randn(1000), torch.linspace(-2e-3, 2e-3, 9)))
    assert {name: value.shape for name, value in ours.state_dict().items()} == {
        name: value.shape for name, value in theirs.state_dict().items()
    }
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-6, rtol=1e-6)
    slopes = [torch.autograd.grad(each(x).sum(), [each.alpha_p, each.alpha_n]) for each in (ours, theirs)]
    torch.testing.assert_close(slopes[0], slopes[1], atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("offset", [0, 1])
def test_rms_norms_of_llama_and_gemma(offset: int) -> None:
    from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    made = build("norm", "rms", Site(d_model=16, width=16), eps=1e-3, offset=offset)
    reference = (GemmaRMSNorm if offset else LlamaRMSNorm)(16, eps=1e-3)
    for module in (made, reference):
        torch.nn.init.normal_(module.weight, generator=torch.Generator().manual_seed(0))
    x = torch.randn(2, 5, 16)
    torch.testing.assert_close(made(x), reference(x))


@pytest.mark.parametrize("theta", [10000.0, 500000.0])
def test_rope_by_halves_is_llamas_and_by_neighbours_gptjs(theta: float) -> None:
    from transformers.models.gptj import modeling_gptj as gptj
    from transformers.models.llama import modeling_llama as llama

    site = Site(d_model=32, width=16)
    x, position = torch.randn(2, 3, 40, 16), torch.arange(40).expand(2, 40)
    angle = position[..., None].float() / (theta ** (torch.arange(0, 16, 2).float() / 16))
    both = torch.cat((angle, angle), -1)
    expected, _ = llama.apply_rotary_pos_emb(x, x, both.cos(), both.sin())
    found = build("position", "rope", site, theta=theta).rotate(x, position)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    expected = gptj.apply_rotary_pos_emb(x.transpose(1, 2), angle.sin(), angle.cos()).transpose(1, 2)
    found = build("position", "rope", site, theta=theta, pairs="interleaved").rotate(x, position)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("heads", [1, 4, 6, 12])
def test_attention_with_alibi_is_blooms(heads: int) -> None:
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor

    reference = build_alibi_tensor(torch.ones(1, 9), heads, torch.float32).view(1, heads, 1, 9)
    place = torch.arange(9)[None]
    scores = torch.randn(1, heads, 9, 9).masked_fill(torch.ones(9, 9).triu(1).bool(), -torch.inf)
    found = build("position", "alibi", Site(d_model=16, width=4, heads=heads)).bias(place, place)
    torch.testing.assert_close((scores + found).softmax(-1), (scores + reference).softmax(-1))


def test_sinusoids_that_begin_later_are_xglms() -> None:
    from transformers.models.xglm.modeling_xglm import XGLMSinusoidalPositionalEmbedding

    site, flow = Site(d_model=16, width=16), Flow.of(1, 40)
    expected = XGLMSinusoidalPositionalEmbedding(64, 16, 1)(torch.arange(40)[None])[0]
    found = build("positions", "sinusoidal", site, layout="tensor2tensor", offset=2)(flow)[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_sinusoids_by_halves_are_marians_and_tensor2tensors_m2m100s() -> None:
    from transformers.models.m2m_100.modeling_m2m_100 import M2M100SinusoidalPositionalEmbedding
    from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding

    site, flow = Site(d_model=16, width=16), Flow.of(1, 40)
    expected = MarianSinusoidalPositionalEmbedding(40, 16).create_weight()
    found = build("positions", "sinusoidal", site, layout="halves")(flow)[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    expected = M2M100SinusoidalPositionalEmbedding.get_embedding(40, 16, None)
    found = build("positions", "sinusoidal", site, layout="tensor2tensor")(flow)[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
