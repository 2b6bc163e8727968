"""No dead knob outside the model either: every key of data, training and saving changes something that can be seen.

The schema is walked from the whole spec on, through every slot but `model`, so that a new section, kind or component
has to be spoken of here. What would do nothing beside something else is refused there, as the end of this file shows.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

import blueprint as bp
from blueprint.component import Section
from blueprint.kinds import Document, Dropped
from blueprint.registry import kinds, member
from blueprint.schema.shape import fields
from blueprint.schema.spec import Spec
from blueprint.schema.trainer import Trainer
from blueprint.training import metrics
from blueprint.training.error import TrainError
from blueprint.training.task import prepare
from tests.conftest import ROOT
from tests.shipped import shipped
from tests.test_knobs import PARTS

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
SUMMED = "objective.type=sum objective.objectives.a=causal"
SUMMED += " objective.objectives.b.type=causal objective.objectives.b.z_loss=0.1"
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
TAGGED = f"{CLASSED} objective=token_classification model.head.type=token_classification model.head.labels=3"
TAGGED += f" data.source.type=tagged data.source.path={Path(__file__).with_name('tagged.conll')}"
SEVERAL = f"{CLASSED} objective=multi_label model.head.labels=3"
SEVERAL += f" data.source.type=multi_labelled data.source.path={Path(__file__).with_name('several.tsv')}"

#: A group of weights, and one that differs by a key.
GROUP = '{"parts":["head"],"lr":1e-2,"weight_decay":0.1}'
GROUPS = {
    "parts": GROUP.replace("head", "layers"),
    "lr": GROUP.replace("1e-2", "1e-6"),
    "weight_decay": GROUP.replace("0.1", "0.9"),
}

#: For every other key another value, and after a bar what it shows beside; the runs with and without it are compared.
RUNS = {
    "seed": "seed=7",
    "data.stages": "data.stages=[word_dropout]",
    "data.length": "data.length=8",
    "data.batch_size": "data.batch_size=4",
    "data.validation": "data.validation=0.5",
    "data.packing": "data.packing=single",
    "data.positions": "data.positions=restart",
    "data.shuffle": "data.shuffle=false",
    "data.bucket": f"data.bucket=3 | {PAIRED} data.batch_size=2",
    "writing": f"writing={{}} | {PAIRED}",
    "writing.scores": f"writing.scores=chrf | {PAIRED} writing={{}}",
    "writing.documents": f"writing.documents=2 | {PAIRED} writing={{}}",
    "writing.beams": f"writing.beams=3 | {PAIRED} writing={{}}",
    "writing.length_penalty": f"writing.length_penalty=-5 | {PAIRED} writing.beams=3",
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
    "objective.prefix_lm.label_smoothing": "objective.label_smoothing=0.1 | objective=prefix_lm",
    "objective.prefix_lm.z_loss": "objective.z_loss=0.1 | objective=prefix_lm",
    "objective.fill_in_the_middle.rate": f"objective.rate=1 | {FILL}",
    "objective.fill_in_the_middle.spm": f"objective.spm=1 | {FILL}",
    "objective.fill_in_the_middle.label_smoothing": f"objective.label_smoothing=0.1 | {FILL}",
    "objective.fill_in_the_middle.z_loss": f"objective.z_loss=0.1 | {FILL}",
    "objective.binary.positive_weight": f"objective.positive_weight=3 | {BINARY}",
    "objective.hinge.margin": f"objective.margin=2 | {HINGE}",
    "objective.hinge.squared": f"objective.squared=true | {HINGE}",
    "objective.token_classification.token": f"objective.token=last | {TAGGED}",
    "objective.token_classification.label_smoothing": f"objective.label_smoothing=0.1 | {TAGGED}",
    "objective.multi_label.positive_weight": f"objective.positive_weight=3 | {SEVERAL}",
    "objective.sum.objectives": f"objective.objectives.b.z_loss=0.2 | {SUMMED}",
    "objective.sum.weights": f'objective.weights={{"a":1,"b":2}} | {SUMMED}',
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
    **{
        f"optimizer.{name}.groups": f"optimizer.groups=[{{parts: [head], lr: 1e-9}}] | optimizer={name}"
        for name in ("adamw", "sgd", "lion", "adafactor", "muon")
    },
    **{
        f"optimizer.{name}.groups.{key}": f"optimizer.groups=[{group}] | optimizer={name} optimizer.groups=[{GROUP}]"
        for name in ("adamw", "sgd", "lion", "adafactor", "muon")
        for key, group in GROUPS.items()
    },
    "freeze": "freeze=[embedding]",
    "ema": "ema={}",
    "ema.decay": "ema.decay=0.9 | ema.decay=0.5",
    "ema.every_n_steps": "ema.every_n_steps=2 | ema.decay=0.5",
    "ema.begin": "ema.begin=3 | ema.decay=0.5",
    "ema.validation": "ema.validation=trained | ema.decay=0.5",
    "optimizer.sgd.lr": "optimizer.lr=0.5 | optimizer=sgd",
    "optimizer.sgd.momentum": "optimizer.momentum=0.5 | optimizer=sgd",
    "optimizer.sgd.nesterov": "optimizer.nesterov=true | optimizer=sgd",
    "optimizer.sgd.weight_decay": "optimizer.weight_decay=0.5 | optimizer=sgd",
    "optimizer.lion.lr": "optimizer.lr=0.01 | optimizer=lion",
    "optimizer.lion.betas": "optimizer.betas=[0.5, 0.99] | optimizer=lion",
    "optimizer.lion.weight_decay": "optimizer.weight_decay=0.9 | optimizer=lion",
    "optimizer.adafactor.lr": "optimizer.lr=0.1 | optimizer=adafactor",
    "optimizer.adafactor.decay": "optimizer.decay=0.5 | optimizer=adafactor",
    "optimizer.adafactor.clip": "optimizer.clip=0.5 | optimizer=adafactor",
    "optimizer.adafactor.eps": "optimizer.eps=0.1 | optimizer=adafactor",
    "optimizer.adafactor.smallest": "optimizer.smallest=5.0 | optimizer=adafactor",
    "optimizer.adafactor.weight_decay": "optimizer.weight_decay=0.9 | optimizer=adafactor",
    "optimizer.muon.lr": "optimizer.lr=0.1 | optimizer=muon",
    "optimizer.muon.momentum": "optimizer.momentum=0.5 | optimizer=muon",
    "optimizer.muon.nesterov": "optimizer.nesterov=false | optimizer=muon",
    "optimizer.muon.iterations": "optimizer.iterations=2 | optimizer=muon",
    "optimizer.muon.scale": "optimizer.scale=rms | optimizer=muon",
    "optimizer.muon.weight_decay": "optimizer.weight_decay=0.9 | optimizer=muon",
    "optimizer.muon.rest": "optimizer.rest=lion | optimizer=muon",
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
    "precision.init_scale": "precision.init_scale=16 | trainer.precision=16-mixed",
    "precision.growth_interval": "precision.growth_interval=2 | trainer.precision=16-mixed",
    "precision.float32": "precision.float32=[] | trainer.precision=bf16-true precision.float32=[head]",
    "checkpoint.every_n_steps": "checkpoint.every_n_steps=3",
    "checkpoint.keep": "checkpoint.keep=1",
    "sample": "sample={}",
    "sample.every_n_steps": "sample.every_n_steps=2 | sample={}",
    "sample.prompt": "sample.prompt=abc | sample={}",
    "sample.tokens": "sample.tokens=3 | sample={}",
    "sample.temperature": "sample.temperature=0 | sample={}",
}
#: A change to each key of a source, which changes what it gives.
SOURCES = {
    "source.reversal.count": {"count": 5},
    "source.reversal.length": {"length": 3},
    "source.reversal.seed": {"seed": 1},
    "source.gettext.path": {"path": ["b.po", "c.po"]},
    "source.gettext.fuzzy": {"fuzzy": True},
    "source.gettext.hold_out": {"hold_out": "messages"},
    "source.gettext.bad_rows": {"path": ["a.po", "bad.po"], "bad_rows": 0.5},
    "source.table.path": {"path": "b.tsv"},
    "source.table.text": {"text": 1},
    "source.table.bad_rows": {"path": "bad.tsv", "bad_rows": 0.5},
    "source.text.document": {"document": "line"},
    "source.text.bad_rows": {"path": ["a.tsv", "bad.po"], "bad_rows": 0.5},
    "source.mixture.sources": {"sources": {"a": {"type": "reversal", "count": 9}, "b": {"type": "reversal"}}},
    "source.mixture.weights": {"weights": {"a": 1, "b": 5}},
    "source.mixture.epochs": {"epochs": {"a": 1, "b": 2}},
    "source.mixture.temperature": {"temperature": 3.0},
    "source.mixture.amount": {"amount": 0.5},
    "source.mixture.seed": {"seed": 1},
    "source.pairs.path": {"path": "b.tsv"},
    "source.pairs.source": {"source": 1},
    "source.pairs.target": {"target": 0},
    "source.pairs.bad_rows": {"path": "bad.tsv", "bad_rows": 0.5},
    "source.labelled.path": {"path": "b.tsv"},
    "source.labelled.text": {"text": 1},
    "source.labelled.label": {"label": 0},
    "source.labelled.labels": {"labels": ["y", "x", "w"]},
    "source.labelled.bad_rows": {"path": "bad.tsv", "bad_rows": 0.5},
    "source.multi_labelled.path": {"path": "b.tsv"},
    "source.multi_labelled.text": {"text": 1},
    "source.multi_labelled.label": {"label": 0},
    "source.multi_labelled.separator": {"separator": ";"},
    "source.multi_labelled.labels": {"labels": ["w", "v", "x", "y"]},
    "source.multi_labelled.bad_rows": {"path": "bad.tsv", "bad_rows": 0.5},
    "source.tagged.path": {"path": "b.tsv"},
    "source.tagged.word": {"word": 1},
    "source.tagged.label": {"label": 0},
    "source.tagged.labels": {"labels": ["y", "x", "w"]},
    "source.tagged.bad_rows": {"path": "bad.conll", "bad_rows": 0.5},
    "source.scored.path": {"path": "numbers.csv"},
    "source.scored.text": {"text": 1},
    "source.scored.score": {"score": 2},
    "source.scored.bad_rows": {"path": "bad.tsv", "bad_rows": 0.5},
    "source.image_folder.path": {"path": "others"},
    "source.image_folder.channels": {"channels": 1},
    "source.image_folder.mean": {"mean": 0.5},
    "source.image_folder.std": {"std": 0.5},
    "source.image_prompts.path": {"path": "others"},
    "source.image_prompts.channels": {"channels": 1},
    "source.image_prompts.mean": {"mean": 0.5},
    "source.image_prompts.std": {"std": 0.5},
    "source.image_prompts.templates": {"templates": ["the {}", "{}"]},
    "source.image_prompts.names": {"names": ["a class"]},
    "source.image_captions.path": {"path": "others"},
    "source.image_captions.channels": {"channels": 1},
    "source.image_captions.mean": {"mean": 0.5},
    "source.image_captions.std": {"std": 0.5},
    "source.image_captions.captions": {"captions": "a.tsv"},
    "source.image_captions.image": {"image": 1},
    "source.image_captions.text": {"text": 2},
}
#: What a source is without its change, where it is not `a.tsv` alone.
PLAIN: dict[str, dict[str, Any]] = {
    "reversal": {},
    "image_folder": {"path": "images"},
    "image_prompts": {"path": "images"},
    "image_captions": {"path": "images"},
    **{f"image_captions.{key}": {"path": "images", "captions": "texts.tsv"} for key in ("image", "text")},
    "gettext": {"path": ["a.po", "c.po"]},
    "gettext.bad_rows": {"path": ["a.po", "bad.po"]},
    "mixture": {
        "sources": {"a": {"type": "reversal", "count": 30}, "b": {"type": "reversal", "count": 60}},
        "weights": {"a": 1, "b": 3},
    },
    "mixture.epochs": {"sources": {name: {"type": "reversal", "count": 9, "seed": ord(name)} for name in "ab"}},
    "table": {"path": "a.tsv", "text": 0},
    "table.bad_rows": {"path": "bad.tsv", "text": 0},
    "text.bad_rows": {"path": ["a.tsv", "bad.po"]},
    "pairs.bad_rows": {"path": "bad.tsv"},
    "labelled.bad_rows": {"path": "bad.tsv"},
    "multi_labelled": {"path": "several.tsv"},
    "multi_labelled.bad_rows": {"path": "bad.tsv"},
    "tagged.bad_rows": {"path": "bad.conll"},
    "scored": {"path": "numbers.tsv"},
    "scored.bad_rows": {"path": "bad.tsv"},
}
#: A change to each key of a stage, which changes what is left of TEXTS; and what else is said, before and after.
STAGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "stage.unicode.form": ({"form": "NFD"}, {}),
    "stage.unicode.spaces": ({"spaces": "squeeze"}, {}),
    "stage.length.least": ({"least": 30}, {"least": 2}),
    "stage.length.most": ({"most": 30}, {"least": 2}),
    "stage.length.unit": ({"unit": "words"}, {"least": 12}),
    "stage.symbols.most": ({"most": 0.05}, {}),
    "stage.symbols.worded": ({"worded": 0.99}, {}),
    "stage.repetition.lines": ({"lines": 0.9}, {"most": 1.0}),
    "stage.repetition.most": ({"most": 0.01}, {"lines": 1.0}),
    "stage.repetition.words": ({"words": 4}, {"lines": 1.0}),
    "stage.exact_duplicates.ignore": ({"ignore": "case_and_space"}, {}),
    "stage.exact_duplicates.compare": ({"compare": "input"}, {}),
    "stage.near_duplicates.similarity": ({"similarity": 0.2}, {}),
    "stage.near_duplicates.words": ({"words": 1}, {}),
    "stage.near_duplicates.hashes": ({"hashes": 16}, {"similarity": 0.4}),
    "stage.near_duplicates.keep": ({"keep": "all"}, {}),
    "stage.near_duplicates.seed": ({"seed": 3}, {"similarity": 0.4}),
    "stage.chunk.length": ({"length": 10}, {"length": 20}),
    "stage.chunk.overlap": ({"overlap": 10}, {"length": 20}),
    "stage.word_dropout.share": ({"share": 0.5}, {}),
    "stage.word_dropout.copies": ({"copies": 3}, {}),
    "stage.synonyms.path": ({"path": "b.tsv"}, {"path": "a.tsv", "share": 0.9}),
    "stage.synonyms.share": ({"share": 0.1}, {"path": "a.tsv", "share": 0.9}),
    "stage.synonyms.copies": ({"copies": 5}, {"path": "a.tsv", "share": 0.5}),
}
TEXTS = (
    "one two  three four five six seven eight nine café",
    "ONE two three four five six seven eight nine café",
    "one two three four five six seven eight nine else",
    "12 % of 3 # words",
    *("the same\nthe same\nthe same\nother", "a b a b a b c d e f", "one, one, two"),
    *(" ".join(f"w{n}" for n in range(40) if n % skip) for skip in range(5, 35)),
)
#: Keys whose effect another test shows, and where it stands: below in this file, or in another.
HERE = "training/test_knobs.py"
ELSEWHERE = {
    **dict.fromkeys(("start.from", "start.parts", "start.strict", "data.source", "source.text.path"), HERE),
    "tokenizer.file.path": "registry/tokenizer/test_file.py",
    **{
        f"objective.distillation.{key}": "training/test_distillation.py"
        for key in ("teacher", "hard", "temperature", "alpha", "cache", "cache.top", "cache.numbers")
    },
    "objective.image_text.loss": "registry/objective/test_image_text.py",
    # What they change is memory and time alone.
    **dict.fromkeys(("recompute", "recompute.part", "recompute.every"), "training/test_recompute.py"),
    "compile": "training/test_compile.py",
    # Not every machine can.
    "precision.float32_matmul_precision": "training/test_precision.py",
    "precision.float8": "training/test_float8.py",
    # What Lightning is told; what it does with that is in training/strategies.
    **{
        f"strategy.model_parallel.{name}_parallel_size": "schema/test_strategy.py"
        for name in ("data", "tensor", "expert")
    },
    "strategy.deepspeed.stage": "schema/test_strategy.py",
    **{
        f"text_score.{name}.{key}": "registry/text_score/test_text_score.py"
        for name in ("bleu", "chrf")
        for key in fields(member("text_score", name))
    },
    # What is learned by them, a test of every field; where it is kept: test_tokenizer.py here.
    **{
        f"tokenizer.{name}.{key}": "registry/tokenizer/test_trained.py"
        for name in shipped("tokenizer")
        if member("tokenizer", name).learned
        for key in fields(member("tokenizer", name))
    },
}
#: Sections that must be there, and slots: they are what their keys and members are.
HOLDERS = {"model", "tokenizer", "objective", "optimizer", "schedule", "data", "trainer", "precision", "start"}
HOLDERS |= {"checkpoint"}
#: What is for the machine alone: a run leaves nothing behind but what Lightning was told.
MACHINE = {f"trainer.{key}" for key in ("accelerator", "devices", "num_nodes", "strategy")}
MACHINE |= {"trainer.deterministic", "trainer.detect_anomaly"}
BASE = ("trainer.max_steps=6", "checkpoint.every_n_steps=2")


def walk(cls: type[Section], path: str, met: dict[str, set[str]]) -> Iterator[str]:
    """Every key of a section, of the sections in it, in its lists and in its maps; `met` takes the kinds of its slots,
    each with the keys of its members."""
    for key, shape in fields(cls).items():
        yield f"{path}{key}"
        inner = shape.item if shape.form in ("list", "map") else shape
        assert inner is not None
        if inner.form == "section":
            assert inner.cls is not None
            yield from walk(inner.cls, f"{path}{key}.", met)
        elif inner.form == "slot" and (cls, key) != (Spec, "model") and inner.kind not in met:
            met[inner.kind] = set()
            for name in shipped(inner.kind):
                met[inner.kind] |= set(walk(member(inner.kind, name), f"{inner.kind}.{name}.", met))


def test_every_key_has_a_trial_or_a_reason() -> None:
    met: dict[str, set[str]] = {}
    found = set(walk(Spec, "", met)).union(*met.values())
    assert {*RUNS, *REASONS, *SOURCES, *STAGES, *ELSEWHERE, *HOLDERS} == found
    # No kind escapes both this walk and that of models.
    assert {*met, *(kind for kind, _ in PARTS)} == {kind for kind in kinds() if shipped(kind)}
    assert {"source", "stage", "tokenizer", "strategy", "text_score"} < set(met)


def test_what_is_shown_elsewhere_is_shown_there() -> None:
    for key, path in ELSEWHERE.items():
        text = (ROOT / "tests" / path).read_text()
        assert key.rpartition(".")[2] in text or "fields(" in text, f"{path} says nothing of {key}"


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
            {k: v for k, v in row.items() if k not in ("tokens_per_second", "data_wait")}
            for row in metrics.read(folder / "metrics.csv")
        ],
        "checkpoints": sorted(path.name for path in (folder / "checkpoints").iterdir()),
        "samples": samples.read_text() if samples.exists() else "",
        "writing": run.summary["writing"],
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
    before, after = known[beside], left(make_spec(*said, change), tmp_path / "after", told)
    shows = {name for name in before if before[name] != after[name]}
    # That something was passed on to Lightning is no effect.
    assert shows >= {"told"} if key in MACHINE else shows - {"told"}, f"{key} is dead"


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
    (tmp_path / "bad.conll").write_text("one\tx\n\nalone\n")
    (tmp_path / "several.tsv").write_text("one\tx,y\ntwo\tv,w\n")
    (tmp_path / "a.po").write_text('msgid "a"\nmsgstr "x"\n\n#, fuzzy\nmsgid "b"\nmsgstr "y"\n')
    (tmp_path / "b.po").write_text('msgid "c"\nmsgstr "z"\n')
    (tmp_path / "c.po").write_text('msgid "d"\nmsgstr "w"\n')
    (tmp_path / "bad.po").write_bytes(b"msgwhat \xff\n")
    for folder, colour in (("images", "red"), ("others", "blue")):
        (tmp_path / folder / "class").mkdir(parents=True)
        Image.new("RGB", (2, 2), colour).save(tmp_path / folder / "class" / "0.png")
        (tmp_path / folder / "class" / "0.txt").write_text("its text")
    (tmp_path / "texts.tsv").write_text("class/0.png\tsaid\telse\n")
    _, name, field = key.split(".")
    plain = PLAIN.get(f"{name}.{field}") or PLAIN.get(name, {"path": "a.tsv"})

    def read(said: dict[str, Any]) -> Any:
        source = member("source", name)(**said)
        try:
            documents = list(source.documents())
            found = [(*each, source.group(each[0])) for each in documents], source.classes(read=True)
        except ValueError as error:
            return str(error)
        return found, source.prompts(), source.scale() if hasattr(source, "scale") else None

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read({**plain, **SOURCES[key]}) != read(plain)


@pytest.mark.parametrize("key", STAGES)
def test_every_key_of_a_stage_changes_what_is_left(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tsv").write_text("one\tuno\ntwo\tdue\n")
    (tmp_path / "b.tsv").write_text("one\tein\n")
    change, plain = STAGES[key]

    def left(said: dict[str, Any]) -> list[Any]:
        stage = member("stage", key.split(".")[1])(**said)
        # The first comes once more, with something else to be said of it.
        documents = [Document(str(number), (text,)) for number, text in enumerate(TEXTS)]
        documents.append(Document("again", TEXTS[:1], label="another"))
        if "compares" in stage.traits:
            return list(map(str, stage.over(documents, map(stage.sketch, documents))))
        found = []
        for each in documents:
            try:
                found.append(list(stage.each(each, each.name)))
            except Dropped as why:
                found.append(str(why))
        return found

    assert left(plain) == left(plain) != left({**plain, **change})


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


@pytest.mark.parametrize(
    ("said", "path", "words"),
    [
        ("trainer.gradient_clip_algorithm=value", "trainer.gradient_clip_algorithm", "without `gradient_clip_val`"),
        ("schedule.warmup_steps=9", "schedule.warmup_steps", "9 warm-up steps do not fit into 8"),
        ("schedule=wsd schedule.warmup_steps=6 schedule.decay=0.5", "schedule.decay", "begins within the warm-up"),
        ("freeze=[layers,layers.0]", "freeze.1", "frozen already, by `layers`"),
        ("freeze=[embedding,embedding]", "freeze.1", "frozen already, by `embedding`"),
        ("ema.begin=8", "ema", "nothing is averaged within 8"),
        ("ema.decay=0", "ema.decay", "greater than 0"),
        ("precision={}", "precision", "says nothing"),
        ("precision.float32=[head]", "precision.float32", "changes nothing under `32-true`"),
        ("precision.init_scale=4", "precision.init_scale", "float16 alone"),
        ("data.bucket=2", "data.bucket", "all of one width"),
        (f"{PAIRED} data.bucket=2 data.shuffle=false", "data.bucket", "samples stay as they lie"),
        (f"{PAIRED} data.packing=single", "data.packing", "not running text"),
        ("data.packing=single data.positions=restart", "data.positions", "a sample is one document"),
        ("data.target_length=4", "data.target_length", "gives no pairs"),
        ("data.stages=[length]", "data.stages.0", "without either, nothing is left out"),
        (f"{PAIRED} writing.length_penalty=2", "writing.length_penalty", "without beams"),
        ("writing={}", "writing", "writes nothing"),
        (f"{MASKED} sample={{}}", "sample", "does not write text"),
        ("optimizer=sgd optimizer.momentum=0 optimizer.nesterov=true", "optimizer.nesterov", "without `momentum`"),
        ("compile=true recompute={}", "compile", "part by part"),
        (f"{CLASSED} model.head.labels=1", "model.head.labels", "the only class"),
        (f"{ENCODER} {VECTORS} data.batch_size=1", "data.batch_size", "one in each"),
        (f"{NOISE} objective.infill=0 objective.mean_length=5", "objective.mean_length", "leaves none"),
    ],
)
def test_what_would_do_nothing_is_refused_where_it_is_said(
    said: str, path: str, words: str, make_spec: MakeSpec
) -> None:
    with pytest.raises(bp.SpecError) as caught:
        make_spec(*said.split())
    assert any(".".join(each.path).startswith(path) for each in caught.value.problems)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("schedule.warmup_steps=9", "9 warm-up steps do not fit into 4 training steps"),
        ("ema.begin=9", "nothing is averaged within 4 training steps"),
        ("freeze=[nothing]", "no weight's name begins with `nothing`"),
        ('freeze=[head] optimizer.groups=[{"parts":["head"],"lr":0.1}]', "nothing is left for this group"),
        ('optimizer.groups=[{"parts":["norm"],"weight_decay":0.1}]', "vectors alone"),
    ],
)
def test_what_only_the_data_or_the_model_tells_to_do_nothing_is_refused_before_training(
    said: str, words: str, make_spec: MakeSpec, tmp_path: Path
) -> None:
    spec = make_spec("trainer.max_steps=null", "trainer.max_epochs=1", *said.split())
    with pytest.raises(bp.SpecError, match=words):
        bp.fit(spec, tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "data.batch_size=1000",
            "`batch_size: 1000` is more than there are samples, .*: a batch has some of them again",
        ),
        ("data.batch_size=1000 data.shuffle=false", "a batch has all of them, and no more"),
        ("trainer.accumulate_grad_batches=50", "`accumulate_grad_batches: 50` is more than there are"),
    ],
)
def test_what_the_data_cannot_fill_is_told(said: str, words: str, make_spec: MakeSpec) -> None:
    assert not list(prepare(make_spec(), progress=False).notes())
    (note,) = prepare(make_spec(*said.split()), progress=False).notes()
    assert re.search(words, note)
