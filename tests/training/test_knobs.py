"""No dead knob outside the model either: every key of data, training and saving changes something that can be seen."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

import blueprint as bp
from blueprint.component import Section
from blueprint.registry import member, names
from blueprint.schema.shape import fields
from blueprint.schema.spec import Spec, Trainer
from blueprint.training import metrics
from blueprint.training.error import TrainError
from blueprint.training.task import prepare

from .conftest import LABELLED, PAIRS, MakeSpec

#: Keys without effect on what is computed, and why they are there.
REASONS = {
    "blueprint": "the version of the language, of which there is one",
    "name": "for readers: plans, pictures and tables are titled so",
    "description": "for readers: it travels in the resolved spec",
    "data.workers": "how many processes read, which changes no batch",
}

#: A tokenizer that is a file, where every byte is a token.
LETTERS = member("tokenizer", "file").examples()[0]["path"]
#: Beside what the keys of masking show.
ENCODER = "model.type=encoder model.d_model=32 model.layers=1 model.max_length=32 model.block.attention.heads=2"
MASKED = f"{ENCODER} objective=masked tokenizer.mask=true"
WORDS = f"{ENCODER} objective=masked tokenizer=file tokenizer.path={LETTERS}"
#: Beside what the keys of writing a text back show; the file's tokens have an id for padding.
WRITER = "model.type=encoder_decoder model.d_model=32 model.layers=1 model.max_length=32 model.block.attention.heads=2"
NOISY, CORRUPT = f"{WRITER} objective=denoising", f"{WRITER} objective=span_corruption"
NOISE, SPANS = f"{NOISY} tokenizer.mask=true", f"{CORRUPT} tokenizer.sentinels=12"
FILL = "objective=fill_in_the_middle tokenizer.sentinels=3"
FILE = f"tokenizer=file tokenizer.path={LETTERS}"
T5 = f"tokenizer=file tokenizer.path={Path(__file__).with_name('sentinels.json')}"

PAIRED, CLASSED = " ".join(PAIRS), " ".join(LABELLED)
BINARY = f"{CLASSED} objective=binary model.head.labels=1"
SCORED = (
    " ".join(
        each.replace("labelled", "scored").replace("=classification", "=regression")
        if each.startswith(("data.source", "objective"))
        else each
        for each in LABELLED
    )
    + " model.head.labels=1"
)
VECTORS = "model.block.dropout=0.1 model.head=pooler objective=contrastive"
HINGE = f"{CLASSED} objective=hinge"

#: For every other key another value, and after a bar what it shows beside; the runs with and without it are compared.
RUNS = {
    "seed": "seed=7",
    "data.length": "data.length=8",
    "data.batch_size": "data.batch_size=4",
    "data.validation": "data.validation=0.5",
    "data.packing": "data.packing=single",
    "data.positions": "data.positions=restart",
    "data.shuffle": "data.shuffle=false",
    "objective.causal.label_smoothing": "objective.label_smoothing=0.1",
    "objective.causal.z_loss": "objective.z_loss=0.1",
    "data.target_length": f"data.target_length=3 | {PAIRED}",
    "objective.seq2seq.start": f"objective.start=pad | {PAIRED} tokenizer=file tokenizer.path={LETTERS}",
    "objective.seq2seq.label_smoothing": f"objective.label_smoothing=0.1 | {PAIRED}",
    "objective.seq2seq.z_loss": f"objective.z_loss=0.1 | {PAIRED}",
    "objective.classification.label_smoothing": f"objective.label_smoothing=0.1 | {CLASSED}",
    "objective.masked.share": f"objective.share=0.5 | {MASKED}",
    "objective.masked.mask": f"objective.mask=0.5 | {MASKED}",
    "objective.masked.random": f"objective.random=0.2 | {MASKED}",
    "objective.masked.whole_word": f"objective.whole_word=true | {WORDS}",
    "objective.masked.label_smoothing": f"objective.label_smoothing=0.1 | {MASKED}",
    "objective.masked.z_loss": f"objective.z_loss=0.1 | {MASKED}",
    "objective.span_corruption.start": f"objective.start=pad | {CORRUPT} {T5}",
    "objective.span_corruption.share": f"objective.share=0.4 | {SPANS}",
    "objective.span_corruption.mean_length": f"objective.mean_length=1.5 | {SPANS} objective.share=0.4",
    "objective.span_corruption.label_smoothing": f"objective.label_smoothing=0.1 | {SPANS}",
    "objective.span_corruption.z_loss": f"objective.z_loss=0.1 | {SPANS}",
    "objective.denoising.start": f"objective.start=pad | {NOISY} {FILE}",
    "objective.denoising.infill": f"objective.infill=0.6 | {NOISE}",
    "objective.denoising.mean_length": f"objective.mean_length=1.5 | {NOISE}",
    "objective.denoising.permute": f"objective.permute=0 | {NOISE} data.source.path={__file__}",
    "objective.denoising.delete": f"objective.delete=0.3 | {NOISE}",
    "objective.denoising.rotate": f"objective.rotate=1 | {NOISE}",
    "objective.denoising.label_smoothing": f"objective.label_smoothing=0.1 | {NOISE}",
    "objective.denoising.z_loss": f"objective.z_loss=0.1 | {NOISE}",
    "objective.prefix.start": f"objective.start=pad | {WRITER} objective=prefix {FILE}",
    "objective.prefix.label_smoothing": f"objective.label_smoothing=0.1 | {WRITER} objective=prefix",
    "objective.prefix.z_loss": f"objective.z_loss=0.1 | {WRITER} objective=prefix",
    "objective.fill_in_the_middle.rate": f"objective.rate=1 | {FILL}",
    "objective.fill_in_the_middle.spm": f"objective.spm=1 | {FILL}",
    "objective.fill_in_the_middle.label_smoothing": f"objective.label_smoothing=0.1 | {FILL}",
    "objective.fill_in_the_middle.z_loss": f"objective.z_loss=0.1 | {FILL}",
    "objective.binary.positive_weight": f"objective.positive_weight=3 | {BINARY}",
    "objective.hinge.margin": f"objective.margin=2 | {HINGE}",
    "objective.hinge.squared": f"objective.squared=true | {HINGE}",
    "objective.regression.error": f"objective.error=absolute | {SCORED}",
    "objective.contrastive.temperature": f"objective.temperature=1 | {ENCODER} {VECTORS}",
    "tokenizer.byte.mask": "tokenizer.mask=true",
    "tokenizer.byte.sentinels": "tokenizer.sentinels=3",
    "tokenizer.file.pad": f"tokenizer.pad=a | {WORDS} data.packing=single",
    "tokenizer.file.mask": f"tokenizer.mask=a | {WORDS}",
    "tokenizer.file.cls": f"tokenizer.cls=a | {WORDS}",
    "tokenizer.file.sep": f"tokenizer.sep=a | {WORDS}",
    "tokenizer.file.bos": f"tokenizer.bos=a | {WORDS}",
    "tokenizer.file.eos": f"tokenizer.eos=a | {WORDS}",
    "tokenizer.file.unk": f"tokenizer.unk=a | {WORDS}",
    "optimizer.adamw.lr": "optimizer.lr=0.1",
    "optimizer.adamw.betas": "optimizer.betas=[0.5, 0.95]",
    "optimizer.adamw.eps": "optimizer.eps=1.0",
    "optimizer.adamw.weight_decay": "optimizer.weight_decay=0.9",
    "schedule.constant.warmup_steps": "schedule.warmup_steps=4 | schedule=constant",
    "schedule.linear.warmup_steps": "schedule.warmup_steps=4 | schedule=linear",
    "schedule.linear.final": "schedule.final=0.5 | schedule=linear",
    "schedule.cosine.warmup_steps": "schedule.warmup_steps=4",
    "schedule.cosine.final": "schedule.final=0.5",
    "schedule.wsd.warmup_steps": "schedule.warmup_steps=2 | schedule=wsd",
    "schedule.wsd.final": "schedule.final=0.5 | schedule=wsd schedule.decay=0.9",
    "schedule.wsd.decay": "schedule.decay=0.9 | schedule=wsd",
    "schedule.wsd.shape": "schedule.shape=linear | schedule=wsd schedule.decay=0.9",
    "trainer.max_steps": "trainer.max_steps=3",
    "trainer.max_epochs": "trainer.max_epochs=1",
    "trainer.precision": "trainer.precision=bf16-mixed",
    "trainer.accelerator": "trainer.accelerator=auto",
    "trainer.devices": "trainer.devices=2",
    "trainer.num_nodes": "trainer.num_nodes=2",
    "trainer.strategy": "trainer.strategy=ddp",
    "trainer.accumulate_grad_batches": "trainer.accumulate_grad_batches=2",
    "trainer.gradient_clip_val": "trainer.gradient_clip_val=0.01",
    "trainer.gradient_clip_algorithm": "trainer.gradient_clip_algorithm=value | trainer.gradient_clip_val=0.01",
    "trainer.val_check_interval": "trainer.val_check_interval=2",
    "trainer.limit_val_batches": "trainer.limit_val_batches=1",
    "trainer.log_every_n_steps": "trainer.log_every_n_steps=3",
    "trainer.deterministic": "trainer.deterministic=true",
    "trainer.detect_anomaly": "trainer.detect_anomaly=true",
    "precision.float32": "precision.float32=[] | trainer.precision=bf16-true precision.float32=[head]",
    "checkpoint.every_n_steps": "checkpoint.every_n_steps=3",
    "checkpoint.keep": "checkpoint.keep=1",
    "sample": "sample={}",
    "sample.every_n_steps": "sample.every_n_steps=2 | sample={}",
    "sample.prompt": "sample.prompt=abc | sample={}",
    "sample.tokens": "sample.tokens=3 | sample={}",
    "sample.temperature": "sample.temperature=0 | sample={}",
}
#: Keys whose effect another test below shows, and those that only hold others or take other members.
SOURCES = {
    "source.reversal.count": {"count": 5},
    "source.reversal.length": {"length": 3},
    "source.reversal.seed": {"seed": 1},
    "source.pairs.path": {"path": "b.tsv"},
    "source.pairs.source": {"source": 1},
    "source.pairs.target": {"target": 0},
    "source.pairs.bad_rows": {"path": "bad.tsv", "bad_rows": 0.5},
    "source.labelled.path": {"path": "b.tsv"},
    "source.labelled.text": {"text": 1},
    "source.labelled.label": {"label": 0},
    "source.labelled.labels": {"labels": ["y", "x", "w"]},
    "source.labelled.bad_rows": {"path": "bad.tsv", "bad_rows": 0.5},
    "source.scored.path": {"path": "numbers.csv"},
    "source.scored.text": {"text": 1},
    "source.scored.score": {"score": 2},
    "source.scored.bad_rows": {"path": "bad.tsv", "bad_rows": 0.5},
    "source.image_folder.path": {"path": "others"},
    "source.image_folder.channels": {"channels": 1},
    "source.image_folder.mean": {"mean": 0.5},
    "source.image_folder.std": {"std": 0.5},
}
#: What a source is without its change, where it is not `a.tsv` alone.
PLAIN: dict[str, dict[str, Any]] = {
    "reversal": {},
    "image_folder": {"path": "images"},
    "bad_rows": {"path": "bad.tsv"},
    "scored": {"path": "numbers.tsv"},
}
ELSEWHERE = {
    *SOURCES,
    "start.from",
    "start.parts",
    "start.strict",
    "source.text.path",
    "data.source",
    "tokenizer.file.path",
}
HOLDERS = {"model", "tokenizer", "data", "objective", "optimizer", "schedule", "trainer", "precision", "start"}
BASE = ("trainer.max_steps=6", "checkpoint.every_n_steps=2")


def keys(cls: type[Section], path: str = "") -> Iterator[str]:
    for key, shape in fields(cls).items():
        yield f"{path}{key}"
        if shape.form == "section":
            assert shape.cls is not None
            yield from keys(shape.cls, f"{key}.")


def all_keys() -> set[str]:
    """Every key of a spec but those below `model`; of components by kind and name."""
    return set(keys(Spec)) | {
        f"{kind}.{name}.{key}"
        for kind in ("objective", "optimizer", "schedule", "source", "tokenizer")
        for name in names(kind)
        if member(kind, name).__module__.startswith("blueprint")
        for key in fields(member(kind, name))
    }


def test_every_key_has_a_trial_or_a_reason() -> None:
    assert {*RUNS, *REASONS, *ELSEWHERE, *HOLDERS, "checkpoint"} == all_keys()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Lightning's Trainer is told; it then runs here, whatever devices were asked for."""
    made: dict[str, Any] = {}
    real = pl.Trainer.__init__

    def noted(self: pl.Trainer, **arguments: Any) -> None:
        made.update({k: v for k, v in arguments.items() if k in Trainer.model_fields})
        real(self, **{**arguments, "accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto"})

    monkeypatch.setattr(pl.Trainer, "__init__", noted)
    return made


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    """What runs without a change have left, by what was said beside it."""
    return {}


def left(spec: bp.Spec, folder: Path, told: dict[str, Any]) -> dict[str, Any]:
    """All that a run leaves behind."""
    told.clear()
    run = bp.fit(spec, folder, progress=False)
    state = bp.restore(folder).state_dict()
    samples = folder / "samples.txt"
    return {
        "told": dict(told),
        "steps": run.step,
        "metrics": [
            {k: v for k, v in row.items() if k != "tokens_per_second"} for row in metrics.read(folder / "metrics.csv")
        ],
        "checkpoints": sorted(path.name for path in (folder / "checkpoints").iterdir()),
        "samples": samples.read_text() if samples.exists() else "",
        "weights": [(name, str(value.dtype), value.double().sum().item()) for name, value in state.items()],
    }


@pytest.mark.parametrize("key", RUNS)
def test_every_key_changes_a_run(
    key: str, make_spec: MakeSpec, tmp_path: Path, told: dict[str, Any], known: dict[str, Any]
) -> None:
    change, _, beside = (part.strip() for part in RUNS[key].partition("|"))
    said = [*BASE, *beside.split()]
    if beside not in known:
        known[beside] = left(make_spec(*said), tmp_path / "before", told)
    assert left(make_spec(*said, change), tmp_path / "after", told) != known[beside]


def test_a_run_leaves_the_same_twice(make_spec: MakeSpec, tmp_path: Path, told: dict[str, Any]) -> None:
    """So that what differs above differs by the key."""
    one, two = (left(make_spec(*BASE), tmp_path / name, told) for name in "ab")
    assert one == two


def test_the_source_and_its_path_say_what_is_read(make_spec: MakeSpec, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("other words " * 40)
    (tmp_path / "more.txt").write_text("and more of them " * 40)

    def first(*overrides: str) -> Any:
        return prepare(make_spec(*overrides), progress=False).train[0]["input_ids"].tolist()

    found = [first(), first(f"data.source.path={tmp_path}"), first("data.source=stdlib")]
    assert found[0] != found[1] != found[2]


@pytest.mark.parametrize("key", SOURCES)
def test_every_key_of_a_source_changes_what_is_read(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tsv").write_text("one\tx\ntwo\ty\nthree\tw\n")
    (tmp_path / "b.tsv").write_text("four\tx\nfive\ty\n")
    for name, between in (("numbers.tsv", "\t"), ("numbers.csv", ",")):
        (tmp_path / name).write_text(between.join(("one", "1", "2")) + "\n")
    (tmp_path / "bad.tsv").write_text("one\tx\nalone\n")
    for folder, colour in (("images", "red"), ("others", "blue")):
        (tmp_path / folder / "class").mkdir(parents=True)
        Image.new("RGB", (2, 2), colour).save(tmp_path / folder / "class" / "0.png")
    _, name, field = key.split(".")
    plain = PLAIN.get(field) or PLAIN.get(name, {"path": "a.tsv"})

    def read(said: dict[str, Any]) -> Any:
        source = member("source", name)(**said)
        try:
            found = list(source.documents()), source.classes(read=True)
        except ValueError as error:
            return str(error)
        return found, source.scale() if hasattr(source, "scale") else None

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read({**plain, **SOURCES[key]}) != read(plain)


def test_what_a_run_starts_from_is_what_it_says(make_spec: MakeSpec, tmp_path: Path) -> None:
    bp.fit(make_spec(*BASE, "seed=5"), tmp_path / "old", progress=False)
    old = bp.restore(tmp_path / "old").state_dict()

    def begun(name: str, *overrides: str) -> set[str]:
        said = [
            "optimizer.lr=1e-30",
            "schedule=constant",
            "trainer.max_steps=1",
            f"start={{from: {tmp_path / 'old'}}}",
            *overrides,
        ]
        bp.fit(make_spec(*said), tmp_path / name, progress=False)
        state = bp.restore(tmp_path / name).state_dict()
        return {key for key in old if key in state and torch.equal(state[key], old[key])}

    everything, table = begun("all"), begun("table", "start.parts=[embedding]")
    assert everything == set(old)
    assert {key for key in everything if key.startswith("embedding")} <= table < everything
    with pytest.raises(TrainError, match="layers"):
        begun("strict", "model.layers=3")
    assert begun("lax", "model.layers=3", "start.strict=false") == set(old)
