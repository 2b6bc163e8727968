"""What stands for a sequence: found among its real tokens, wherever padding lies."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

import blueprint as bp
from blueprint.component import Site, as_faults
from blueprint.kinds import Pool
from blueprint.ops import Flow

SITE = Site(d_model=8, width=8, vocab_size=20, causal=False)
IDS = torch.tensor([[4, 9, 3, 9, 1], [4, 1, 3, 9, 19], [9, 19, 5, 2, 6]])
KEEP = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 1]])
FLOW = Flow.of(3, 5, attention_mask=KEEP, input_ids=IDS)


def pool(said: Any) -> Any:
    made = Pool.of(said).filled(SITE).build(SITE)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made.eval()


@pytest.mark.parametrize(
    ("said", "places"),
    [
        ("first", [0, 0, 2]),
        ("last", [4, 2, 4]),
        ("largest", [1, 0, 4]),
        # The second row has its 9 in the padding alone, the third before its text: both fall back to their first token.
        ({"type": "eos", "id": 9}, [1, 0, 2]),
        ({"type": "eos", "id": 3}, [2, 2, 2]),
        ({"type": "eos", "id": 4}, [0, 0, 2]),
    ],
    ids=str,
)
def test_one_real_token_is_taken(said: Any, places: list[int]) -> None:
    x = torch.randn(3, 5, 8)
    torch.testing.assert_close(pool(said)(x, FLOW), x[torch.arange(3), places])


def test_a_learned_query_gathers_from_real_tokens() -> None:
    made, x = pool({"type": "attention", "heads": 2}), torch.randn(3, 5, 8)
    q, k, v = (layer(y) for layer, y in ((made.q, made.query.weight), (made.k, x), (made.v, x)))
    q, k, v = (each.unflatten(-1, (2, 4)).transpose(-3, -2) for each in (q.expand(3, 1, 8), k, v))
    expected = made.o(F.scaled_dot_product_attention(q, k, v, KEEP.bool()[:, None, None]).transpose(1, 2).flatten(1))
    torch.testing.assert_close(made(x, FLOW), expected)
    torch.testing.assert_close(made(x[:1]), expected[:1])


def test_what_looks_for_an_id_needs_ids() -> None:
    for said in ("largest", {"type": "eos", "id": 2}):
        with pytest.raises(ValueError, match="needs the ids"):
            pool(said)(torch.randn(1, 3, 8), Flow.of(1, 3))
        images = Site(d_model=8, width=8, ids=False)
        assert "have none" in next(as_faults(Pool.of(said).check(images))).message
    (fault,) = as_faults(Pool.of({"type": "eos", "id": 20}).check(SITE))
    assert "no id 20 among 20" in fault.message


def test_heads_of_a_query_share_the_width() -> None:
    (fault,) = as_faults(Pool.of({"type": "attention", "heads": 3}).check(SITE))
    assert "evenly" in fault.message
    with pytest.raises(ValueError, match="there is none"):
        Pool.of({"type": "attention", "heads": 2, "norm": "layer"})


@pytest.mark.parametrize("model", ["encoder", "dual_encoder"])
def test_what_the_feed_forward_of_a_pool_tells_is_told(model):
    """The losses of its experts are the model's, as if they stood in a layer."""
    experts = {"type": "experts", "experts": 4, "balance": "expert"}
    pool = {"type": "attention", "heads": 4, "feed_forward": experts}
    stack = {"d_model": 32, "layers": 1, "block": {"attention": {"heads": 4}}}
    said = {"type": "encoder", **stack, "vocab_size": 61, "head": {"type": "classification", "labels": 3, "over": pool}}
    inputs = {"input_ids": torch.arange(16).view(2, 8)}
    if model == "dual_encoder":
        image = {**stack, "embedding": {"image_size": 12, "patch_size": 4}, "pool": pool}
        said = {"type": model, "text": {**stack, "vocab_size": 61}, "image": image, "contrast": {"width": 16}}
        inputs["pixel_values"] = torch.randn(2, 3, 12, 12)
    built = bp.build(bp.load({"model": said})).train()
    loss = built(**inputs).terms["balance_loss"]
    loss.backward()
    router = next(weight for name, weight in built.named_parameters() if "router" in name)
    assert loss > 0
    assert router.grad.abs().sum() > 0
