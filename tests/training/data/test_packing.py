"""Every label is the token that follows, or ignored for a reason; every token of the text is predicted once."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blueprint.training.data import DataError
from blueprint.training.data.packing import IGNORE, PACKINGS, Continuous, Single

LENGTHS = st.integers(1, 90)
SHARED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def owners(split) -> np.ndarray:
    """The document of every token, by counting."""
    return np.repeat(np.arange(split.documents), np.diff(split.starts))


@SHARED
@given(LENGTHS)
def test_windows_predict_every_token_after_the_first_once(tokens, length: int) -> None:
    split, packing = tokens.train, Continuous(length)
    samples = [packing.sample(split, i) for i in range(packing.count(split))]
    predicted = np.concatenate([sample["labels"] for sample in samples])
    assert predicted.tolist() == split.ids[1 : len(predicted) + 1].tolist()
    assert split.tokens - 1 - len(predicted) < length
    for sample in samples:
        assert sample["input_ids"][1:].tolist() == sample["labels"][:-1].tolist()
        assert {array.shape for array in sample.values()} == {(length,)}
        assert set(sample) == {"input_ids", "labels", "segment_ids"}


@SHARED
@given(LENGTHS, st.sampled_from([256, None]))
def test_separate_documents_share_no_label_and_lose_no_other(make, documents, byte_tokenizer, length, eos_id) -> None:
    split = make(documents, byte_tokenizer(eos_id)).train
    owner, separate, joined = owners(split), Continuous(length, documents="separate"), Continuous(length)
    for i in range(separate.count(split)):
        start, stop = separate.span(split, i)
        labels = separate.sample(split, i)["labels"]
        crosses = owner[start : stop - 1] != owner[start + 1 : stop]
        assert (labels == IGNORE).tolist() == crosses.tolist()
        assert labels[~crosses].tolist() == joined.sample(split, i)["labels"][~crosses].tolist()


@SHARED
@given(LENGTHS)
def test_segments_number_the_documents_of_a_window_and_positions_count_inside_them(tokens, length: int) -> None:
    split, packing = tokens.train, Continuous(length, positions="restart")
    owner = owners(split)
    for i in range(packing.count(split)):
        start, stop = packing.span(split, i)
        sample = packing.sample(split, i)
        assert sample["segment_ids"].tolist() == (owner[start : stop - 1] - owner[start]).tolist()
        for segment in set(sample["segment_ids"].tolist()):
            inside = sample["position_ids"][sample["segment_ids"] == segment]
            assert inside.tolist() == list(range(len(inside)))


@SHARED
@given(LENGTHS)
def test_a_single_document_is_cut_or_padded_and_padding_counts_for_nothing(tokens, length: int) -> None:
    split, packing = tokens.train, Single(length)
    assert packing.count(split) == split.documents
    for i in range(split.documents):
        ids, sample = split.document(i).tolist(), packing.sample(split, i)
        kept = min(len(ids) - 1, length)
        assert sample["input_ids"].tolist() == ids[:kept] + [256] * (length - kept)
        assert sample["labels"].tolist() == ids[1 : kept + 1] + [IGNORE] * (length - kept)
        assert sample["attention_mask"].tolist() == [True] * kept + [False] * (length - kept)
        assert sample["segment_ids"].tolist() == [0] * length


def test_documents_with_nothing_to_predict_are_passed_over(make, byte_tokenizer) -> None:
    split = make([("a", "a"), ("bc", "bc"), ("d", "d"), ("efg", "efg")], byte_tokenizer(None), validation=1e-9).train
    packing = Single(4)
    names = [split.where(*packing.span(split, i))[0].name for i in range(packing.count(split))]
    assert names == [name for i in range(split.documents) if len(name := split.document_name(i)) > 1]
    assert all((packing.sample(split, i)["labels"] != IGNORE).any() for i in range(packing.count(split)))


@pytest.mark.parametrize(("eos_id", "said", "used"), [(256, None, 256), (None, None, 0), (256, 7, 7), (None, 7, 7)])
def test_the_padding_is_the_one_said_or_the_end_token_or_zero(make, documents, byte_tokenizer, eos_id, said, used):
    split = make(documents, byte_tokenizer(eos_id)).train
    assert Single(500, pad_id=said).sample(split, 0)["input_ids"][-1] == used


def test_a_span_covers_the_inputs_and_the_last_label(tokens) -> None:
    for name, packing in {name: make(11) for name, make in PACKINGS.items()}.items():
        split = tokens.validation
        for i in range(packing.count(split)):
            start, stop = packing.span(split, i)
            sample = packing.sample(split, i)
            kept = sample["labels"] != IGNORE
            assert split.ids[start : stop - 1].tolist() == sample["input_ids"][kept].tolist(), name
            assert split.ids[start + 1 : stop].tolist() == sample["labels"][kept].tolist(), name


def test_too_little_text_for_one_window_names_split_counts_and_ways_out(tokens) -> None:
    split = tokens.validation
    assert Continuous(split.tokens - 1).count(split) == 1
    with pytest.raises(DataError, match=rf"validation split of made-up text holds {split.tokens:,} tokens.*shorten"):
        Continuous(split.tokens).count(split)


def test_documents_of_one_token_give_no_single_sample(make, byte_tokenizer) -> None:
    split = make([("a", "a"), ("b", "b")], byte_tokenizer(None)).train
    with pytest.raises(DataError, match="holds no document of two tokens or more"):
        Single(8).count(split)


@pytest.mark.parametrize("packing", PACKINGS.values(), ids=PACKINGS)
def test_a_length_of_nothing_is_refused(packing) -> None:
    with pytest.raises(DataError, match="at least 1 token, not 0"):
        packing(0)
