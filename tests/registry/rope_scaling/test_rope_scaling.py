"""Every scaling turns as the transformers library's does, at every position and length."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

import blueprint as bp
from blueprint.component import Site
from blueprint.registry import member

WIDTH, REACH, TRAINED = 16, 256, 64

#: (what we say, what they say)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "linear": ({"type": "linear", "factor": 4.0}, {"rope_type": "linear", "factor": 4.0}),
    "llama3": (
        {"type": "llama3", "factor": 8.0, "original_length": TRAINED},
        {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    ),
    "llama3, a step": (
        {"type": "llama3", "factor": 16.0, "high_freq_factor": 1.0, "original_length": TRAINED},
        {"rope_type": "llama3", "factor": 16.0, "low_freq_factor": 1.0, "high_freq_factor": 1.0},
    ),
    "yarn": ({"type": "yarn", "factor": 4.0, "original_length": TRAINED}, {"rope_type": "yarn", "factor": 4.0}),
    "yarn, not truncated": (
        {"type": "yarn", "factor": 4.0, "original_length": TRAINED, "truncate": False, "beta_fast": 8.0},
        {"rope_type": "yarn", "factor": 4.0, "truncate": False, "beta_fast": 8.0},
    ),
    "yarn, attention factor": (
        {"type": "yarn", "factor": 4.0, "original_length": TRAINED, "attention_factor": 1.5},
        {"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.5},
    ),
    "yarn, mscales": (
        {"type": "yarn", "factor": 40.0, "original_length": TRAINED, "mscale": 1.0, "mscale_all_dim": 0.7},
        {"rope_type": "yarn", "factor": 40.0, "mscale": 1.0, "mscale_all_dim": 0.7},
    ),
    "dynamic": (
        {"type": "dynamic", "factor": 2.0, "original_length": TRAINED},
        {"rope_type": "dynamic", "factor": 2.0},
    ),
    "longrope": (
        {
            "type": "longrope",
            "short_factor": [1 + i / 10 for i in range(WIDTH // 2)],
            "long_factor": [1.0 + i for i in range(WIDTH // 2)],
            "original_length": TRAINED,
        },
        {
            "rope_type": "longrope",
            "short_factor": [1 + i / 10 for i in range(WIDTH // 2)],
            "long_factor": [1.0 + i for i in range(WIDTH // 2)],
        },
    ),
}


@pytest.mark.parametrize("length", [10, TRAINED, TRAINED + 1, 200])
@pytest.mark.parametrize("case", CASES)
def test_queries_turn_as_the_references_do(case: str, length: int) -> None:
    ours, theirs = CASES[case]
    # Dynamic scaling counts from `max_position_embeddings`, the others from the original length.
    reach = TRAINED if ours["type"] == "dynamic" else REACH
    parameters = {"rope_theta": 500.0, "original_max_position_embeddings": TRAINED, **theirs}
    config = LlamaConfig(
        hidden_size=4 * WIDTH,
        num_attention_heads=4,
        head_dim=WIDTH,
        max_position_embeddings=reach,
        rope_parameters=parameters,
    )
    x_BHTE = torch.randn(2, 4, length, WIDTH, generator=torch.Generator().manual_seed(0))
    position_BT = torch.arange(length).expand(2, -1)
    cos, sin = LlamaRotaryEmbedding(config)(x_BHTE, position_BT)
    expected, _ = apply_rotary_pos_emb(x_BHTE, x_BHTE, cos, sin)
    site = Site(d_model=4 * WIDTH, width=WIDTH, max_length=REACH, heads=4)
    position = member("position", "rope")(theta=500.0, scaling=ours).build(site)
    torch.testing.assert_close(position.rotate(x_BHTE, position_BT), expected, atol=2e-5, rtol=1e-5)


def test_sequences_of_a_batch_are_stretched_each_by_its_own_length() -> None:
    site = Site(d_model=4 * WIDTH, width=WIDTH, max_length=REACH, heads=4)
    position = member("position", "rope")(scaling=CASES["longrope"][0]).build(site)
    x_BHTE = torch.randn(2, 1, 100, WIDTH)
    both = torch.stack([torch.arange(100), torch.arange(100).clamp(max=30)])
    together = position.rotate(x_BHTE, both)
    for row in range(2):
        alone = position.rotate(x_BHTE[row : row + 1], both[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone)


SPEC = """
model:
  type: decoder
  d_model: 64
  layers: 2
  max_length: 128
  vocab_size: 50
  block:
    attention: {heads: 4, position: {type: rope, scaling: SCALING}}
"""


@pytest.mark.parametrize(
    ("scaling", "words"),
    [
        ("{type: llama3, low_freq_factor: 4.0, high_freq_factor: 3.0}", "must not be below"),
        ("{type: yarn, factor: 4.0, original_length: 32, mscale: 1.0}", "does nothing alone"),
        ("{type: yarn, factor: 4.0, original_length: 32, beta_slow: 40.0}", "must exceed"),
        ("{type: longrope, short_factor: [1.0], long_factor: [1.0], original_length: 32}", "8 frequencies need 8"),
        ("{type: longrope, short_factor: [1.0, 2.0], long_factor: [1.0], original_length: 32}", "1 long factors"),
        ("lineer", "no rope_scaling is called"),
    ],
)
def test_settings_that_fight_are_told(scaling: str, words: str) -> None:
    with pytest.raises(bp.SpecError, match=words):
        bp.loads(SPEC.replace("SCALING", scaling))


@pytest.mark.parametrize("case", CASES)
def test_frequencies_stay_as_long_as_is_said(case: str) -> None:
    site = Site(d_model=4 * WIDTH, width=WIDTH, max_length=REACH, heads=4)
    scaling: Any = member("position", "rope")(scaling=CASES[case][0]).scaling
    step_F = torch.arange(0, WIDTH, 2) / WIDTH
    lasting = scaling.steady(1, site) is None

    def at(length: int) -> torch.Tensor:
        found: torch.Tensor = scaling.frequencies(
            500.0, step_F, site, None if lasting else torch.tensor([length])
        ).flatten()
        return found

    for length in (1, TRAINED - 1, TRAINED, TRAINED + 1, 200):
        end = scaling.steady(length, site)
        assert torch.equal(at(length), at(end or 10 * REACH))
        assert end is None or not torch.equal(at(length), at(end + 1))
