"""A tokenizer that learns does so from the training split alone, once, and stays with what was trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import blueprint as bp
from blueprint.build_folder import build_folder
from blueprint.inference.sampling import Sampling
from blueprint.inference.text import TextGenerator
from blueprint.training.data.encoder import Whole
from blueprint.training.data.error import DataError
from blueprint.training.data.learn import learn
from blueprint.training.evaluate import evaluate
from blueprint.training.task import prepare

from .conftest import PAIRS, MakeSpec

BPE = ("tokenizer.type=bpe", "tokenizer.vocab_size=60")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BLUEPRINT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Heard:
    """A tokenizer that remembers what it was trained on."""

    vocab_size, eos_id, fingerprint = 1, None, "heard"

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode(self, text: str) -> Any:
        raise AssertionError("nothing is to be encoded")

    def train(self, texts: Any) -> str:
        self.texts = list(texts)
        return json.dumps(self.texts)


def held_out(text: Any) -> set[str]:
    validation = text.tokens.validation
    return {validation.document_name(n) for n in range(validation.documents)}


def test_of_much_text_as_much_as_is_enough_is_learned_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [(f"d{number}", f"{number} " + "word " * 40 + "\n" + "more " * 40) for number in range(200)]
    whole = sum(len(text) for _, text in documents)

    def learned(most: int, **more: Any) -> tuple[Path, list[str]]:
        monkeypatch.setattr("blueprint.training.data.learn._MOST", most)
        heard, options = Heard(), {"source": "text", "validation": 0.1, "seed": 1, "cache": tmp_path / "cache"} | more
        path = learn(documents, Whole(heard), heard.train, what="heard", **options)  # type: ignore[arg-type]
        return path, json.loads(path.read_text())

    every, all_of_them = learned(whole)
    part, drawn = learned(whole // 4)
    assert 20 < len(drawn) < 80 < len(all_of_them)
    assert set(drawn) < set(all_of_them)
    assert part != every == learned(2 * whole)[0]
    assert learned(whole // 4, seed=2)[1] != drawn
    monkeypatch.setattr("blueprint.training.data.learn._LONGEST", 300)
    _, cut = learned(whole, cache=tmp_path / "other")
    assert (len(cut), "".join(cut)) == (2 * len(all_of_them), "".join(all_of_them))


def test_what_is_held_out_is_never_learned_from(make_spec: MakeSpec) -> None:
    spec = make_spec()
    text, heard = prepare(spec, progress=False), Heard()
    assert spec.data is not None
    documents: list[tuple[str, str]] = list(spec.data.source.documents())
    split = {"source": "text", "validation": spec.data.validation, "seed": spec.seed, "progress": False}
    learn(documents, Whole(heard), heard.train, what="it", **split)
    assert held_out(text)
    assert sorted(heard.texts) == sorted(said for name, said in documents if name not in held_out(text))


def test_a_word_that_only_a_held_out_document_has_is_unknown(make_spec: MakeSpec) -> None:
    """Each document ends with its own number."""
    text = prepare(make_spec("tokenizer.type=words", "tokenizer.vocab_size=100"), progress=False)
    learned: Any = text.tokenizer
    out = {str(int(Path(name).stem)) for name in held_out(text)}
    assert {token for token in learned.content.ids if token.isdigit()} == {str(n) for n in range(12)} - out
    assert out


def test_the_same_documents_and_settings_are_learned_from_once(make_spec: MakeSpec, cache: Path) -> None:
    def learned(*said: str) -> str:
        path: str = prepare(make_spec(*BPE, *said), progress=False).spec.tokenizer.path  # type: ignore[union-attr]
        return path

    first = learned()
    stamp = Path(first).stat().st_mtime_ns
    assert learned() == first
    assert Path(first).stat().st_mtime_ns == stamp
    other = {learned("tokenizer.vocab_size=50"), learned("seed=3"), learned("data.validation=0.5"), first}
    assert len(other) == 4
    text = Path(first).read_text()
    shutil.rmtree(cache)
    assert Path(learned()).read_text() == text


def written(where: Path) -> str:
    model: Any = bp.restore(where)
    return TextGenerator(model, model.spec.tokenizer).complete("the", max_new_tokens=8, sampling=Sampling(0)).text


def test_a_run_carries_what_was_learned(make_spec: MakeSpec, text: Path, tmp_path: Path, cache: Path) -> None:
    books = tmp_path / "books"
    shutil.copytree(text, books)
    run = tmp_path / "run"
    spec = make_spec(*BPE, f"data.source.path={books}", "data.batch_size=2", "trainer.max_steps=3", "sample={}")
    assert bp.fit(spec, run, progress=False).summary["vocabulary"] == {"size": 60, "known": 60}
    said, weights = written(run), bp.restore(run).state_dict()
    assert json.loads((run / "tokenizer.json").read_text())["model"]["type"] == "BPE"
    assert "tokenizer.json" in (run / "spec.yaml").read_text()
    assert json.loads((run / "lock.json").read_text())["data"]["tokenizer"].startswith("bpe-")
    shutil.rmtree(cache)
    assert bp.resume(run, ["trainer.max_steps=5"], progress=False).step == 5
    assert not (cache / "tokenizers").exists()  # a run that goes on learns nothing again
    moved = tmp_path / "moved"
    run.rename(moved)
    assert evaluate(moved)["tokens"] > 0
    # Without the documents, and with a checkpoint alone.
    shutil.rmtree(books)
    shutil.rmtree(cache)
    alone = tmp_path / "step=000003.ckpt"
    shutil.copy(moved / "checkpoints" / alone.name, alone)
    shutil.rmtree(moved)
    assert written(alone) == said
    assert all(torch.equal(value, weights[name]) for name, value in bp.restore(alone).state_dict().items())


def test_another_training_may_begin_with_what_was_learned(make_spec: MakeSpec, tmp_path: Path) -> None:
    run = tmp_path / "run"
    bp.fit(make_spec(*BPE, "trainer.max_steps=2"), run, progress=False)
    again = make_spec(*BPE, f"tokenizer.path={run / 'tokenizer.json'}", f"start.from={run}", "trainer.max_steps=2")
    assert bp.fit(again, tmp_path / "more", progress=False).status == "finished"
    assert (tmp_path / "more" / "tokenizer.json").read_bytes() == (run / "tokenizer.json").read_bytes()


def test_lightnings_own_trainer_keeps_it_too(make_spec: MakeSpec, tmp_path: Path) -> None:
    import lightning.pytorch as pl

    from blueprint.training.data_module import BlueprintData

    spec = make_spec(*BPE)
    trainer = pl.Trainer(
        max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(bp.compile(spec), datamodule=BlueprintData(spec, progress=False))
    trainer.save_checkpoint(tmp_path / "mine.ckpt")
    model: Any = bp.restore(tmp_path / "mine.ckpt")
    assert model.spec.tokenizer.decode(model.spec.tokenizer.encode("the model")) == "the model"


def test_a_build_is_made_before_anything_is_learned(make_spec: MakeSpec, tmp_path: Path) -> None:
    built = build_folder(make_spec(*BPE), tmp_path / "build")
    assert "tokenizer.json" not in built.files
    assert json.loads((tmp_path / "build" / "lock.json").read_text())["data"]["tokenizer"].startswith("bpe-to-train-")
    assert bp.load(tmp_path / "build" / "spec.yaml").vocab_size == 60


def test_fewer_tokens_than_asked_for_are_told(
    make_spec: MakeSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_spec("tokenizer.type=words", "tokenizer.vocab_size=100", "trainer.max_steps=2")
    run = bp.fit(spec, tmp_path / "run", progress=True)
    known = run.summary["vocabulary"]["known"]
    assert known < 100 == run.summary["vocabulary"]["size"]
    assert f"found {known} tokens to learn" in capsys.readouterr().err
    model: Any = bp.restore(tmp_path / "run")
    assert model.plan.site.vocab_size == 100


def test_too_small_a_vocabulary_is_told_with_both_numbers(make_spec: MakeSpec) -> None:
    with pytest.raises(DataError, match=r"tokenizer `bpe`.* need \d+ tokens .* `vocab_size` says 9"):
        prepare(make_spec("tokenizer.type=bpe", "tokenizer.vocab_size=9"), progress=False)


def test_a_model_of_another_vocabulary_is_refused_naming_both(make_spec: MakeSpec) -> None:
    with pytest.raises(bp.SpecError) as refused:
        make_spec(*BPE, "model.vocab_size=50")
    (problem,) = refused.value.problems
    assert "knows 50 tokens, as `model.vocab_size` says" in problem.message
    assert "writes 60, as `tokenizer.vocab_size` says" in problem.message


def test_both_sides_of_pairs_are_learned_from(make_spec: MakeSpec) -> None:
    found = prepare(make_spec(*PAIRS, "tokenizer.type=bpe", "tokenizer.vocab_size=80"), progress=False)
    assert found.tokenizer is not None
    assert found.train[0]["labels"].shape == (8,)
    with pytest.raises(bp.SpecError, match="does nothing with source"):
        make_spec(*PAIRS, *BPE, "tokenizer.template='$A </s>'")


def test_documents_that_fail_while_they_are_learned_from_are_told_as_the_sources(make_spec: MakeSpec) -> None:
    class Ill:
        def __init__(self) -> None:
            self.reads = 0

        def __iter__(self) -> Iterator[tuple[str, str]]:
            self.reads += 1
            yield "a", "one"
            yield "b", "two"
            if self.reads > 1:
                raise DataError("the disk is gone")

    tokenizer: Any = make_spec(*BPE).tokenizer
    with pytest.raises(DataError, match="disk is gone"):
        learn(
            Ill(), Whole(tokenizer), tokenizer.train, what="it", source="text", validation=0.5, seed=0, progress=False
        )


def test_whole_words_are_hidden_with_a_tokenizer_that_learns(make_spec: MakeSpec) -> None:
    encoder = "model.type=encoder model.d_model=32 model.layers=1 model.max_length=32 model.block.attention.heads=2"
    said = (*encoder.split(), "objective.type=masked", "objective.whole_word=true", "tokenizer.type=wordpiece")
    framed = ("tokenizer.vocab_size=60", "tokenizer.template='[CLS] $A [SEP]'", "data.packing=single")
    spec = make_spec(*said, *framed)
    text = prepare(spec, progress=False)
    made: Any = text.tokenizer
    sample = text.train[0]
    assert made.mask_id in sample["input_ids"]
    kept = sample["input_ids"][sample["attention_mask"]].tolist()
    assert kept[0] == made.special("cls")
    assert kept.count(made.eos_id) <= 1


def test_an_export_is_opened_by_the_transformers_library(make_spec: MakeSpec, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from blueprint.interop.export import export_folder

    said = ("tokenizer.type=byte_bpe", "tokenizer.vocab_size=300", "tokenizer.pad=<pad>", "trainer.max_steps=2")
    bp.fit(make_spec(*said, "model.block.dropout=0"), tmp_path / "run", progress=False)
    done = export_folder(tmp_path / "run", tmp_path / "hf")
    assert {"tokenizer.json", "tokenizer_config.json"} <= set(done.files)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "hf")
    model: Any = bp.restore(tmp_path / "run")
    ours = model.spec.tokenizer
    text = "the model, naïve 你好\n  twice"
    assert theirs(text)["input_ids"] == ours.encode(text).tolist()
    assert theirs.decode(theirs(text)["input_ids"]) == text
    assert (theirs.eos_token_id, theirs.pad_token_id) == (ours.eos_id, ours.pad_id)


def test_a_build_that_has_learned_nothing_exports_no_tokenizer(make_spec: MakeSpec, tmp_path: Path) -> None:
    from blueprint.interop.export import export_folder

    build_folder(make_spec(*BPE, "model.block.dropout=0"), tmp_path / "build", weights=True)
    assert not [name for name in export_folder(tmp_path / "build", tmp_path / "hf").files if "tokenizer" in name]
