"""Blocks: what they say, what they compute, and the names of what they hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from blueprint.component import Site
from blueprint.kinds import Block
from blueprint.ops import Flow
from blueprint_registry.block.common_nn import merged

SITE = Site(d_model=12, width=12, path="layers.0", max_length=32, layers=4)
PARTS = {"attention": {"type": "multi_head", "heads": 2}, "feed_forward": {"type": "mlp", "d_ff": 20}}
FLOW = Flow.of(2, 7)
Formula = Callable[[Any, Tensor], Tensor]


def said(**fields: Any) -> Any:
    """A block as YAML would say it."""
    return Block.of({"type": "sequential", **PARTS, **fields})


def built(**fields: Any) -> Any:
    """Its module, every tensor random."""
    torch.manual_seed(0)
    module = said(**fields).filled(SITE).build(SITE)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.eval()


def tokens() -> Tensor:
    return torch.randn(2, 7, 12, generator=torch.Generator().manual_seed(1))


def attended(block: Any, x_BTD: Tensor) -> Tensor:
    return block.attention(x_BTD, FLOW)[0]


def fed(block: Any, x_BTD: Tensor) -> Tensor:
    return block.feed_forward(x_BTD, FLOW)[0]


def pre(b: Any, x: Tensor) -> Tensor:
    x = x + attended(b, b.attention_norm(x))
    return x + fed(b, b.feed_forward_norm(x))


def post(b: Any, x: Tensor) -> Tensor:
    x = b.attention_norm(x + attended(b, x))
    return b.feed_forward_norm(x + fed(b, x))


def output(b: Any, x: Tensor) -> Tensor:
    x = x + b.attention_post_norm(attended(b, x))
    return x + b.feed_forward_post_norm(fed(b, x))


def sandwich(b: Any, x: Tensor) -> Tensor:
    x = x + b.attention_post_norm(attended(b, b.attention_norm(x)))
    return x + b.feed_forward_post_norm(fed(b, b.feed_forward_norm(x)))


def without_first_norm(b: Any, x: Tensor) -> Tensor:
    x = x + attended(b, x)
    return x + fed(b, b.feed_forward_norm(x))


def attention_alone(b: Any, x: Tensor) -> Tensor:
    return x + attended(b, b.attention_norm(x))


def feed_forward_alone(b: Any, x: Tensor) -> Tensor:
    return b.feed_forward_norm(x + fed(b, x))


def scaled(b: Any, x: Tensor) -> Tensor:
    x = x + attended(b, b.attention_norm(x)) / 2
    return x + fed(b, b.feed_forward_norm(x)) / 2


def from_normed(b: Any, x: Tensor) -> Tensor:
    x = b.attention_norm(x)
    x = b.feed_forward_norm(x + attended(b, x))
    return x + fed(b, x)


def from_one_normed(b: Any, x: Tensor) -> Tensor:
    x = b.feed_forward_norm(x + b.attention_residual.weight * attended(b, x))
    return x + b.feed_forward_residual.weight * fed(b, x)


def from_normed_sandwich(b: Any, x: Tensor) -> Tensor:
    x = b.attention_norm(x)
    x = b.feed_forward_norm(x + b.attention_post_norm(attended(b, x)))
    return x + b.feed_forward_post_norm(fed(b, x))


def parallel(b: Any, x: Tensor) -> Tensor:
    n = b.attention_norm(x)
    return x + attended(b, n) + fed(b, n)


def parallel_two_norms(b: Any, x: Tensor) -> Tensor:
    return x + attended(b, b.attention_norm(x)) + fed(b, b.feed_forward_norm(x))


def parallel_bare(b: Any, x: Tensor) -> Tensor:
    return x + attended(b, x) + fed(b, x)


BLOCKS: list[tuple[dict[str, Any], Formula, set[str]]] = [
    ({}, pre, {"attention_norm", "feed_forward_norm"}),
    ({"placement": "post"}, post, {"attention_norm", "feed_forward_norm"}),
    ({"placement": "output"}, output, {"attention_post_norm", "feed_forward_post_norm"}),
    (
        {"placement": "sandwich"},
        sandwich,
        {"attention_norm", "attention_post_norm", "feed_forward_norm", "feed_forward_post_norm"},
    ),
    ({"attention_norm": None}, without_first_norm, {"feed_forward_norm"}),
    ({"feed_forward": None}, attention_alone, {"attention_norm"}),
    ({"attention": None, "placement": "post"}, feed_forward_alone, {"feed_forward_norm"}),
    ({"residual": {"type": "scaled", "by": "1 / sqrt(n_layers)"}}, scaled, {"attention_norm", "feed_forward_norm"}),
    ({"residual_from": "normed"}, from_normed, {"attention_norm", "feed_forward_norm"}),
    (
        {"residual_from": "normed", "attention_norm": None, "residual": "layer_scale"},
        from_one_normed,
        {"feed_forward_norm", "attention_residual", "feed_forward_residual"},
    ),
    (
        {"residual_from": "normed", "placement": "sandwich"},
        from_normed_sandwich,
        {"attention_norm", "attention_post_norm", "feed_forward_norm", "feed_forward_post_norm"},
    ),
    ({"type": "parallel"}, parallel, {"attention_norm"}),
    ({"type": "parallel", "feed_forward_norm": "layer"}, parallel_two_norms, {"attention_norm", "feed_forward_norm"}),
    ({"type": "parallel", "attention_norm": None}, parallel_bare, set()),
]
NAMES = [formula.__name__ for _, formula, _ in BLOCKS]


@pytest.mark.parametrize(("fields", "formula", "norms"), BLOCKS, ids=NAMES)
def test_a_block_is_its_formula(fields: dict[str, Any], formula: Formula, norms: set[str]) -> None:
    block = built(**fields)
    with torch.no_grad():
        found, terms = block(tokens(), FLOW)
        torch.testing.assert_close(found, formula(block, tokens()), atol=1e-6, rtol=1e-6)
    assert terms == {}
    held = {name.split(".")[0] for name in block.state_dict()}
    present = {name for name in PARTS if fields.get(name, True) is not None}
    assert held == norms | present


@pytest.mark.parametrize(("fields", "formula", "norms"), BLOCKS, ids=NAMES)
def test_a_gradient_reaches_every_parameter(fields: dict[str, Any], formula: Formula, norms: set[str]) -> None:
    block = built(**fields).train()
    block(tokens(), FLOW)[0].square().sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(("fields", "formula", "norms"), BLOCKS, ids=NAMES)
def test_a_block_decodes_as_its_mixer_does(fields: dict[str, Any], formula: Formula, norms: set[str]) -> None:
    block = built(**fields)
    assert block.incremental
    state = block.new_state(2, 7, torch.float32, "cpu")
    assert (state is None) == (fields.get("attention", True) is None)
    with torch.no_grad():
        whole, seen, out = block(tokens(), FLOW)[0], None, []
        for t in range(7):
            step = Flow.of(2, 1, seen=seen)
            out.append(block(tokens()[:, t : t + 1], step, state)[0])
            seen = step.seen
    torch.testing.assert_close(torch.cat(out, 1), whole, atol=1e-5, rtol=1e-5)


class _Plain(nn.Module):
    """A mixer, or a feed-forward, that cannot decode step by step and has something to tell."""

    def __init__(self, **terms: float) -> None:
        super().__init__()
        self.terms = {name: torch.tensor(value) for name, value in terms.items()}

    def forward(self, x_BTD: Tensor, flow: Flow, state: object = None) -> tuple[Tensor, dict[str, Tensor]]:
        return x_BTD, self.terms


@pytest.mark.parametrize("type", ["sequential", "parallel"])
def test_a_block_whose_mixer_has_no_state_does_not_decode(type: str) -> None:
    block = built(type=type)
    block.attention = _Plain()
    assert not block.incremental


@pytest.mark.parametrize("type", ["sequential", "parallel"])
def test_terms_of_both_sublayers_are_kept_and_those_of_one_name_summed(type: str) -> None:
    block = built(type=type)
    block.attention, block.feed_forward = _Plain(z_loss=1.0, entropy=2.0), _Plain(z_loss=10.0, balance=5.0)
    terms = block(tokens(), FLOW)[1]
    assert {name: float(value) for name, value in terms.items()} == {"z_loss": 11.0, "entropy": 2.0, "balance": 5.0}


def test_merging_terms_changes_neither() -> None:
    one, other = {"a": torch.tensor(1.0)}, {"a": torch.tensor(2.0)}
    assert float(merged(one, other)["a"]) == 3.0
    assert (float(one["a"]), float(other["a"])) == (1.0, 2.0)
    assert merged(one, {}) == merged({}, one) == one


@pytest.mark.parametrize("type", ["sequential", "parallel"])
def test_outputs_are_dropped_only_in_training_and_never_the_stream(type: str) -> None:
    dropping, whole = built(type=type, dropout=0.5), built(type=type)
    with torch.no_grad():
        torch.testing.assert_close(dropping(tokens(), FLOW)[0], whole(tokens(), FLOW)[0])
        for name in ("attention", "feed_forward"):
            setattr(dropping, name, _Plain())
        for name in ("attention_norm", "feed_forward_norm"):
            setattr(dropping, name, None)
        added = dropping.train()(torch.ones(2, 7, 12), FLOW)[0]
    # Each sublayer hands its input on, of which half the channels are dropped and the others doubled.
    possible = {1.0, 3.0, 5.0} if type == "parallel" else {1.0, 3.0, 9.0}
    assert set(added.unique().tolist()) == possible


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attention": None, "feed_forward": None}, "neither attention nor feed_forward does nothing"),
        (
            {"placement": "output", "attention_norm": None, "feed_forward_norm": None},
            "`placement: output` places no norm",
        ),
        ({"residual_from": "normed", "placement": "post"}, "with `placement: post` no norm stands before a sublayer"),
        (
            {"residual_from": "normed", "attention_norm": None, "feed_forward_norm": None},
            "there is no norm whose value a sublayer's output could join",
        ),
        (
            {"residual_from": "normed", "attention": None, "feed_forward_norm": None},
            "there is no norm whose value a sublayer's output could join",
        ),
        ({"placement": "before"}, "'pre', 'post', 'output' or 'sandwich'"),
        ({"dropout": 1.0}, "less than 1"),
        ({"type": "parallel", "attention": None}, "attention takes a name"),
        ({"type": "parallel", "placement": "pre"}, "not permitted"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        said(**fields)


def test_the_norm_of_an_absent_sublayer_is_written_out_as_null() -> None:
    filled = said(feed_forward=None, feed_forward_norm="layer").filled(SITE)
    assert filled.feed_forward_norm is None
    assert filled == said(feed_forward=None).filled(SITE)


def test_every_norm_of_a_sandwich_has_a_site_of_its_own() -> None:
    paths = [site.path for _, _, site in said(placement="sandwich").parts(SITE)]
    assert len(set(paths)) == len(paths) == 8
    assert "layers.0.attention_post_norm" in paths
