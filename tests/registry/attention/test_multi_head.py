"""What multi-head attention says: its fields, its rules, and what it is at a site."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from blueprint.component import Fault, Site, as_faults
from blueprint.kinds import Attention
from blueprint.visible import Visible
from blueprint_registry.attention.multi_head import MultiHead

SITE = Site(d_model=24, width=24, path="layers.0.attention", max_length=64)


def said(**fields: Any) -> MultiHead:
    """A multi-head attention as YAML would say it."""
    found = Attention.of({"type": "multi_head", **fields})
    assert isinstance(found, MultiHead)
    return found


def faults(at: Site = SITE, **fields: Any) -> list[Fault]:
    """What is wrong with it at a site."""
    return list(as_faults(said(**fields).check(at)))


def test_what_is_left_out_is_written_out() -> None:
    filled = said(heads=6).filled(SITE)
    assert (filled.kv_heads, filled.head_dim, filled.value_dim) == (6, 4, 4)
    assert filled.scale == pytest.approx(0.5)


def test_what_is_said_stays() -> None:
    filled = said(heads=6, kv_heads=2, head_dim=16, value_dim=8, scale="2 / head_dim").filled(SITE)
    assert (filled.kv_heads, filled.head_dim, filled.value_dim, filled.scale) == (2, 16, 8, 0.125)


def test_filling_twice_changes_nothing() -> None:
    filled = said(heads=6, qk_norm={"over": "full"}, bias=["o", "q"], mask=["document"]).filled(SITE)
    assert filled.filled(SITE) == filled


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"bias": ["o", "v", "k", "q"]}, {"bias": True}),
        ({"bias": []}, {"bias": False}),
        ({"bias": ["o", "q"]}, {"bias": ["q", "o"]}),
        ({"mask": ["document"]}, {"mask": "document"}),
        ({"kv_heads": 6, "head_dim": 4, "value_dim": 4}, {}),
    ],
)
def test_two_ways_to_say_the_same_are_filled_alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert said(heads=6, **one).filled(SITE) == said(heads=6, **other).filled(SITE)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heads": 6, "kv_heads": 4}, "6 heads cannot share 4 kv_heads: heads must be a multiple of kv_heads"),
        ({"heads": 2, "kv_heads": 4}, "2 heads cannot share 4 kv_heads"),
        ({"heads": 6, "bias": ["q", "k", "q"]}, "`q` is named twice"),
        ({"heads": 6, "mask": []}, "an empty list names no mask"),
        ({"heads": 6, "mask": ["document", "full"]}, "`full` beside other masks hides nothing"),
        ({"heads": 6, "value_scale": 0}, "any number but 0"),
        ({"heads": 6, "value_scale": "1 / n_layers", "inner_norm": "rms"}, "`inner_norm` undoes `value_scale`"),
        ({"heads": 6, "clip": 0.0}, "greater than 0"),
        ({"heads": 6, "temperature": {"scale": 0.0, "floor": 4}}, "greater than 0"),
        ({"heads": 6, "temperature": {"scale": 0.1}}, "required"),
        ({"heads": 6, "gate": {"per": "token"}}, "'element' or 'head'"),
        ({"heads": 6, "dropout": 1.0}, "less than 1"),
        ({"heads": 6, "softcap": 0.0}, "greater than 0"),
        ({"heads": "6"}, "valid integer"),
        ({"heads": 6, "head_dimm": 4}, "not permitted"),
        ({}, "required"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        said(**fields)


def test_the_width_of_a_head_must_come_out_whole() -> None:
    (fault,) = faults(heads=5)
    assert fault.at == "heads"
    assert fault.message == (
        "head_dim is d_model / heads = 24/5, not a whole number; say head_dim, or choose heads that divide 24"
    )
    assert not faults(heads=5, head_dim=8)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"backend": "blocked"}, "no finite window"),
        ({"backend": "sdpa", "softcap": 30.0}, "no softcap"),
        ({"backend": "sdpa", "sinks": True}, "no sinks"),
        ({"backend": "flex", "dropout": 0.1}, "no dropout"),
    ],
)
def test_a_backend_that_cannot_is_refused_by_name(fields: dict[str, Any], why: str) -> None:
    (fault,) = faults(heads=6, **fields)
    assert fault.at == "backend"
    assert why in fault.message


@pytest.mark.parametrize("backend", ["auto", "sdpa", "blocked", "dense", "flex"])
def test_a_backend_that_can_is_not(backend: str) -> None:
    assert not faults(heads=6, backend=backend, mask={"type": "sliding", "window": 8})


def test_what_is_visible_is_what_all_masks_and_causality_let_through() -> None:
    masked = said(heads=6, mask=[{"type": "sliding", "window": 8}, "document"])
    assert masked.visible(SITE) == Visible(back=7, ahead=0, same_segment=True)
    assert masked.visible(replace(SITE, causal=False)) == Visible(back=8, ahead=8, same_segment=True)
    assert said(heads=6).visible(SITE) == Visible(ahead=0)


@pytest.mark.parametrize(("over", "widths"), [("head", (4, 4)), ("heads", (4, 4)), ("full", (24, 8))])
def test_norms_of_queries_and_keys_stand_at_their_own_widths(over: str, widths: tuple[int, int]) -> None:
    parts = list(said(heads=6, kv_heads=2, qk_norm={"over": over}).parts(SITE))
    sites = {site.path.rpartition(".")[2]: site for _, _, site in parts}
    assert (sites["q_norm"].width, sites["k_norm"].width) == widths
    assert [name for name, _, _ in parts] == ["mask", "position", "qk_norm.norm", "qk_norm.norm"]


def test_a_position_is_told_of_heads() -> None:
    site = next(site for name, _, site in said(heads=6, kv_heads=2).parts(SITE) if name == "position")
    assert (site.width, site.heads, site.kv_heads, site.head_dim) == (4, 6, 2, 4)


@pytest.mark.parametrize(
    ("fields", "heads"),
    [({}, (2, 2)), ({"kv_heads": 8}, (4, 2)), ({"kv_heads": 1}, (2, 1))],
)
def test_a_miniature_keeps_how_heads_share_keys(fields: dict[str, Any], heads: tuple[int, int]) -> None:
    large = replace(SITE, d_model=4096, width=4096, max_length=8192)
    small = replace(SITE, d_model=32, width=32, max_length=64)
    mask = {"type": "sliding", "window": 4096}
    little = said(heads=32, mask=mask, **fields).filled(large).miniature(small)
    assert (little.heads, little.kv_heads, little.head_dim, little.value_dim) == (*heads, 8, 8)
    assert little.masks[0].visible(small).back == 15
    assert not list(as_faults(little.check(small)))


def test_a_miniature_still_sharpens_and_divides() -> None:
    large, small = replace(SITE, d_model=4096, width=4096), replace(SITE, d_model=32, width=32, max_length=32)
    temperature, mask = {"scale": 0.1, "floor": 8192, "offset": 1}, {"type": "chunked", "chunk": 8192}
    full = said(heads=32, temperature=temperature, mask=mask, inner_norm="rms").filled(large)
    little = full.miniature(small)
    assert little.temperature is not None
    assert (little.temperature.floor, little.temperature.offset, little.masks[0].visible(small).back) == (8, 1, 7)


@pytest.mark.parametrize(("per", "width"), [("element", 30), ("head", 6)])
def test_what_comes_before_the_output_projection_stands_at_the_width_of_all_heads(per: str, width: int) -> None:
    parts = said(heads=6, value_dim=5, inner_norm="layer", gate={"per": per}).parts(SITE)
    widths = {name: site.width for name, _, site in parts}
    assert (widths["inner_norm"], widths["gate.activation"]) == (30, width)


def test_a_gates_activation_is_filled_and_kept() -> None:
    gate = {"per": "head", "activation": {"type": "swish", "alpha": 2.0}}
    filled = said(heads=6, gate=gate, qk_norm={}).filled(SITE)
    assert filled.to_plain()["gate"] == {**gate, "bias": False}
    assert filled.filled(SITE) == filled


def test_a_miniature_leaves_positions_a_width_they_can_work_on() -> None:
    position = {"type": "rope", "fraction": 0.4}
    large = replace(SITE, d_model=2560, width=2560)
    little = said(heads=32, position=position).filled(large).miniature(replace(SITE, d_model=32, width=32))
    assert little.head_dim == 16  # 8 would leave three channels to turn
