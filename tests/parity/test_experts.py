"""Families with experts in other shapes than the public ones, and what the library computes to keep experts even."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

import blueprint as bp
from blueprint.interop.family import read_family
from blueprint.interop.solve import solve
from tests.parity.checks import WORST, Case, Checks, agree, imported
from tests.parity.public import Public, entries, made, public

VARIANTS: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("experts.yaml").read_text())
#: Those whose library adds a loss of uneven experts, from layers taken together.
BALANCED = [
    name
    for name in ("mixtral", "qwen2_moe", "gpt_oss", *VARIANTS)
    if name.startswith(("mixtral", "qwen2_moe", "gpt_oss"))
    and name not in ("mixtral, one expert", "gpt_oss, one expert")
]


def variant(name: str) -> Public:
    """A public family with what is said of it."""
    changed = dict(VARIANTS[name])
    entry = copy.deepcopy(entries()[changed.pop("from")])
    entry["unused"] = changed.pop("unused", 0)
    entry["config"].update(changed)
    random = torch.Generator().manual_seed(17)
    entry["inputs"] = {
        key: torch.randint(3, 100, (2, 20 if key == "decoder_input_ids" else 26), generator=random).tolist()
        for key in entry["inputs"]
    }
    return made(name, entry)


@pytest.fixture(scope="module", params=VARIANTS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    return imported(variant(request.param), tmp_path_factory.mktemp("family"))


@pytest.fixture(scope="module", autouse=True)
def summary() -> Iterator[None]:
    """Print the largest difference."""
    yield
    far = {name: WORST[name] for name in VARIANTS if name in WORST}
    if far:
        name = max(far, key=far.__getitem__)
        print(f"\nvariants in parity: {len(far)} of {len(VARIANTS)}; largest |Δlogit| {far[name]:.1e} σ ({name})")


class TestVariants(Checks):
    """Everything that holds of families, of these."""

    @torch.no_grad()
    def test_logits_agree_where_rows_are_padded_in_front(self, case: Case) -> None:
        theirs = case.theirs
        if theirs.kind != "causal":
            return
        ids = theirs.inputs["input_ids"]
        keep = torch.ones_like(ids)
        keep[1, :7] = 0
        expected = theirs.run(theirs.model, attention_mask=keep, position_ids=(keep.cumsum(1) - 1).clamp_min(0))
        found = theirs.run(case.ours, attention_mask=keep)
        agree(case, found[keep.bool()], expected[keep.bool()])

    @torch.no_grad()
    def test_one_token_agrees(self, case: Case) -> None:
        one = {name: ids[:1, :1] for name, ids in case.theirs.inputs.items()}
        agree(case, case.theirs.run(case.ours, one), case.theirs.run(case.theirs.model, one))

    def test_a_config_of_it_is_had_from_the_spec_alone(self, case: Case) -> None:
        """What the family says of the model was solved for, and fills to the same plan."""
        family = json.loads((case.written / "import.json").read_text())["family"]
        spec = bp.load(case.written / "spec.yaml")
        assert solve(spec, read_family(family)).plan.hash == bp.plan(spec).hash


@pytest.mark.parametrize("name", BALANCED)
def test_the_loss_of_uneven_experts_is_the_librarys(name: str, tmp_path: Path) -> None:
    theirs = variant(name) if name in VARIANTS else public(name)
    case = imported(theirs, tmp_path)
    config: Any = theirs.model.config
    weight = config.router_aux_loss_coef
    keep = torch.ones_like(theirs.inputs["input_ids"])
    padded = keep.clone()
    padded[1, -9:] = 0
    for mask in (keep, padded):
        expected = theirs.model(**theirs.inputs, attention_mask=mask, output_router_logits=True).aux_loss
        found = case.ours(**theirs.inputs, attention_mask=mask).terms["balance_loss"]
        torch.testing.assert_close(found / weight, expected, rtol=2e-6, atol=0)
        if name not in VARIANTS and mask is keep:
            assert found.item() / weight == pytest.approx(theirs.entry["aux_loss"], rel=1e-5)


def test_a_loss_that_counts_for_nothing_is_left_out(tmp_path: Path) -> None:
    case = imported(variant("mixtral, one expert"), tmp_path)
    assert "balance_loss" not in case.ours(**case.theirs.inputs).terms


def test_what_deepseek_v2_was_trained_with_is_its_papers(tmp_path: Path) -> None:
    """The code that its checkpoints first came with: choices by sequence, over what even ones would be."""
    theirs = public("deepseek_v2")
    config: Any = theirs.model.config
    config.aux_loss_alpha = 0.003
    ours: Any = imported(theirs, tmp_path).ours
    routed: list[tuple[torch.Tensor, torch.Tensor]] = []
    for layer in ours.layers[1:]:
        router = layer.feed_forward.router
        router.register_forward_hook(lambda _, __, out: routed.append((out.expert_NK, out.probability_NE)))
    found = ours(**theirs.inputs).terms["balance_loss"]
    expected = torch.zeros(())
    for expert_NK, p_NE in routed:
        for expert_TK, p_TE in zip(expert_NK.unflatten(0, (2, -1)), p_NE.unflatten(0, (2, -1)), strict=True):
            f_E = torch.bincount(expert_TK.flatten(), minlength=8) / (expert_TK.numel() / 8)
            expected = expected + 0.003 * (f_E * p_TE.mean(0)).sum() / 2
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_what_switch_was_trained_with_is_its_papers(tmp_path: Path) -> None:
    """The library's losses, of every layer by itself and of all sequences together."""
    from transformers.models.switch_transformers.modeling_switch_transformers import (
        load_balancing_loss_func,
        router_z_loss_func,
    )

    theirs = public("switch_transformers")
    ours: Any = imported(theirs, tmp_path).ours
    out = theirs.model(**theirs.inputs, output_router_logits=True)
    layers = [each.flatten(0, 1)[None] for each in (*out.encoder_router_logits, *out.decoder_router_logits)]
    uneven = sum(load_balancing_loss_func(each.softmax(-1), each.argmax(-1)) for each in layers)
    large = sum(router_z_loss_func(each) for each in layers)
    found = ours(**theirs.inputs).terms
    torch.testing.assert_close(found["balance_loss"], 0.001 * uneven, rtol=1e-5, atol=0)
    torch.testing.assert_close(found["router_z_loss"], 0.001 * large, rtol=1e-5, atol=0)


def test_deepseek_v3_comes_without_what_guesses_further_tokens(tmp_path: Path) -> None:
    """As checkpoints have it: a layer beyond the last, which the library leaves out, too; it goes back as it came."""
    folder = tmp_path / "theirs"
    public("deepseek_v3").model.save_pretrained(folder)  # type: ignore[operator]
    tensors = load_file(folder / "model.safetensors")
    beyond = {name.replace("layers.2.", "layers.3."): each + 1 for name, each in tensors.items() if "layers.2." in name}
    save_file({**tensors, **beyond, "model.layers.3.eh_proj.weight": torch.ones(48, 96)}, folder / "model.safetensors")
    spec, model = bp.import_hf(folder)
    assert len(bp.plan(spec).stacks["decoder"]) == 3
    bp.export_hf(model, tmp_path / "back")
    back = load_file(tmp_path / "back" / "model.safetensors")
    assert back.keys() == {*tensors, *beyond, "model.layers.3.eh_proj.weight"}
    assert all(torch.equal(back[name], each) for name, each in beyond.items())


@pytest.mark.parametrize(("layers", "sparse", "experts"), [(2, 0, 1), (2, 2, 2), (3, 2, 3), (4, 2, 2)])
def test_switch_has_experts_in_as_many_layers_as_the_library(
    layers: int, sparse: int, experts: int, tmp_path: Path
) -> None:
    """One in ⌊layers / sparse⌋: more than were asked for where that does not come out even, or none were."""
    from transformers import SwitchTransformersConfig, SwitchTransformersForConditionalGeneration

    sizes = {"vocab_size": 64, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_heads": 4, "num_experts": 4}
    deep = {"num_layers": layers, "num_sparse_encoder_layers": sparse}
    deep |= {"num_decoder_layers": layers, "num_sparse_decoder_layers": sparse}
    theirs = SwitchTransformersForConditionalGeneration(SwitchTransformersConfig(**sizes, **deep)).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    spec, ours = bp.import_hf(tmp_path / "theirs")
    for stack in bp.plan(spec).stacks.values():
        assert sum("experts" in str(layer.block.feed_forward) for layer in stack) == experts
    ids_BT = torch.arange(2, 20).view(2, 9)
    with torch.no_grad():
        expected = theirs(input_ids=ids_BT, decoder_input_ids=ids_BT).logits
        torch.testing.assert_close(ours.eval()(ids_BT, decoder_input_ids=ids_BT).logits, expected, rtol=0, atol=1e-5)
    bp.export_hf(ours, tmp_path / "out")
    again, _ = bp.import_hf(tmp_path / "out")
    assert bp.plan(again).hash == bp.plan(spec).hash
