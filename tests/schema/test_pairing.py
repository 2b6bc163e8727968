"""An objective, a model and data that do not go together are refused where that is said, with what would do."""

from __future__ import annotations

import pytest

import blueprint as bp

DECODER = "model: {type: decoder, d_model: 16, layers: 1, max_length: 8, block: {attention: {heads: 2}}}\n"
CLASSES = (
    "model: {type: encoder, d_model: 16, layers: 1, max_length: 8, block: {attention: {heads: 2}}, "
    "head: {type: classification, labels: 2}}\n"
)
BOTH = "model: {type: encoder_decoder, d_model: 16, layers: 1, max_length: 8, block: {attention: {heads: 2}}}\n"
BYTE = "tokenizer: byte\n"


def refusal(text: str) -> tuple[str, int]:
    """What is said of the one thing that is wrong, and the line it is at."""
    with pytest.raises(bp.SpecError) as error:
        bp.loads(text)
    (problem,) = error.value.problems
    assert problem.span is not None
    return f"{problem.message} | {problem.fix}", problem.span.line


def test_samples_that_an_objective_does_not_read_are_refused_with_what_fits() -> None:
    said, line = refusal(f"{DECODER}{BYTE}objective: causal\ndata:\n  source: reversal\n")
    assert line == 5
    assert "source `reversal` gives pairs, but objective `causal` reads text" in said
    assert "seq2seq" not in said, "it trains no decoder"
    assert "`stdlib`" in said
    said, line = refusal(f"{CLASSES}{BYTE}objective: classification\ndata:\n  source: stdlib\n")
    assert line == 5
    assert "`labelled`" in said
    assert "`image_folder`" in said
    said, _ = refusal(f"{BOTH}{BYTE}data:\n  source: stdlib\n")
    assert "say objective `denoising` or `prefix` or `span_corruption`" in said
    assert "`pairs` or `reversal`" in said
    assert "causal" not in said, "it trains no encoder-decoder"


def test_what_reads_pairs_takes_them() -> None:
    spec = bp.loads(f"{BOTH}{BYTE}data: {{source: reversal, target_length: 4}}\n")
    assert spec.objective is not None
    assert spec.objective.spec_name == "seq2seq"


@pytest.mark.parametrize(
    ("key", "what"),
    [("packing: single", "packing"), ("positions: restart", "positions")],
)
def test_what_cuts_running_text_is_refused_where_samples_are_given(key: str, what: str) -> None:
    said, line = refusal(f"{BOTH}{BYTE}data:\n  source: reversal\n  {key}\n")
    assert line == 5
    assert f"`{key}` does nothing with source `reversal`" in said
    assert f"remove `{what}`" in said


def test_a_target_without_pairs_and_a_length_of_images_are_refused() -> None:
    said, line = refusal(f"{DECODER}{BYTE}data:\n  source: stdlib\n  target_length: 4\n")
    assert (line, "gives no pairs" in said) == (5, True)
    images = "data:\n  source: {type: image_folder, path: x}\n"
    said, line = refusal(f"{CLASSES}{BYTE}objective: null\n{images}  length: 4\n")
    assert (line, "gives images" in said) == (6, True)


def test_images_are_nothing_to_a_model_of_ids() -> None:
    said, line = refusal(
        f"{CLASSES}objective: classification\ndata:\n  source: {{type: image_folder, path: x}}\n{BYTE}"
    )
    assert (line, "gives images, the model's embedding takes ids" in said) == (4, True)


def test_a_target_is_no_longer_than_the_model() -> None:
    said, line = refusal(f"{BOTH}{BYTE}data:\n  source: reversal\n  target_length: 9\n")
    assert (line, "targets of 9 tokens do not fit" in said) == (5, True)


def test_targets_that_the_model_sees_are_refused() -> None:
    said, line = refusal(DECODER.replace("d_model", "\n  causal: false, d_model") + f"{BYTE}objective: causal\n")
    assert line == 2
    assert "would learn to copy" in said
    assert bp.loads(DECODER.replace("d_model", "causal: false, d_model") + "tokenizer: byte\n").objective is None


def test_more_labels_than_the_head_tells_apart_are_refused() -> None:
    data = "data: {source: {type: labelled, path: a.tsv, labels: [a, b, c]}}\n"
    said, line = refusal(f"{CLASSES}{BYTE}objective: classification\n{data}")
    assert (line, "3 labels, but the model's head tells 2 apart" in said) == (1, True)


def test_a_head_without_classes_is_refused() -> None:
    pooler = CLASSES.replace("{type: classification, labels: 2}", "pooler")
    said, line = refusal(f"{pooler}{BYTE}objective: classification\n")
    assert (line, "needs a head that tells classes apart" in said) == (1, True)


def test_a_start_that_the_tokenizer_has_not_is_refused() -> None:
    said, line = refusal(f"{BOTH}{BYTE}objective:\n  type: seq2seq\n  start: bos\n")
    assert (line, "has no id for the beginning of a text" in said) == (5, True)


def test_what_is_written_for_sources_needs_sources_and_a_model_that_reads_them() -> None:
    said, line = refusal(f"{DECODER}{BYTE}data: {{source: stdlib}}\nwriting: {{}}\n")
    assert line == 4
    assert "a model of type `decoder` writes nothing for a source" in said
    said, _ = refusal(f"{BOTH}{BYTE}objective: prefix\ndata: {{source: stdlib}}\nwriting: {{}}\n")
    assert "source `stdlib` gives no pairs" in said
    said, _ = refusal(f"{BOTH}{BYTE}writing: {{}}\n")
    assert "there is no `data`" in said


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("{scores: []}", "nothing is measured"),
        ("{scores: [bleu, {type: bleu, tokens: 13a}]}", "`bleu` is named twice with the same settings"),
        ("{length_penalty: 0.5}", "`length_penalty` does nothing without beams"),
    ],
)
def test_settings_of_writing_without_effect_are_refused(said: str, why: str) -> None:
    assert why in refusal(f"{BOTH}{BYTE}data: {{source: reversal}}\nwriting: {said}\n")[0]


def test_samples_of_one_width_and_samples_as_they_lie_are_not_shared_out_by_length() -> None:
    said, line = refusal(f"{DECODER}{BYTE}data:\n  source: stdlib\n  bucket: 4\n")
    assert line == 5
    assert "`bucket` does nothing with source `stdlib`" in said
    said, _ = refusal(f"{BOTH}{BYTE}data:\n  source: reversal\n  shuffle: false\n  bucket: 4\n")
    assert "samples stay as they lie" in said
