"""What comes in goes out as it came: import and export of checkpoints that the transformers library wrote."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn

import blueprint as bp
from blueprint.diagnosis import SpecError
from blueprint.interop.error import CheckpointError
from blueprint.interop.export import export_folder
from blueprint.interop.import_ import import_folder
from blueprint.interop.safetensors_io import open_checkpoint
from blueprint.training.restore import load_weights
from tests.benchmarks import bench_import
from tests.parity.reference import randomise

FAMILY = """\
match: {model_type: gpt2}
defaults: {tie_word_embeddings: true}
inert: {"*_pdrop": any, "summary_*": any, "scale_attn_*": any, reorder_and_upcast_attn: any, n_inner: any,
        add_cross_attention: false, activation_function: gelu_new}
model:
  type: decoder
  vocab_size: ${hf.vocab_size}
  d_model: ${hf.n_embd}
  layers: ${hf.n_layer}
  max_length: ${hf.n_positions}
  norm: {type: layer, eps: "${hf.layer_norm_epsilon}"}
  embedding: {positions: learned}
  block:
    attention: {heads: "${hf.n_head}", bias: true, position: none}
    feed_forward: {type: mlp, d_ff: "${4 * hf.n_embd}", activation: gelu_tanh, bias: true}
  head: {tie: "${hf.tie_word_embeddings}"}
  init: {type: scaled, std: "${hf.initializer_range}"}
layouts: [{base: transformer.}, {base: ""}]
weights:
  embedding.{tokens,positions}.weight: "{base}{wte,wpe}.weight"
  layers.{i}.{attention,feed_forward}_norm.{weight,bias}: "{base}h.{i}.{ln_1,ln_2}.{weight,bias}"
  layers.{i}.attention.{q,k,v}.weight: {from: "{base}h.{i}.attn.c_attn.weight", as: "m (q + k + v) -> q m, k m, v m"}
  layers.{i}.attention.{q,k,v}.bias: {from: "{base}h.{i}.attn.c_attn.bias", as: "(q + k + v) -> q, k, v"}
  layers.{i}.attention.o.weight: {from: "{base}h.{i}.attn.c_proj.weight", as: a b -> b a}
  layers.{i}.attention.o.bias: "{base}h.{i}.attn.c_proj.bias"
  layers.{i}.feed_forward.up.weight: {from: "{base}h.{i}.mlp.c_fc.weight", as: a b -> b a}
  layers.{i}.feed_forward.down.weight: {from: "{base}h.{i}.mlp.c_proj.weight", as: a b -> b a}
  layers.{i}.feed_forward.{up,down}.bias: "{base}h.{i}.mlp.{c_fc,c_proj}.bias"
  norm.{weight,bias}: "{base}ln_f.{weight,bias}"
  head.weight: {from: lm_head.weight, when: not hf.tie_word_embeddings}
tied: {lm_head.weight: "{base}wte.weight"}
drop: {"{base}h.{i}.attn.bias": a causal mask}
"""


@pytest.fixture
def family(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(FAMILY)
    return path


def reference(folder: Path, dtype: torch.dtype = torch.float32, **settings: Any) -> nn.Module:
    """A GPT-2 of the library, its values drawn anew, saved."""
    import transformers

    config = transformers.GPT2Config(
        vocab_size=101, n_embd=32, n_layer=3, n_head=4, n_positions=32, bos_token_id=1, eos_token_id=2
    )
    model: Any = transformers.GPT2LMHeadModel(config).eval()
    randomise(model)
    model.to(dtype).save_pretrained(folder, **settings)
    (folder / "tokenizer.json").write_text("{}")
    return cast(nn.Module, model)


def opened(folder: Path) -> nn.Module:
    import transformers

    model: nn.Module = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()
    return model


def same_tensors(one: Path, other: Path) -> None:
    """The same names, formats, shapes and bytes."""
    a, b = open_checkpoint(one).tensors, open_checkpoint(other).tensors
    assert {n: (t.dtype, t.shape) for n, t in a.items()} == {n: (t.dtype, t.shape) for n, t in b.items()}
    for name in a:
        assert a[name].read().tobytes() == b[name].read().tobytes(), name


IDS_BT = torch.arange(40).view(2, 20) * 7 % 101


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_export_gives_back_what_came_file_by_file(tmp_path: Path, family: Path, dtype: torch.dtype) -> None:
    model = reference(tmp_path / "hf", dtype)
    done = import_folder(tmp_path / "hf", tmp_path / "in", family=family)
    assert done.parameters == sum(parameter.numel() for parameter in model.parameters())
    export_folder(tmp_path / "in", tmp_path / "back")
    assert {path.name for path in (tmp_path / "back").iterdir()} == {path.name for path in (tmp_path / "hf").iterdir()}
    for path in (tmp_path / "hf").iterdir():
        assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes(), path.name
    with torch.no_grad():
        assert torch.equal(opened(tmp_path / "back")(IDS_BT).logits, opened(tmp_path / "hf")(IDS_BT).logits)


def test_what_was_imported_computes_the_same(tmp_path: Path, family: Path) -> None:
    model = reference(tmp_path / "hf")
    import_folder(tmp_path / "hf", tmp_path / "in", family=family)
    spec, ours = bp.import_hf(tmp_path / "hf", family=family)
    with torch.no_grad():
        wanted = model(IDS_BT).logits
        for each in (ours, bp.restore(tmp_path / "in")):
            assert (each(IDS_BT).logits - wanted).abs().max() < 2e-5 * wanted.std()
    assert bp.plan(spec).hash == bp.plan(bp.load(tmp_path / "in" / "spec.yaml")).hash
    head, table = ours.state_dict(keep_vars=True), "embedding.tokens.weight"
    assert head.get("head.weight", head[table]) is head[table]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_in_memory_goes_out_as_it_came(tmp_path: Path, family: Path, dtype: torch.dtype) -> None:
    """A bfloat16 checkpoint is float32 in memory: as long as nothing was changed, it is bfloat16 again outside."""
    reference(tmp_path / "hf", dtype)
    import_folder(tmp_path / "hf", tmp_path / "in", family=family)
    for n, model in enumerate((bp.import_hf(tmp_path / "hf", family=family)[1], bp.restore(tmp_path / "in"))):
        bp.export_hf(model, tmp_path / f"out{n}")
        same_tensors(tmp_path / "hf", tmp_path / f"out{n}")
        with torch.no_grad():
            next(iter(model.parameters())).mul_(1 + 2**-15)
        bp.export_hf(model, tmp_path / f"changed{n}")
        found = open_checkpoint(tmp_path / f"changed{n}").tensors.values()
        assert {tensor.dtype for tensor in found} == {"F32"}
        config = json.loads((tmp_path / f"changed{n}" / "config.json").read_text())
        assert config["dtype"] == "float32"
        assert opened(tmp_path / f"changed{n}").dtype == torch.float32


def test_shards_copies_and_masks_come_back(tmp_path: Path, family: Path) -> None:
    """Older checkpoints hold tied tensors twice, and masks; large ones are in shards without a prefix."""
    from safetensors.torch import load_file, save_file

    reference(tmp_path / "hf", max_shard_size="40KB")
    shards = sorted((tmp_path / "hf").glob("*.safetensors"))
    assert len(shards) > 2
    index = json.loads((tmp_path / "hf/model.safetensors.index.json").read_text())
    for n, shard in enumerate(shards):
        tensors = {name.removeprefix("transformer."): tensor for name, tensor in load_file(shard).items()}
        if n == 0:
            tensors |= {f"h.{i}.attn.bias": torch.ones(1, 1, 8, 8).tril().bool() for i in range(3)}
        if "wte.weight" in tensors:
            tensors["lm_head.weight"] = tensors["wte.weight"].clone()
        save_file(tensors, shard, metadata={"format": "pt", "of": str(n)})
        index["weight_map"] = {k: v for k, v in index["weight_map"].items() if v != shard.name} | dict.fromkeys(
            tensors, shard.name
        )
    (tmp_path / "hf/model.safetensors.index.json").write_text(json.dumps(index))
    done = import_folder(tmp_path / "hf", tmp_path / "in", family=family)
    assert (done.tied, done.dropped) == (1, 3)
    export_folder(tmp_path / "in", tmp_path / "back")
    same_tensors(tmp_path / "hf", tmp_path / "back")
    for shard in shards:
        assert (tmp_path / "back" / shard.name).read_bytes() == shard.read_bytes()


def broken(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t | {"extra.weight": torch.ones(2)}, "no rule uses 1 tensor in the file"),
        (lambda t: {n: x for n, x in t.items() if "ln_f" not in n}, "the file has no `transformer.ln_f.weight`"),
        (lambda t: t | {"transformer.wpe.weight": torch.ones(31, 32)}, "theirs: transformer.wpe.weight [31, 32]"),
        (
            lambda t: t | {"lm_head.weight": t["transformer.wte.weight"] + 1},
            "is not the same as `transformer.wte.weight`",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_and_nothing_is_written(
    tmp_path: Path, family: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], said: str
) -> None:
    from safetensors.torch import save_file

    reference(tmp_path / "hf")
    save_file(change(broken(tmp_path / "hf")), tmp_path / "hf/model.safetensors")
    before = set(tmp_path.iterdir())
    with pytest.raises(SpecError) as caught:
        import_folder(tmp_path / "hf", tmp_path / "in", family=family)
    assert said in str(caught.value)
    assert "mine.yaml:" in str(caught.value)
    assert set(tmp_path.iterdir()) == before


def test_folders_that_hold_something_are_left_alone(tmp_path: Path, family: Path) -> None:
    reference(tmp_path / "hf")
    import_folder(tmp_path / "hf", tmp_path / "in", family=family)
    with pytest.raises(CheckpointError, match="holds something already"):
        import_folder(tmp_path / "hf", tmp_path / "in", family=family)
    with pytest.raises(CheckpointError, match="holds something already"):
        export_folder(tmp_path / "in", tmp_path / "hf")


def test_a_run_that_began_from_an_import_goes_back_to_its_family(tmp_path: Path, family: Path) -> None:
    """The run is enough: the import's folder may be gone."""
    import transformers

    config = transformers.GPT2Config(
        vocab_size=257, n_embd=32, n_layer=1, n_head=4, n_positions=32, bos_token_id=1, eos_token_id=2
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "hf")
    import_folder(tmp_path / "hf", tmp_path / "in", family=family)
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 200)
    said = bp.load(tmp_path / "in" / "spec.yaml").to_plain()
    more = {
        "tokenizer": "byte",
        "data": {"source": {"type": "text", "path": str(text)}, "length": 32, "batch_size": 2},
        "objective": "causal",
        "start": {"from": str(tmp_path / "in")},
        "trainer": {"max_steps": 1, "accelerator": "cpu"},
    }
    spec = bp.load({"model": said["model"], **more})
    bp.fit(spec, tmp_path / "run", progress=False, cache=tmp_path / "cache")
    shutil.rmtree(tmp_path / "in")
    done = export_folder(tmp_path / "run", tmp_path / "out")
    assert (done.family, done.config) == ("mine", "as it came")
    trained = bp.restore(tmp_path / "run")
    with torch.no_grad():
        ours, theirs = trained(IDS_BT).logits, opened(tmp_path / "out")(IDS_BT).logits
    assert (ours - theirs).abs().max() < 2e-5 * theirs.std()


def test_a_spec_that_was_edited_gets_a_config_that_says_so(tmp_path: Path, family: Path) -> None:
    """Two of three layers taken over: the config is solved for, and the library opens it."""
    reference(tmp_path / "hf")
    import_folder(tmp_path / "hf", tmp_path / "in", family=family)
    model = bp.build(bp.load(tmp_path / "in" / "spec.yaml", overrides=["model.layers=2"])).eval()
    load_weights(model, tmp_path / "in", ["layers", "embedding", "norm"])
    done = bp.export_hf(model, tmp_path / "out", family=family)
    assert done.config == "solved for"
    assert json.loads((tmp_path / "out" / "config.json").read_text())["n_layer"] == 2
    with torch.no_grad():
        ours, theirs = model(IDS_BT).logits, opened(tmp_path / "out")(IDS_BT).logits
    assert (ours - theirs).abs().max() < 2e-5 * theirs.std()


@pytest.mark.slow
@pytest.mark.parametrize("fused", [False, True])
def test_two_gigabytes_come_in_at_the_price_of_reading_and_writing(tmp_path: Path, fused: bool) -> None:
    """Near one tensor in memory; where nothing is rearranged, at most 1.5 times the time."""
    source = tmp_path / "checkpoint"
    largest = bench_import.make(source, 2_000_000_000, fused)
    rounds = bench_import.measure(source, 1 if fused else 5, fused)
    ratio, memory = statistics.median(each.ratio for each in rounds), max(each.memory for each in rounds)
    print(f"\nratio {ratio:.2f}, memory {memory / 1e6:.0f} MB, the largest tensor {largest / 1e6:.0f} MB")
    # A tensor that is rearranged is there twice, as it comes and as it goes.
    assert memory < (2 if fused else 1) * largest + 150e6
    assert fused or ratio <= 1.5
