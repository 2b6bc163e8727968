"""DeBERTa's second version: the library's logits from the same weights, and the number of its parameters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import blueprint as bp
from tests.parity.reference import randomise

LENGTH, PADDED = 30, 7
CONFIG: dict[str, Any] = {
    "vocab_size": 101,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
    "type_vocab_size": 0,
    "layer_norm_eps": 1e-3,
    "pad_token_id": 0,
    "relative_attention": True,
    "position_biased_input": False,
    "pos_att_type": ["p2c", "c2p"],
    "position_buckets": 8,
    "max_relative_positions": 16,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
}
NORM = {"type": "layer", "eps": 1e-3}
NAMES = {
    "embedding.tokens": "deberta.embeddings.word_embeddings",
    "embedding.positions": "deberta.embeddings.position_embeddings",
    "embedding.token_types": "deberta.embeddings.token_type_embeddings",
    "embedding.norm": "deberta.embeddings.LayerNorm",
    "embedding.projection": "deberta.embeddings.embed_proj",
    "attention.position.table": "deberta.encoder.rel_embeddings",
    "attention.position.norm": "deberta.encoder.LayerNorm",
    "attention.position.k": "attention.self.pos_key_proj",
    "attention.position.q": "attention.self.pos_query_proj",
    "attention.q": "attention.self.query_proj",
    "attention.k": "attention.self.key_proj",
    "attention.v": "attention.self.value_proj",
    "attention.o": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "feed_forward.up": "intermediate.dense",
    "feed_forward.down": "output.dense",
    "feed_forward_norm": "output.LayerNorm",
    "head.transform.dense": "cls.predictions.transform.dense",
    "head.transform.norm": "cls.predictions.transform.LayerNorm",
    "head.output": "cls.predictions",
}


def ours(position: dict[str, Any], **embedding: Any) -> nn.Module:
    terms = len(position.get("terms", [1, 2]))
    position = {"type": "disentangled", "buckets": 8, "max_distance": 16, "norm": NORM, **position}
    return bp.build(
        bp.load(
            {
                "model": {
                    "type": "encoder",
                    "vocab_size": 101,
                    "d_model": 32,
                    "layers": 3,
                    "max_length": 40,
                    "norm": NORM,
                    "embedding": {"norm": NORM, **embedding},
                    "block": {
                        "placement": "post",
                        "attention": {
                            "heads": 4,
                            "bias": True,
                            "scale": f"1/sqrt({1 + terms}*head_dim)",
                            "position": position,
                        },
                        "feed_forward": {"type": "mlp", "d_ff": 48, "activation": "gelu", "bias": True},
                    },
                    "final_norm": None,
                    "head": {"type": "masked_language_model", "tie": True},
                }
            }
        )
    ).eval()


def theirs(**config: Any) -> nn.Module:
    from transformers import DebertaV2Config, DebertaV2ForMaskedLM

    made: nn.Module = DebertaV2ForMaskedLM(DebertaV2Config(**{**CONFIG, **config}, attn_implementation="eager")).eval()
    randomise(made)
    return made


@pytest.mark.parametrize(
    ("position", "embedding", "config"),
    [
        ({}, {}, {}),
        ({"projections": "own"}, {}, {"share_att_key": False}),
        ({"terms": ["c2p"], "norm": None}, {}, {"pos_att_type": ["c2p"], "norm_rel_ebd": "none"}),
        ({"terms": ["p2c"]}, {}, {"pos_att_type": ["p2c"]}),
        (
            {"terms": ["p2c"], "projections": "own"},
            {"token_types": 2},
            {"pos_att_type": ["p2c"], "share_att_key": False, "type_vocab_size": 2},
        ),
        ({"buckets": None}, {"positions": "learned"}, {"position_buckets": -1, "position_biased_input": True}),
        # As version 3 says it: the buckets end with the longest sequence.
        ({"buckets": 12, "max_distance": 40}, {}, {"position_buckets": 12, "max_relative_positions": -1}),
        # The sum of narrow tables is projected ahead of its norm.
        (
            {},
            {"width": 20, "project": "sum", "projection_bias": False, "positions": "learned", "token_types": 2},
            {"embedding_size": 20, "position_biased_input": True, "type_vocab_size": 2},
        ),
    ],
    ids=["shared projections", "own", "c2p", "p2c", "p2c by its own", "every distance", "longest", "narrow tables"],
)
def test_deberta_for_masked_tokens(position: Any, embedding: Any, config: Any) -> None:
    reference, model = theirs(**config), ours(position, **embedding)
    state = dict(reference.named_parameters())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            path, _, own = name.rpartition(".")
            layer = re.match(r"layers\.(\d+)\.", path)
            source = NAMES[path[layer.end() :] if layer else path]
            if not source.startswith(("deberta.", "cls.")):
                assert layer is not None
                source = f"deberta.encoder.layer.{layer[1]}.{source}"
            parameter.copy_(state.pop(f"{source}.{own}"))
    assert not state, f"not used: {sorted(state)}"
    ids = torch.randint(1, 101, (3, LENGTH), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, -PADDED:] = 0
    mask[2, -2 * PADDED :] = 0
    for keep in (torch.ones_like(ids), mask):
        with torch.no_grad():
            expected, found = reference(ids, keep).logits[keep.bool()], model(ids, keep).logits[keep.bool()]
        assert (found - expected).abs().max() <= 2e-5 * expected.std()


@pytest.mark.parametrize(("buckets", "max_distance"), [(256, 512), (8, 16), (12, 40), (32, 18), (4, 100)])
def test_buckets_are_the_librarys_at_every_distance(buckets: int, max_distance: int) -> None:
    from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

    from blueprint_registry.position.disentangled_nn import bucket_of

    distance = torch.arange(-max_distance - 1, max_distance + 2)
    expected = make_log_bucket_position(distance, buckets, max_distance).long()
    assert torch.equal(bucket_of(distance, buckets, max_distance), expected)
    # What lies beyond shares the last vector, so that more need not be told apart.
    beyond = make_log_bucket_position(torch.tensor([-10 * max_distance, 10 * max_distance]), buckets, max_distance)
    assert ((beyond + buckets).clamp(0, 2 * buckets - 1) == torch.tensor([0, 2 * buckets - 1])).all()
    assert expected[-1] + buckets >= 2 * buckets - 1


@pytest.mark.parametrize("embedding_size", [20, 32])
def test_its_family_knows_narrow_tables(embedding_size: int, tmp_path: Path) -> None:
    reference = theirs(embedding_size=embedding_size, position_biased_input=True, type_vocab_size=2)
    reference.save_pretrained(tmp_path / "theirs")
    spec, model = bp.import_hf(tmp_path / "theirs")
    ids = torch.randint(1, 101, (3, LENGTH), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = reference(ids).logits, model.eval()(ids).logits
    assert (found - expected).abs().max() <= 2e-5 * expected.std()
    assert ("project" in spec.to_plain(defaults=False)["model"]["embedding"]) == (embedding_size != 32)
    bp.export_hf(model, tmp_path / "ours")
    again = type(reference).from_pretrained(tmp_path / "ours", attn_implementation="eager").eval()
    with torch.no_grad():
        assert torch.equal(again(ids).logits, expected)
