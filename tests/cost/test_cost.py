"""Cost against figures that do not come from this code: the papers', the textbook's, the real model's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import blueprint as bp
from blueprint.component import MEMBERS, Site, register
from blueprint.cost import Cost
from blueprint.kinds import FeedForward, Optimizer
from blueprint.model.weights import weights_of
from tests.conftest import ROOT

from .conftest import FF, HEADS, KV, LAYERS, UNEVEN, VOCAB, D, spec

HEAD = D // HEADS
#: The matrices of one layer: q and o, k and v, gate, up and down.
LAYER = 2 * D * D + 2 * D * KV * HEAD + 3 * D * FF


@pytest.mark.parametrize(("name", "published"), [("gpt2", 124_439_808), ("llama3_8b", 8_030_261_248)])
def test_parameters_are_those_published(name: str, published: int) -> None:
    found = bp.cost(bp.load(ROOT / "specs" / "papers" / f"{name}.yaml"), length=16)
    assert found.parameters == found.active_parameters == published
    assert sum(found.by_part.values()) == published


def test_parameters_are_those_of_the_real_model() -> None:
    for said in UNEVEN.values():
        made = spec(**said)
        assert bp.cost(made, 8).parameters == sum(p.numel() for p in bp.build(made).parameters())


def test_parts_hold_what_the_formulas_say() -> None:
    found = bp.cost(spec(), 8)
    assert found.by_part == {
        "embedding": VOCAB * D,
        "attention": LAYERS * (2 * D * D + 2 * D * KV * HEAD),
        "norm": (2 * LAYERS + 1) * D,
        "feed_forward": LAYERS * 3 * D * FF,
        "head": VOCAB * D,
    }
    (layers,) = found.layers
    assert (layers.span, layers.parameters, layers.own) == ("0-4", LAYER + 2 * D, LAYERS)


def test_a_tied_table_counts_once() -> None:
    own, tied = bp.cost(spec(), 8), bp.cost(spec(head={"tie": True}), 8)
    assert own.parameters - tied.parameters == VOCAB * D
    assert tied.by_part.get("head", 0) == 0
    assert tied.flops_forward == own.flops_forward


def test_shared_layers_count_once_but_work_each_time() -> None:
    shared, own = bp.cost(spec(**UNEVEN["shared"]), 8), bp.cost(spec(layers=6), 8)
    assert own.parameters - shared.parameters == 4 * (LAYER + 2 * D)
    assert (shared.flops_forward, shared.cache_bytes) == (own.flops_forward, own.cache_bytes)
    assert [layers.own for layers in shared.layers] == [2]


@pytest.mark.parametrize("length", [1, 16, 100])
@pytest.mark.parametrize("batch", [1, 3])
def test_operations_are_the_textbooks(length: int, batch: int) -> None:
    """2 for each weight of a matrix and token; 2 · (E + V) for each head and visible pair; the backward costs twice."""
    weights = LAYERS * LAYER + VOCAB * D
    pairs = length * (length + 1) // 2
    attention = batch * LAYERS * HEADS * pairs * 2 * (HEAD + HEAD)
    found = bp.cost(spec(), length, batch)
    assert found.flops_attention == attention
    assert found.flops_forward == 2 * weights * batch * length + attention
    assert found.flops_training == 3 * found.flops_forward
    assert found.flops_per_token == found.flops_forward / (batch * length)


@pytest.mark.parametrize(
    ("changes", "pairs"),
    [
        ({"attention": {"mask": {"type": "sliding", "window": 8}}}, sum(min(i + 1, 8) for i in range(50))),
        ({"causal": False}, 50 * 50),
        ({"attention": {"softcap": 20.0}}, 50 * 51 // 2),
        ({"attention": {"position": "alibi"}}, 50 * 51 // 2),
    ],
)
def test_attention_counts_the_pairs_it_may_see(changes: dict[str, object], pairs: int) -> None:
    assert bp.cost(spec(**changes), 50).flops_attention == LAYERS * HEADS * pairs * 4 * HEAD  # type: ignore[arg-type]


@pytest.mark.parametrize("trainer", ["32-true", "bf16-true"])
@pytest.mark.parametrize("window", [None, 8])
@pytest.mark.parametrize(("length", "batch"), [(5, 2), (40, 3)])
def test_the_cache_is_the_real_states(trainer: str, window: int | None, length: int, batch: int) -> None:
    attention = {"mask": {"type": "sliding", "window": window}} if window else {}
    made = spec(attention=attention, trainer=trainer, layers=2)
    model = bp.build(made).to(torch.bfloat16 if trainer == "bf16-true" else torch.float32)
    found = bp.cost(made, length, batch)
    assert found.cache_bytes == model.new_state(batch, length).nbytes
    assert found.cache_bytes_per_token == model.new_state(1, length + 1).nbytes - model.new_state(1, length).nbytes
    if window and length > window:
        assert found.cache_bytes_per_token == 0
    else:
        assert found.cache_bytes_per_token == 2 * 2 * KV * HEAD * (2 if trainer == "bf16-true" else 4)


@pytest.mark.parametrize(("trainer", "width"), [("32-true", 4), ("bf16-mixed", 4), ("64-true", 8)])
def test_weights_and_optimizer_take_what_theirs_do(trainer: str, width: int) -> None:
    made = spec(trainer=trainer)
    model = bp.build(made).to(torch.float64 if width == 8 else torch.float32)
    optimizer = made.optimizer.build(Site(D, D))(weights_of(model))
    model(torch.zeros(1, 4, dtype=torch.int64)).logits.sum().backward()
    optimizer.step()
    held = sum(each.nbytes for state in optimizer.state.values() for each in state.values())
    found = bp.cost(made, 4)
    assert found.memory.weights == found.memory.gradients == found.parameters * width
    assert found.memory.optimizer == held
    assert held == pytest.approx(2 * found.parameters * width, rel=0.01)


#: Numbers that an optimizer keeps of an (out, in) matrix.
KEPT = {
    "sgd": lambda d_out, d_in: d_out * d_in,
    "lion": lambda d_out, d_in: d_out * d_in,
    "muon": lambda d_out, d_in: d_out * d_in,
    "adafactor": lambda d_out, d_in: d_out + d_in,
}


@pytest.mark.parametrize("name", KEPT)
def test_an_optimizer_keeps_what_its_paper_says(name: str) -> None:
    found = bp.cost(spec().model_copy(update={"optimizer": Optimizer.of(name)}), 4)
    layer = [(D, D), (D, D), *[(KV * HEAD, D)] * 2, (FF, D), (FF, D), (D, FF)]
    matrices = LAYERS * sum(KEPT[name](*each) for each in layer)
    # Muon moves tables and norms by AdamW, which keeps two numbers of each and counts its steps.
    tables, norms = 2 * KEPT[name](VOCAB, D), (2 * LAYERS + 1) * D
    others = 2 * (2 * VOCAB * D + norms) + 2 + 2 * LAYERS + 1 if name == "muon" else tables + norms
    assert found.memory.optimizer == 4 * (matrices + others)


def test_parts_kept_in_float32_are_counted_so() -> None:
    found = bp.cost(spec(trainer="bf16-true"), 4)
    wide = found.by_part["norm"] + found.by_part["head"]
    assert found.memory.weights == 2 * (found.parameters - wide) + 4 * wide


class Reads(nn.Module):
    def forward(self, x: Tensor, flow: object) -> tuple[Tensor, dict[str, Tensor]]:
        return x * float(x.sum() > 0), {}


class Wide(nn.Module):
    def __init__(self, at: Site, share: float) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(at.width, 7, at.width))
        self.active_share = share

    def forward(self, x: Tensor, flow: object) -> tuple[Tensor, dict[str, Tensor]]:
        return torch.einsum("btd,dre->bte", x, self.table), {}


@pytest.fixture
def components() -> Iterator[None]:
    @register("wide")
    class WideFeedForward(FeedForward):
        """A user's part (nobody, 2024)."""

        share: float = 1.0
        """How much of it works on a token."""

        def build(self, at: Site) -> nn.Module:
            return Wide(at, self.share)

    @register("reads")
    class ReadingFeedForward(FeedForward):
        """A user's part whose way depends on values (nobody, 2024)."""

        def build(self, at: Site) -> nn.Module:
            return Reads()

    yield
    for cls in (WideFeedForward, ReadingFeedForward):
        del MEMBERS[cls.kind, cls.spec_name]


@pytest.mark.usefixtures("components")
def test_a_users_part_is_counted_like_ours() -> None:
    plain = bp.cost(spec(layers=3), 10)
    block = {"attention": {"heads": HEADS, "kv_heads": KV}, "feed_forward": "wide"}
    found = bp.cost(spec(layers=3, block=block), 10)
    assert found.by_part["feed_forward"] == 3 * 7 * D * D
    assert plain.flops_forward is not None
    # The sum over r is taken before the product, so that one matrix is left.
    assert found.flops_forward == plain.flops_forward + 3 * 10 * 2 * (D * D - 3 * D * FF)
    assert not found.unknown


@pytest.mark.usefixtures("components")
def test_a_part_may_say_what_share_of_it_is_active() -> None:
    feed_forward = {"type": "wide", "share": 2 / 7}
    found = bp.cost(spec(layers=3, block={"attention": {"heads": HEADS}, "feed_forward": feed_forward}), 10)
    assert found.parameters - found.active_parameters == 3 * 5 * D * D


@pytest.mark.usefixtures("components")
def test_what_depends_on_values_is_unknown_and_nothing_else_is() -> None:
    found = bp.cost(spec(block={"attention": {"heads": HEADS}, "feed_forward": "reads"}), 10)
    assert found.flops_forward is found.flops_training is found.flops_per_token is None
    assert found.memory.activations is found.memory.training is None
    assert found.parameters > 0
    assert found.cache_bytes
    assert found.memory.optimizer
    assert "without data" in found.unknown["flops_forward"]
    assert set(found.unknown) == _nulls(found)
    assert "unknown" in str(found)


def test_without_a_length_what_depends_on_it_is_unknown() -> None:
    found = bp.cost(spec())
    assert found.length is None
    assert set(found.unknown) == _nulls(found) - {"length"} >= {"flops_forward", "cache_bytes", "memory.activations"}
    assert found.cache_bytes_per_token


def test_a_model_without_a_state_has_no_cache() -> None:
    found = bp.cost(spec(causal=False), 10)
    assert set(found.unknown) == _nulls(found) == {"cache_bytes", "cache_bytes_per_token"}


def test_the_length_is_the_datas_then_the_models() -> None:
    assert bp.cost(spec(max_length=24)).length == 24
    assert bp.cost(bp.load(ROOT / "specs" / "quickstart.yaml")).length == 256


def test_lengths_the_model_cannot_run_are_refused() -> None:
    learned = spec(attention={"position": "none"}, embedding={"positions": "learned"}, max_length=24)
    with pytest.raises(ValueError, match="end at max_length 24"):
        bp.cost(learned, 25)
    assert bp.cost(spec(max_length=24), 25).flops_forward
    with pytest.raises(ValueError, match="1 or more"):
        bp.cost(spec(), 0)


def test_it_prints_as_a_table_and_as_json() -> None:
    found = bp.cost(bp.load(ROOT / "specs" / "quickstart.yaml"))
    text = str(found)
    for part, number in found.by_part.items():
        assert any(line.split()[:2] == [part, f"{number:,}"] for line in text.splitlines())
    plain = json.loads(json.dumps(found.to_plain()))
    assert plain["parameters"] == found.parameters
    assert (
        plain["memory"]["training"]
        == found.memory.training
        == sum(plain["memory"][each] for each in ("weights", "gradients", "optimizer", "activations", "averages"))
    )


def test_weights_are_told_by_number_format() -> None:
    found = bp.cost(spec(), 8)
    assert found.weights_by_format["float32"] == found.memory.weights == 4 * found.parameters
    assert found.to_plain()["weights_by_format"]["int4"] == found.parameters // 2
    rows = str(found).split("weights alone, by number format")[1].splitlines()[1:5]
    assert [row.split()[0].rstrip(",") for row in rows] == ["float32", "bfloat16", "float8", "int4"]
    assert [("scales" in row) for row in rows] == [False, False, True, True]


def _nulls(found: Cost) -> set[str]:
    """The fields that are None, as `unknown` names them."""
    plain = found.to_plain()
    inside = {f"memory.{name}" for name, value in plain["memory"].items() if value is None}
    return {name for name, value in plain.items() if value is None} | inside


CHILD = """
import resource, sys, time
import blueprint as bp
start = time.perf_counter()
found = bp.cost(bp.load(sys.argv[1]))
unit = 2**30 if sys.platform == "darwin" else 2**20
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, found.parameters)
"""


@pytest.mark.slow
def test_eight_billion_parameters_are_costed_in_seconds_within_little_memory() -> None:
    path = ROOT / "specs" / "papers" / "llama3_8b.yaml"
    out = subprocess.run([sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, check=True).stdout
    seconds, gigabytes, parameters = map(float, out.split())
    print(f"Llama 3 8B at 8192 tokens: {seconds:.1f} s, {gigabytes:.2f} GiB")
    assert parameters == 8_030_261_248
    assert gigabytes < 1.5
    assert seconds < 60


@pytest.mark.slow
def test_seventy_billion_parameters_are_costed_in_fifteen_seconds() -> None:
    path = ROOT / "specs" / "papers" / "llama3_70b.yaml"
    out = subprocess.run([sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, check=True).stdout
    seconds, gigabytes, parameters = map(float, out.split())
    print(f"Llama 3 70B at 8192 tokens: {seconds:.1f} s, {gigabytes:.2f} GiB")
    assert parameters == 70_553_706_496
    assert gigabytes < 1.5
    assert seconds < 15  # torch's import included


@pytest.mark.slow
def test_six_hundred_billion_are_costed_as_quickly(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    sizes = "d_model: 18432, layers: 148, vocab_size: 129280, max_length: 16384"
    block = "{attention: {heads: 144, kv_heads: 8}, feed_forward: {d_ff: 61440}}"
    path.write_text(f"model: {{type: decoder, {sizes}, block: {block}}}\n")
    out = subprocess.run([sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, check=True).stdout
    seconds, gigabytes, parameters = map(float, out.split())
    print(f"{parameters / 1e9:.0f} B at 16384 tokens: {seconds:.1f} s, {gigabytes:.2f} GiB")
    attention = 2 * 18432**2 + 2 * 18432 * 8 * 128
    assert parameters == 148 * (attention + 3 * 18432 * 61440 + 2 * 18432) + 2 * 129280 * 18432 + 18432
    assert gigabytes < 1.5
    assert seconds < 60
