"""Any model can be laid over devices: what it gives and how it learns stay the same, however it is built."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.multiprocessing.spawn import spawn

import blueprint as bp
from blueprint.model.build import build_plan
from blueprint.model.dividing import regions, units
from blueprint.model.inputs import sample_inputs
from blueprint.ops import whole, with_losses
from blueprint.training.error import TrainError
from blueprint.training.strategies.layout import lay_out, left_whole
from tests.conftest import ROOT

PAPERS = sorted((ROOT / "specs" / "papers").glob("*.yaml"))
#: Few of them, of different kinds: tables that layers share, layers that share all, experts, two stacks, two towers.
SOME = ("albert_base", "bart_large", "clip_vit_b32", "deberta_v3_base", "deepseek_v2")
#: Devices that share batches, and those that pieces are on.
MESHES = {"sharded": (2, 1), "pieces": (1, 2)}


def model_of(path: Path) -> nn.Module:
    """A small model of the same structure in double precision, so that differences are mistakes."""
    model = build_plan(bp.plan(bp.load(path)).miniature()).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # What begins at zero hides what is multiplied with it.
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return model


def loss_of(model: Any) -> Tensor:
    """A loss that every output has a part in."""
    inputs = sample_inputs(model.plan, 2, 8, generator=torch.Generator().manual_seed(0))
    out = model(**{name: x.double() if x.is_floating_point() else x for name, x in inputs.items()})
    found = out.hidden.square().mean() if out.logits is None else out.logits.square().mean()
    return with_losses(found + sum(vector.sum() for vector in out.vectors.values()), out.terms)


def compared(rank: int, meeting: str, paths: list[Path]) -> None:
    """One of two processes, each with all of the batch: raises AssertionError for what differs."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    meshes = {
        name: init_device_mesh("cpu", shape, mesh_dim_names=("data_parallel", "tensor_parallel"))
        for name, shape in MESHES.items()
    }
    for path in paths:
        model = model_of(path)
        wanted = loss_of(model)
        wanted.backward()
        # A gradient that comes to nothing is rounding alone.
        least = 1e-6 * max(float(each.grad.abs().max()) for each in model.parameters() if each.grad is not None)
        for name, mesh in meshes.items():
            laid = copy.deepcopy(model)
            laid.zero_grad()
            lay_out(laid, mesh)
            for _ in range(2):  # as after a step, when everything was let go of
                laid.zero_grad()
                loss = loss_of(laid)
                loss.backward()
            what = f"{path.stem}, {name}"
            torch.testing.assert_close(loss.detach(), wanted.detach(), rtol=1e-10, atol=0, msg=f"{what}: the loss")
            for (known, a), (_, b) in zip(model.named_parameters(), laid.named_parameters(), strict=True):
                assert (a.grad is None) == (b.grad is None), f"{what}: {known}"
                if a.grad is not None and b.grad is not None:
                    error = (whole(b.grad) - a.grad).abs().max() / a.grad.abs().max().clamp_min(least)
                    assert error < 1e-8, f"{what}: the gradient of {known} is off by {error:.1e}"
    dist.destroy_process_group()


def in_two(paths: list[Path], folder: Path) -> None:
    spawn(compared, (str(folder / "meeting"), paths), 2)


def test_models_of_many_kinds_learn_alike_in_two_processes(tmp_path: Path) -> None:
    in_two([path for path in PAPERS if path.stem in SOME], tmp_path)


@pytest.mark.slow
def test_every_paper_s_model_learns_alike_in_two_processes(tmp_path: Path) -> None:
    in_two(PAPERS, tmp_path)


def decoder(attention: str = "", more: str = "") -> nn.Module:
    block = f"{{attention: {{heads: 4, kv_heads: 2{attention}}}, feed_forward: {{type: gated, d_ff: 48}}}}"
    return bp.build(
        bp.loads(
            f"model: {{type: decoder, d_model: 32, layers: 2, vocab_size: 16, max_length: 8, block: {block}{more}}}\n"
        )
    )


def test_a_part_is_cut_where_the_pieces_divide_it() -> None:
    assert {len(regions(decoder(), n)) for n in (2,)} == {4}
    # Three and four divide the hidden units, and not the heads.
    for n in (3, 4):
        assert [shards.pieces for shards in regions(decoder(), n).values()] == [48, 48]
    assert left_whole(decoder(), 2) == []
    assert left_whole(decoder(), 3) == ["attention (2 pieces at most)"]
    assert left_whole(decoder(", position: {type: t5_bias}"), 2) == ["attention (cannot be cut)"]
    assert left_whole(decoder(), 1) == []


def test_a_size_that_divides_nothing_is_told_what_would() -> None:
    with pytest.raises(TrainError, match=r"5` divides no part.*attention \(2 pieces.*feed-forward \(48 pieces"):
        left_whole(decoder(), 5)


def test_blocks_are_gathered_one_by_one_unless_they_share_something() -> None:
    alone = decoder()
    assert list(units(alone)) == list(alone.layers)  # type: ignore[arg-type]
    tables = decoder(", position: {type: t5_bias}")
    assert list(units(tables)) == [layer.feed_forward for layer in tables.layers]  # type: ignore[union-attr]
