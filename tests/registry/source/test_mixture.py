"""Mixtures: the arithmetic of weights, epochs and temperatures, and what is drawn by it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import blueprint as bp
from blueprint_registry.source._mixing import GPT3, LLAMA, epochs, shares
from blueprint_registry.source.mixture import Mixture
from blueprint_registry.source.reversal import Reversal


def test_the_weights_of_gpt3_sum_to_101_and_its_epochs_follow_from_weights_and_sizes() -> None:
    """Brown et al. (2020), table 2.2: the printed epochs are not quite what the printed weights and sizes give."""
    tokens = {"common_crawl": 410e9, "webtext2": 19e9, "books1": 12e9, "books2": 55e9, "wikipedia": 3e9}
    assert sum(GPT3.weights.values()) == 101
    assert sum(tokens.values()) == 499e9
    found = epochs({name: weight / 100 for name, weight in GPT3.weights.items()}, tokens, GPT3.total)
    assert {name: round(each, 2) for name, each in found.items()} == {
        "common_crawl": 0.44,
        "webtext2": 3.47,
        "books1": 2.0,
        "books2": 0.44,
        "wikipedia": 3.0,
    }
    assert [GPT3.epochs[name] for name in found] == [0.44, 2.9, 1.9, 0.43, 3.4]


def test_the_weights_of_llama_sum_to_100_and_its_sets_hold_as_many_tokens_as_their_bytes_allow() -> None:
    """Touvron et al. (2023), table 1: disk sizes in gigabytes; a token is about three to four bytes of text."""
    gigabytes = [3300, 783, 328, 83, 85, 92, 78]
    assert sum(LLAMA.weights.values()) == 100
    sizes = LLAMA.sizes()
    for size, tokens in zip(gigabytes, sizes.values(), strict=True):
        assert 2.7 < size * 1e9 / tokens < 4
    again = epochs({name: weight / 100 for name, weight in LLAMA.weights.items()}, sizes, LLAMA.total)
    assert again == pytest.approx(LLAMA.epochs)


def test_a_temperature_flattens_shares_and_one_of_1_leaves_them() -> None:
    weights = {"a": 9e15, "b": 1e15}
    assert shares(weights) == pytest.approx({"a": 0.9, "b": 0.1})
    assert shares(weights, 2) == pytest.approx({"a": 0.75, "b": 0.25})
    assert shares(weights, 1e6) == pytest.approx({"a": 0.5, "b": 0.5}, abs=1e-5)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """1,000 lines of 10 bytes and 100 of the same size."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "large.txt").write_text("".join(f"large {i:04d}\n" for i in range(1000)))
    (tmp_path / "small.txt").write_text("".join(f"small {i:04d}\n" for i in range(100)))
    return {name: {"type": "text", "path": f"{name}.txt", "document": "line"} for name in ("large", "small")}


def drawn(mixture: Mixture) -> list[str]:
    found = list(mixture.documents())
    assert len(dict(found)) == len(found), "two documents of one name"
    return [text for _, text in found]


def count(texts: list[str]) -> dict[str, int]:
    return dict(Counter(text[:5] for text in texts))


def test_weights_say_how_much_of_the_whole_comes_from_each(sources: dict[str, Any]) -> None:
    mixture = Mixture(sources=sources, weights={"large": 1, "small": 1})
    assert mixture.rounds() == pytest.approx({"large": 0.55, "small": 5.5})
    found = count(drawn(mixture))
    assert found["large"] == pytest.approx(550, abs=50)
    assert found["small"] == pytest.approx(550, abs=16)


def test_epochs_bring_every_document_round_and_a_part_of_one_draws_by_lot(sources: dict[str, Any]) -> None:
    texts = Counter(drawn(Mixture(sources=sources, epochs={"large": 1, "small": 2.5})))
    small = Counter(times for text, times in texts.items() if text.startswith("small"))
    assert {times for text, times in texts.items() if text.startswith("large")} == {1}
    assert set(small) == {2, 3}
    assert small[3] == pytest.approx(50, abs=16)


def test_sizes_are_weights_and_the_temperature_and_the_amount_apply_to_them(sources: dict[str, Any]) -> None:
    assert Mixture(sources=sources).rounds() == pytest.approx({"large": 1, "small": 1})
    hot = Mixture(sources=sources, temperature=2.0, amount=2.0).rounds()
    assert hot["small"] / hot["large"] == pytest.approx(10**0.5)
    assert 1000 * hot["large"] + 100 * hot["small"] == pytest.approx(2200)


def test_any_stretch_is_mixed_as_the_whole_is(sources: dict[str, Any]) -> None:
    texts = drawn(Mixture(sources=sources, epochs={"large": 1, "small": 5}))
    for at in range(0, len(texts) - 150, 150):
        assert count(texts[at : at + 150])["small"] == pytest.approx(50, abs=1)


def test_the_order_is_always_the_same_and_the_seed_draws_other_parts(sources: dict[str, Any]) -> None:
    said: dict[str, Any] = {"sources": sources, "epochs": {"large": 0.3, "small": 1}}
    one, again, other = (drawn(Mixture(**said, seed=seed)) for seed in (0, 0, 1))
    assert one == again
    assert set(one) != set(other)


def test_a_paper_gives_its_weights_to_the_sources_it_names(sources: dict[str, Any]) -> None:
    named = {"books1": sources["large"], "wikipedia": sources["small"]}
    rounds = Mixture(sources=named, weights="gpt3").rounds()
    assert rounds["wikipedia"] * 100 / (rounds["books1"] * 1000) == pytest.approx(3 / 8)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"weights": {"large": 1}}, "no number for small"),
        ({"epochs": {"large": 1, "small": 1, "smal": 1}}, "names smal, which `sources` does not"),
        ({"weights": "llama"}, "the table 'llama' names common_crawl, c4"),
        ({"weights": {"large": 1, "small": 1}, "epochs": {"large": 1, "small": 1}}, "the same in two ways"),
        ({"epochs": {"large": 1, "small": 1}, "amount": 2.0}, "`amount` does nothing beside `epochs`"),
        ({"sources": {"a": Reversal()}}, "two sources at least"),
    ],
)
def test_what_cannot_be_meant_is_refused(sources: dict[str, Any], said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Mixture(**{"sources": sources, **said})


def test_only_samples_of_one_kind_are_mixed(sources: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="`made` gives pairs"):
        Mixture(sources={**sources, "made": Reversal()})
    assert Mixture(sources={"a": Reversal(), "b": Reversal(seed=1)}).gives == "pairs"


def test_a_source_that_holds_nothing_is_named(sources: dict[str, Any]) -> None:
    Path("small.txt").write_text("\n")
    with pytest.raises(ValueError, match="small holds nothing"):
        drawn(Mixture(sources=sources))


def test_the_fingerprint_tells_other_settings_and_other_files(sources: dict[str, Any]) -> None:
    one = Mixture(sources=sources).fingerprint()
    assert one == Mixture(sources=sources).fingerprint() != Mixture(sources=sources, seed=1).fingerprint()
    Path("small.txt").write_text("other\n")
    assert Mixture(sources=sources).fingerprint() != one


def test_the_paths_of_a_mixture_start_from_the_file_that_says_them(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "spec.yaml").write_text(
        "extends: blueprint:quickstart.yaml\n"
        "data: {source: {type: mixture, sources: {a: {type: text, path: a.txt}, b: {type: text, path: b}}}}\n"
    )
    spec = bp.load(tmp_path / "inner" / "spec.yaml")
    assert spec.data is not None
    assert spec.data.source.to_plain()["sources"]["a"]["path"] == str(tmp_path / "inner" / "a.txt")
