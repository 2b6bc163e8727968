"""The recipe of a small BERT and its classifier, in a smaller form on what any machine has: which package of the
standard library some lines of Python are from."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import blueprint as bp
from blueprint.registry import member
from tests.conftest import ROOT
from tests.recipes.compare_bert import HEAD, VARIANTS, lead, line, train

SMALL = ["model.d_model=64", "model.layers=2", "model.block.feed_forward.d_ff=160", "tokenizer.vocab_size=2048"]
SMALL += ["trainer.val_check_interval=null"]
#: Packages of so many pieces at least are told apart, of which so many are labelled.
MOST, LABELLED = 60, 20
LINES = 25


def pieces() -> Iterator[tuple[str, str, str]]:
    """(file, package, text) of some lines of every module of a package each."""
    for name, text in member("source", "stdlib").of("stdlib").documents():
        package, _, inside = name.partition("/")
        if inside and package != "encodings":
            lines = text.splitlines()
            for at in range(0, len(lines) - LINES, LINES):
                yield name, package, "\n".join(lines[at : at + LINES])


def lot(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")


def write(folder: Path) -> int:
    """train.jsonl, labelled.jsonl and held_out.jsonl, no file of the library on both sides; the number of labels."""
    every = list(pieces())
    counts = Counter(package for _, package, _ in every)
    train_side = [each for each in every if lot(each[0]) % 4]
    learned = Counter(package for _, package, _ in train_side)
    known = {package for package, count in counts.items() if count >= MOST and learned[package] >= LABELLED}
    held_out = [each for each in every if lot(each[0]) % 4 == 0 and each[1] in known]
    labels = {package for _, package, _ in held_out}
    labelled = []
    for label in sorted(labels):
        of_label = sorted((each for each in train_side if each[1] == label), key=lambda each: lot(each[2]))
        labelled += of_label[:LABELLED]
    for name, found in (("train", train_side), ("labelled", labelled), ("held_out", held_out)):
        rows = [json.dumps({"section": package, "text": text}) for _, package, text in found]
        (folder / f"{name}.jsonl").write_text("".join(f"{row}\n" for row in rows))
    return len(labels)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_weights_that_told_hidden_tokens_tell_labels_better(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = write(tmp_path)
    source = f"data.source.path={tmp_path / 'train.jsonl'}"
    first = bp.load(ROOT / "specs" / "recipes" / "bert.yaml", [*SMALL, source, "trainer.max_steps=1000"])
    run = bp.fit(first, tmp_path / "run", progress=False)
    said = [*SMALL, f"model.head.labels={labels}", "trainer.max_steps=150"]
    found = [train(variant, seed, tmp_path / "run", tmp_path, said) for seed in (1, 2, 3) for variant in VARIANTS]
    leads = lead(found)
    with capsys.disabled():
        loss, baseline = run.summary["validation_loss"], run.summary["unigram_loss"]
        print(f"\nhidden tokens: {loss:.2f} nats, unigram {baseline:.2f}", HEAD, *map(line, found), sep="\n")
        print(f"tuned above scratch: {', '.join(f'{by:+.1%}' for by in leads)}")
    assert loss < baseline - 1
    assert statistics.mean(leads) > 0
