"""The parts a policy names stay in float32, through casts and autocast; the rest does not."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import blueprint as bp
from blueprint.model.output import default_dtype
from blueprint.ops import Routing

SPEC = """
model:
  type: decoder
  d_model: 32
  layers: 2
  max_length: 64
  vocab_size: 50
  block: {attention: {heads: 4}}
"""


def build(*overrides: str) -> torch.nn.Module:
    return bp.build(bp.loads(SPEC, list(overrides)))


def dtypes(model: torch.nn.Module) -> dict[str, torch.dtype]:
    return {name: p.dtype for name, p in model.named_parameters()}


def test_policy_parts_keep_their_weights_when_the_model_is_cast() -> None:
    model = build("trainer.precision=bf16-true")
    weight = model.norm.weight.clone()
    kept = {n for n, d in dtypes(model.to(torch.bfloat16)).items() if d == torch.float32}
    assert kept == {n for n in dtypes(model) if "norm" in n or n.startswith("head.")}
    assert torch.equal(model.norm.weight, weight)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("decoder", ["model.head={tie: true}"]),
        ("encoder", ["model.head={type: masked_language_model, tie: true}"]),
        (
            "encoder",
            [
                "model.head={type: masked_language_model, tie: true}",
                "model.embedding={width: 24, scale: 2, norm: rms, token_types: 2}",
            ],
        ),
        ("encoder_decoder", ["model.head={tie: true}", "model.embeddings=shared"]),
    ],
)
def test_a_tied_heads_weight_stays_in_float32_too_and_is_read_in_the_streams_format(kind: str, said: list[str]) -> None:
    text = SPEC.replace("type: decoder", f"type: {kind}")
    model = bp.build(bp.loads(text, ["trainer.precision=bf16-true", *said]))
    exact = model.table_VD.clone()
    ids = torch.arange(12).view(2, 6)
    given = {"decoder_input_ids": ids} if kind == "encoder_decoder" else {}
    wide = model(ids, **given).logits
    for _ in range(2):
        model.to(torch.bfloat16)
        assert torch.equal(model.table_VD, exact)
        out = model(ids, **given)
        assert (out.hidden.dtype, out.logits.dtype) == (torch.bfloat16, torch.float32)
        assert not torch.equal(out.logits, wide)
        assert default_dtype(model) == torch.bfloat16
        model.to("cpu")
        assert model(ids, **given).hidden.dtype == torch.bfloat16
        model.float()
        assert model(ids, **given).hidden.dtype == torch.float32


def test_a_tied_table_follows_the_rest_where_no_head_is_kept() -> None:
    model = build("trainer.precision=bf16-true", "model.head={tie: true}", "precision.float32=[norm]")
    assert model.to(torch.bfloat16).table_VD.dtype == torch.bfloat16


def test_a_policy_can_be_narrowed() -> None:
    model = build("trainer.precision=bf16-true", "precision.float32=[head]").to(torch.bfloat16)
    assert {n for n, d in dtypes(model).items() if d == torch.float32} == {"head.weight"}


def test_in_float32_nothing_is_kept_apart() -> None:
    assert set(dtypes(build().to(torch.bfloat16)).values()) == {torch.bfloat16}


@pytest.mark.parametrize("head", ["{tie: true}", "{tie: false}"])
def test_logits_are_float32_and_the_stream_is_not(head: str) -> None:
    model = build("trainer.precision=bf16-true", f"model.head={head}").to(torch.bfloat16)
    out = model(torch.arange(12).view(2, 6))
    assert out.hidden.dtype == torch.bfloat16
    assert out.logits.dtype == torch.float32


def test_a_copy_keeps_the_policy_for_itself() -> None:
    model = build("trainer.precision=bf16-true")
    other = copy.deepcopy(model).to(torch.bfloat16)
    assert other.norm.weight.dtype == torch.float32
    with torch.no_grad():
        other.norm.weight.add_(1)
    assert not torch.equal(model.norm.weight, other.norm.weight)
    ids = torch.arange(6)[None]
    assert not torch.equal(model(ids).logits, other(ids).logits)


def test_the_loss_without_logits_equals_the_loss_with_them() -> None:
    for overrides in ([], ["trainer.precision=bf16-true"]):
        model = build(*overrides)
        model = model.to(torch.bfloat16) if overrides else model
        ids, labels = torch.arange(12).view(2, 6), torch.arange(1, 13).view(2, 6)
        labels[0, 0] = -100
        out = model(ids)
        plain = torch.nn.functional.cross_entropy(out.logits.flatten(0, 1).float(), labels.flatten())
        torch.testing.assert_close(model.cross_entropy(out.hidden, labels), plain, rtol=1e-5, atol=1e-5)


def test_the_softmax_of_the_policy_is_taken_in_float32() -> None:
    softcap = ["trainer.precision=bf16-true", "model.block.attention.softcap=5"]
    models = [build(*softcap, f"precision.float32={roles}") for roles in ("[softmax]", "[norm]")]
    models[1].load_state_dict(models[0].state_dict())
    ids = torch.arange(40).view(2, 20)
    kept, low = (model.to(torch.bfloat16)(ids).logits for model in models)
    assert not torch.equal(kept, low)


ROUTERS = {
    "softmax": "{type: top_k, bias: true}",
    "corrected": "{type: top_k, score: sigmoid, correction: score}",
    "soft": "soft",
    "noisy": "{type: noisy_top_k, initial: init}",
}
IDS = torch.arange(40).view(2, 20)


def routed(router: str, precision: str, roles: str) -> tuple[torch.nn.Module, Tensor, Routing, Tensor]:
    """A router of a model of experts under a policy, what it was given and gave, and the model's logits."""
    experts = f"model.block.feed_forward={{type: experts, experts: 4, expert: {{d_ff: 16}}, router: {router}}}"
    model = build(experts, f"trainer.precision={precision}", f"precision.float32={roles}").eval()
    model = model.to(torch.bfloat16) if precision == "bf16-true" else model
    found: list[tuple[Tensor, Routing]] = []
    inside = model.layers[-1].feed_forward.router
    inside.register_forward_hook(lambda _, given, gave: found.append((given[0], gave)))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed"):
        logits = model(IDS).logits
    return inside, *found[0], logits


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed"])
@pytest.mark.parametrize("router", ROUTERS.values(), ids=ROUTERS)
@pytest.mark.parametrize("kept", [True, False])
def test_a_router_of_the_policy_scores_in_float32_and_any_other_does_not(
    router: str, precision: str, kept: bool
) -> None:
    inside, x, routing, _ = routed(router, precision, "[router]" if kept else "[head]")
    low = torch.bfloat16 if precision == "bf16-true" and not kept else torch.float32
    assert {value.dtype for value in inside.parameters()} == {low}
    # A correction is moved in steps that bfloat16 would lose.
    assert {value.dtype for value in inside.buffers()} <= {torch.float32}
    bias = getattr(inside.logits, "bias", None)
    exact = F.linear(x.float().flatten(0, 1), inside.logits.weight.float(), None if bias is None else bias.float())
    assert routing.logits_NE is not None
    assert torch.allclose(routing.logits_NE, exact, rtol=1e-5, atol=1e-6) == kept
    assert torch.equal(routing.logits_NE, routing.logits_NE.bfloat16().float()) != kept


@pytest.mark.parametrize("precision", ["bf16-true", "bf16-mixed"])
def test_a_router_kept_in_float32_changes_what_the_model_says(precision: str) -> None:
    said = [routed("soft", precision, roles)[-1] for roles in ("[router, norm]", "[norm]")]
    assert not torch.equal(*said)
