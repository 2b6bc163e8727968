"""A mesh's costs against the papers' counts, sums by hand, and the same measured another way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import blueprint as bp
from blueprint.component import MEMBERS, Site, register
from blueprint.cost import MeshCost, MeshError, on_mesh
from blueprint.cost.mesh import Mesh, Speeds, bandwidth, operations
from blueprint.cost.reduce import measured
from blueprint.kinds import FeedForward, Optimizer
from blueprint.ops import Linear, Shards, cut

from .conftest import FF, HEADS, UNEVEN, VOCAB, D, spec

LENGTH = 16
#: What experts are in the specs here: rows of a batch meet three of eight.
EXPERTS, CHOICES = 8, 3


def sent(found: MeshCost) -> dict[tuple[str, str], int]:
    assert found.sent is not None
    return {(each.kind, each.along): each.bytes for each in found.sent}


def calls(found: MeshCost) -> dict[tuple[str, str], int | None]:
    assert found.sent is not None
    return {(each.kind, each.along): each.calls for each in found.sent}


def test_one_device_sends_nothing_and_computes_what_one_device_does() -> None:
    made = spec()
    alone, found = bp.cost(made, LENGTH, 3), bp.cost(made, LENGTH, 3, mesh={"dp": 1})
    assert found.sent == ()
    assert found.flops_training == alone.flops_training
    assert found.parameters == found.held == found.at_work == alone.parameters
    for name in ("weights", "gradients", "optimizer", "activations"):
        assert getattr(found.memory, name) == getattr(alone.memory, name)


class TestVolumes:
    def test_sharding_sends_the_weights_three_times_and_ddp_twice(self) -> None:
        """ZeRO's count (Rajbhandari et al., 2020, §7.2); what belongs to no block is gathered once for both ways."""
        made, n = spec(vocab_size=96), 4
        weights = 4 * bp.cost(made, LENGTH).parameters
        root = 4 * (2 * 96 * D + D)
        found = bp.cost(made, LENGTH, mesh={"dp": n})
        assert sent(found) == {
            ("all-gather", "dp"): (2 * weights - root) * (n - 1) // n,
            ("reduce-scatter", "dp"): weights * (n - 1) // n,
        }
        same = bp.cost(made, LENGTH, mesh={"dp": n}, strategy="ddp")
        assert sent(same) == {("all-reduce", "dp"): 2 * weights * (n - 1) // n}
        assert same.memory.weights == weights == n * found.memory.weights

    @pytest.mark.parametrize("block", ["sequential", "parallel"])
    def test_a_layer_in_pieces_has_four_sums(self, block: str) -> None:
        """Two in the forward, two in the backward (Shoeybi et al., 2019, §3), each of a batch's whole stream."""
        layers, n, batch = 3, 2, 5
        said = {"type": block, "attention": {"heads": HEADS}, "feed_forward": {"type": "gated", "d_ff": FF}}
        found = bp.cost(spec(layers=layers, block=said), LENGTH, batch, mesh={"tp": n})
        assert calls(found) == {("all-reduce", "tp"): 4 * layers}
        assert sent(found) == {("all-reduce", "tp"): 4 * layers * batch * LENGTH * D * 4 * 2 * (n - 1) // n}

    def test_sums_are_of_the_type_that_is_computed_in(self) -> None:
        wide, narrow = (bp.cost(spec(trainer=each), LENGTH, mesh={"tp": 2}) for each in ("32-true", "bf16-true"))
        assert sent(wide) == {key: 2 * size for key, size in sent(narrow).items()}

    def test_nothing_comes_back_to_what_does_not_learn(self) -> None:
        frozen = spec().model_copy(update={"freeze": ("embedding", "layers.0.attention_norm")})
        found = bp.cost(frozen, LENGTH, mesh={"tp": 2})
        # The first attention's input wants no gradient.
        assert calls(found)["all-reduce", "tp"] == 4 * 5 - 1

    def test_a_memory_comes_back_from_every_layer_that_reads_it(self) -> None:
        both = spec(type="encoder_decoder", layers=2)
        # An encoder's layer has 4 sums, a decoder's 6, and that of the memory's gradient.
        assert calls(bp.cost(both, LENGTH, mesh={"tp": 2}))["all-reduce", "tp"] == 2 * 4 + 2 * (6 + 1)

    def test_a_part_computed_again_sums_no_more_and_a_block_does(self) -> None:
        def sums(part: str | None) -> int | None:
            again = None if part is None else {"part": part}
            made = bp.load({**spec().to_plain(), "recompute": again})
            return calls(bp.cost(made, LENGTH, mesh={"tp": 2}))["all-reduce", "tp"]

        assert sums(None) == sums("attention") == 5 * 4
        # What the block gives is known: only the attention's sum is needed to go on from.
        assert sums("block") == 5 * 5

    def test_rows_travel_to_their_experts_and_back_in_both_directions(self) -> None:
        n, batch = 4, 8
        made = spec(**UNEVEN["experts"])
        found = bp.cost(made, LENGTH, batch, mesh={"dp": n, "ep": n})
        rows = batch // n * LENGTH * CHOICES
        assert sent(found)["all-to-all", "ep"] == 5 * 4 * rows * D * 4 * (n - 1) // n
        # With as many as dp, nobody else has the same experts: they are neither gathered nor reduced.
        experts = 5 * EXPERTS * 3 * D * 16
        whole = bp.cost(made, LENGTH, batch, mesh={"dp": n})
        assert sent(whole)["reduce-scatter", "dp"] - sent(found)["reduce-scatter", "dp"] == 4 * experts * (n - 1) // n
        assert found.at_work == whole.at_work - experts * (n - 1) // n
        assert found.flops_training == whole.flops_training

    def test_experts_are_sharded_over_those_who_have_the_same(self) -> None:
        made = spec(**UNEVEN["experts"])
        one, two = (bp.cost(made, LENGTH, mesh={"dp": 4, "ep": ep}) for ep in (1, 2))
        assert one.held == two.held
        assert one.at_work > two.at_work


class TestMemory:
    def test_pieces_and_shards_are_what_is_left(self) -> None:
        found = bp.cost(spec(), LENGTH, mesh={"dp": 2, "tp": 2})
        layer = 2 * D * D + 2 * D * D // 2 + 3 * D * FF
        rest = 2 * VOCAB * D + 11 * D
        assert found.at_work == 5 * layer // 2 + rest
        assert found.held == found.at_work // 2
        assert found.memory.weights == found.memory.gradients == 4 * found.held
        assert found.memory.optimizer == pytest.approx(8 * found.held, rel=0.01)

    def test_activations_shrink_with_the_share_of_the_batch_and_with_pieces(self) -> None:
        one, split, pieces = (
            bp.cost(spec(), LENGTH, 4, mesh=mesh).memory.activations for mesh in ("dp=1", "dp=4", "tp=2")
        )
        alone = bp.cost(spec(), LENGTH, 1).memory.activations
        assert one is not None
        assert pieces is not None
        assert split == alone
        assert one / 2 < pieces < one

    def test_one_blocks_weights_stand_whole_besides_the_models_own(self) -> None:
        made = spec(vocab_size=8, layers=4)
        block = 2 * D * D + 2 * D * D // 2 + 3 * D * FF + 2 * D
        root = 2 * 8 * D + D
        found = bp.cost(made, 1, 2, mesh={"dp": 2})
        # In the backward the next block is gathered while one runs, whose gradients are whole too.
        assert found.memory.transit is not None
        assert found.memory.activations is not None
        assert found.memory.transit + found.memory.activations == pytest.approx(4 * (root + 3 * block), rel=0.1)

    @pytest.mark.parametrize("name", ["adamw", "adafactor", "muon"])
    def test_an_optimizer_keeps_of_a_shard_what_it_keeps_of_the_whole(self, name: str) -> None:
        made = spec(vocab_size=96).model_copy(update={"optimizer": Optimizer.of(name)})
        alone, found = bp.cost(made, LENGTH).memory.optimizer, bp.cost(made, LENGTH, mesh={"dp": 2}).memory.optimizer
        assert alone is not None
        assert found is not None
        # Sums over rows and columns are whole everywhere.
        assert found >= alone / 2 if name == "adafactor" else found == pytest.approx(alone / 2, rel=0.01)

    @pytest.mark.parametrize("name", UNEVEN)
    def test_a_few_layers_tell_of_all(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        made, mesh = spec(**UNEVEN[name]), "dp=4,tp=2,ep=2" if name == "experts" else "dp=2,tp=2"
        few = bp.cost(made, LENGTH, 8, mesh=mesh)
        monkeypatch.setattr(on_mesh, "measured", lambda plan, measure, *_, **__: measured(plan, measure, True))
        whole = bp.cost(made, LENGTH, 8, mesh=mesh)
        assert (few.sent, few.flops_training) == (whole.sent, whole.flops_training)
        assert few.memory.activations == pytest.approx(whole.memory.activations, rel=0.02)
        assert few.memory.training == pytest.approx(whole.memory.training, rel=0.02)


class TestTime:
    def test_work_over_speed(self) -> None:
        found = bp.cost(
            spec(),
            LENGTH,
            mesh="dp=2,tp=2",
            link={"dp": "1GB/s", "tp": "8Gbit/s"},
            memory_bandwidth="1GB/s",
            flops="1G",
        )
        bound, total = found.bound, sum(sent(found).values())
        assert found.flops_training is not None
        assert found.moved is not None
        assert bound.communication is not None
        assert (bound.compute, bound.memory) == (found.flops_training / 1e9, found.moved / 1e9)
        assert sum(bound.communication.values()) == pytest.approx(total / 1e9)
        assert bound.overlapped == max(bound.known.values())
        assert bound.in_turn == sum(bound.known.values())

    def test_what_was_not_said_bounds_nothing(self) -> None:
        found = bp.cost(spec(), LENGTH, mesh="dp=2", memory_bandwidth="1TB/s")
        assert set(found.bound.known) == {"memory"}
        assert "compute" not in str(found).split("takes at least")[1]

    def test_memory_moves_weights_and_state_at_least(self) -> None:
        found = bp.cost(spec(), 1, mesh="dp=1", memory_bandwidth="1TB/s")
        table = VOCAB * D
        assert found.moved is not None
        assert found.memory.optimizer is not None
        assert found.memory.activations is not None
        # Weights twice, the table that is looked up apart; gradients written and read; weights and state moved.
        weights = 2 * (found.parameters - table) + 2 * found.parameters + 2 * found.parameters
        assert found.moved == 4 * weights + 2 * (found.memory.optimizer + found.memory.activations)

    @pytest.mark.parametrize(
        ("text", "bytes_a_second"),
        [("50GB/s", 50e9), ("400 Gbit/s", 50e9), ("2TB/s", 2e12), ("1GiB/s", 2**30), ("25Gbps", 25e9 / 8), (7, 7.0)],
    )
    def test_speeds_read_as_they_are_written(self, text: str | float, bytes_a_second: float) -> None:
        assert bandwidth(text) == bytes_a_second

    @pytest.mark.parametrize("text", ["50", "50GB", "50Gb/s", "fast", "-1GB/s", "0GB/s", "1iB/s", 0, float("nan")])
    def test_what_may_mean_two_things_is_refused(self, text: str | float) -> None:
        with pytest.raises(MeshError, match="= fix: say"):
            bandwidth(text)

    def test_operations_read_as_they_are_written(self) -> None:
        assert operations("300T") == operations("300TFLOP/s") == operations("300 tflops") == operations(3e14) == 3e14
        with pytest.raises(MeshError, match="300T"):
            operations("300 fast")

    def test_experts_links_are_those_of_dp_where_nothing_is_said(self) -> None:
        assert Speeds.of("dp=1GB/s").link == {"dp": 1e9, "ep": 1e9}
        assert Speeds.of("dp=1GB/s,ep=2GB/s").link["ep"] == 2e9


class TestMistakes:
    @pytest.mark.parametrize(
        ("mesh", "told"),
        [
            ("dp", "expected NAME=VALUE"),
            ("dp=x", "a whole number of devices"),
            ("dp=0", "1 device or more"),
            ({"dp": -1}, "1 device or more"),
            ("dp=2,dp=4", "said twice"),
            ("pp=2", "no dimension is called `pp`"),
            ("dp=8,tp=3", "attention comes in 2, feed_forward comes in 80"),
            ("dp=8,ep=3", "ep=3 does not divide dp=8"),
            ("dp=8,ep=4", "has no experts"),
        ],
    )
    def test_a_mesh_that_cannot_be_is_refused_with_a_way_out(self, mesh: Any, told: str) -> None:
        with pytest.raises(MeshError, match=r"(?s)" + told + r".*= fix: \w"):
            bp.cost(spec(), LENGTH, mesh=mesh)

    def test_sizes_that_would_do_are_named(self) -> None:
        with pytest.raises(MeshError, match="say a tp of 2, 4, 5, 8, 10 or 16"):
            bp.cost(spec(), LENGTH, mesh="tp=3")
        with pytest.raises(MeshError, match=r"ep=6 does not divide 8 experts\n  = fix: say an ep of 2 or 4"):
            bp.cost(spec(**UNEVEN["experts"]), LENGTH, mesh="dp=12,ep=6")
        with pytest.raises(MeshError, match="say a batch of 8"):
            bp.cost(spec(), LENGTH, 6, mesh="dp=4")

    def test_what_belongs_to_another_mesh_is_refused(self) -> None:
        with pytest.raises(MeshError, match="has nothing to divide"):
            bp.cost(spec(), LENGTH, mesh="dp=2,tp=2", strategy="ddp")
        with pytest.raises(MeshError, match=r"no strategy is called `dpp`.*\n.*say `ddp`"):
            bp.cost(spec(), LENGTH, mesh="dp=2", strategy="dpp")
        with pytest.raises(MeshError, match="no speed is said of the links of tp"):
            bp.cost(spec(), LENGTH, mesh="dp=2,tp=2", link="dp=1GB/s")
        with pytest.raises(MeshError, match="there is none"):
            bp.cost(spec(), LENGTH, link="1GB/s")  # type: ignore[call-overload]

    def test_a_part_that_stays_whole_is_named(self) -> None:
        found = bp.cost(spec(), LENGTH, mesh="tp=4")
        assert found.uncut == {"attention": 2}
        assert "whole over tp: attention" in str(found)
        assert calls(found) == {("all-reduce", "tp"): 2 * 5}


class Halves(nn.Module):
    """A user's part that can be cut in two, and has a norm that every piece has whole."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.into, self.out = Linear(width, 24), Linear(24, width)

    def shards(self) -> Shards:
        return cut({"into": self.into}, {"out": self.out}, 2)

    def forward(self, x: Tensor, flow: object) -> tuple[Tensor, dict[str, Tensor]]:
        return self.out(torch.relu(self.into(self.norm(x)))), {}


@pytest.fixture
def component() -> Iterator[None]:
    @register("halves")
    class HalvesFeedForward(FeedForward):
        """A user's part (nobody, 2024)."""

        def build(self, at: Site) -> nn.Module:
            return Halves(at.width)

    yield
    del MEMBERS[HalvesFeedForward.kind, HalvesFeedForward.spec_name]


@pytest.mark.usefixtures("component")
def test_a_users_part_is_counted_like_ours() -> None:
    made = spec(layers=2, block={"attention": {"heads": HEADS}, "feed_forward": "halves"})
    found = bp.cost(made, LENGTH, mesh="tp=2")
    assert found.parameters - found.at_work == 2 * (4 * D * D + 2 * 24 * D + 24) // 2
    # The norm's gradients are sums too, its weight's and its bias's.
    assert calls(found) == {("all-reduce", "tp"): 2 * (4 + 2)}
    assert sent(found) == {("all-reduce", "tp"): 2 * (4 * LENGTH * D + 2 * D) * 4}


def test_it_prints_as_a_table_and_as_json() -> None:
    found = bp.cost(spec(**UNEVEN["experts"]), LENGTH, mesh="dp=4,tp=2,ep=2", link="1GB/s", flops="1T")
    plain = json.loads(json.dumps(found.to_plain()))
    assert plain["mesh"] == {"dp": 4, "tp": 2, "ep": 2, "devices": 8, "strategy": "model_parallel"}
    assert plain["memory"]["training"] == found.memory.training
    assert plain["seconds_at_least"]["overlapped"] == found.bound.overlapped
    text = str(found)
    assert str(Mesh.of("dp=4,tp=2,ep=2")) == "dp=4 x tp=2, ep=2 within dp"
    for each in found.sent or ():
        assert f"{each.kind}, {each.along}" in text


def test_without_a_length_what_depends_on_it_is_unknown() -> None:
    found = bp.cost(spec(), mesh="dp=2")
    assert found.sent is found.moved is found.flops_training is found.memory.training is None
    assert found.memory.weights
    assert {"sent", "memory_moved", "flops_training", "memory.training"} <= set(found.unknown)
    assert "unknown" in str(found)
