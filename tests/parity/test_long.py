"""A model whose angles change at a length goes on past it as the library's does, which drops its cache there too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Phi3Config, Phi3ForCausalLM

import blueprint as bp

from .checks import first_tie
from .reference import randomise

TRAINED = 12


@torch.no_grad()
@pytest.mark.parametrize("begun", [5, 12, 15])
def test_phi3_is_continued_across_the_switch(begun: int, tmp_path: Path) -> None:
    factors = {"short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [1.0, 2.0, 3.0, 4.0]}
    config = Phi3Config(
        vocab_size=61,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        original_max_position_embeddings=TRAINED,
        pad_token_id=0,
        eos_token_id=2,
        rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, **factors},
        attn_implementation="eager",
    )
    theirs: Any = Phi3ForCausalLM(config).eval()
    randomise(theirs)
    theirs.save_pretrained(tmp_path)
    _, ours = bp.import_hf(tmp_path)
    assert ours.incremental
    ids = torch.randint(3, 61, (2, begun), generator=torch.Generator().manual_seed(begun))
    asked = {"max_new_tokens": 20, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    made = theirs.generate(
        ids, attention_mask=torch.ones_like(ids), output_logits=True, return_dict_in_generate=True, **asked
    )
    read: list[int] = []
    layers: Any = ours.layers
    layers[0].register_forward_hook(lambda _, inputs, __: read.append(inputs[0].shape[1]))
    found = bp.generate(ours, ids, 20, temperature=0)
    for row in range(2):
        until = begun + first_tie(torch.stack([step[row] for step in made.logits]))
        assert until > TRAINED + 3, "too few steps to tell"
        assert found[row, :until].tolist() == made.sequences[row, :until].tolist()
    assert [size for size in read if size > 1] == ([begun, TRAINED + 1] if begun <= TRAINED else [begun])
