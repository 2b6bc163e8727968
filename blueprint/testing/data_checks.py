"""The promises of what makes samples of data, stages and tokenizers, and of what scores texts."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from blueprint.testing.tiny import Case


def documents_become_the_same_again(case: Case) -> None:
    """A stage makes the same of the same documents, in another process too."""
    import pickle

    from blueprint.kinds import Document, Dropped

    stage: Any = case.cls(**case.settings)
    # Bytes made here and nowhere else: it is how a stage reaches the processes it runs in.
    try:
        assert stage.fingerprint() == pickle.loads(pickle.dumps(stage)).fingerprint(), "it is another once pickled"
    except ValueError:
        return  # a file that an example speaks of is not there
    texts = ("a word, and another word " * 300, "a word", "A  word", "a word")
    documents = [Document(str(number), (text,)) for number, text in enumerate(texts)]

    def made(stage: Any) -> list[Any]:
        if "compares" in stage.traits:
            sketches = [stage.sketch(document) for document in documents]
            assert {len(sketch) for sketch in sketches} == {stage.sketch_size}, "sketches are not of `sketch_size`"
            found = list(stage.over(documents, sketches))
            assert len(found) == len(documents), "for every document it says what becomes of it"
            return [str(each) if isinstance(each, Dropped) else each for each in found]
        out: list[Any] = []
        for document in documents:
            try:
                out.append(list(stage.each(document, document.name)))
            except Dropped as why:
                out.append(str(why))
        assert stage.divides or all(isinstance(each, str) or len(each) == 1 for each in out), "`divides` is not said"
        return out

    assert made(stage) == made(pickle.loads(pickle.dumps(stage))), "the same documents become others"


def text_comes_back(case: Case) -> None:
    """What a tokenizer declares to come back of a text comes back."""
    tokenizer: Any = case.spec.tokenizer
    known = ("Plain WORDS,  123 ", "naïve 你好 🙂\n\ttabs", "")
    others = ("other Words — 456\r\n", "ﬁ Å é \x00") if "every_text" in tokenizer.traits else ()
    with _learned(tokenizer, known) as learned:
        made = learned.build(case.spec.model.site())
        assert made.vocab_size == tokenizer.vocab_size, "training changes how many ids there are"
        for text in (*known, *others):
            ids, back = made.encode(text), made.normal(text)
            assert all(0 <= int(i) < made.vocab_size for i in ids), "an id lies outside the vocabulary"
            assert made.decode(ids) == back, f"{text!r} comes back as {made.decode(ids)!r}, not as {back!r}"
            assert made.encode_all([text, text])[1].tolist() == list(ids), "with others it becomes something else"
            assert made.document_all([text, text])[1].tolist() == list(made.document(text)), "so does a document"
            assert made.normal(back) == back, f"{back!r}, which comes back of {text!r}, would itself not"
            for whole in (made.document(text), made.prompt(text)):
                assert all(0 <= int(i) < made.vocab_size for i in whole), "an id lies outside the vocabulary"
                assert made.decode(whole) == back, "what a template adds is text"


def learns_the_same_twice(case: Case) -> None:
    """A tokenizer learns the same of the same texts."""
    tokenizer: Any = case.spec.tokenizer
    if not tokenizer.untrained:
        return
    texts = [f"many words, some of them {word} and {word}s\n" for word in ("new", "old", "néw", "well known") * 5]
    one, two = tokenizer.train(texts), tokenizer.train(texts)
    assert one == two, "training twice on the same texts gives two tokenizers"
    roles = ("eos_id", "bos_id", "pad_id", "mask_id", "fingerprint")
    with _learned(tokenizer, texts) as learned:
        for role in roles[:-1]:
            assert getattr(learned, role, None) == getattr(tokenizer, role, None), f"training changes {role}"
        assert set(tokenizer.special_ids) <= set(learned.special_ids), "training changes the special tokens"
        assert learned.fingerprint != tokenizer.fingerprint, "what was learned does not show in the fingerprint"
        assert not learned.untrained


@contextlib.contextmanager
def _learned(tokenizer: Any, texts: Sequence[str]) -> Iterator[Any]:
    """The tokenizer as it is after training, where it has to be trained."""
    if not tokenizer.untrained:
        yield tokenizer
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        path.write_text(tokenizer.train([*texts] * 4), encoding="utf-8")
        yield tokenizer.of({**tokenizer.to_plain(), tokenizer.learned: str(path)})


def score_knows_better_texts(case: Case) -> None:
    """A score is 100 for the wanted texts alone, 0 for what has nothing of them, and their order does not matter."""
    score: Any = case.cls(**case.settings).build(case.spec.model.site())
    wanted = ["The file could not be opened.", "Do you want to save the changes to the file?", "你好，世界和平。"]
    close = ["The file could not be closed.", "Do you want to lose the changes to the file?", "你好，世界。"]
    assert abs(score(wanted, wanted) - 100) < 1e-3, "the wanted texts themselves are not worth 100"
    assert score(["-"] * 3, wanted) == 0, "texts that share nothing with the wanted ones are worth something"
    assert 0 < score(close, wanted) < 100, "texts that are nearly right are worth as much as others"
    assert abs(score(close, wanted) - score(close[::-1], wanted[::-1])) < 1e-3, "the order of texts matters"
    assert score(["", *wanted[1:]], wanted) < 100, "a text that was not written costs nothing"
    for written, others in (([], []), (wanted, wanted[1:])):
        with contextlib.suppress(ValueError):
            score(written, others)
            raise AssertionError("texts of unequal numbers, or none, are scored")
