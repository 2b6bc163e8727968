"""Made-up pairs of a word and the same backwards."""

from __future__ import annotations

from blueprint_registry.source.reversal import Reversal


def test_every_target_is_its_source_backwards_and_lengths_vary() -> None:
    pairs = [pair for _, pair in Reversal(count=200, length=5).documents()]
    assert len(pairs) == 200
    assert all(target == source[::-1] for source, target in pairs)
    assert {len(source) for source, _ in pairs} == {1, 2, 3, 4, 5}


def test_the_same_settings_give_the_same_pairs_and_fingerprint_and_others_others() -> None:
    one, again, other = Reversal(count=9), Reversal(count=9), Reversal(count=9, seed=1)
    assert list(one.documents()) == list(again.documents()) != list(other.documents())
    assert one.fingerprint() == again.fingerprint() != other.fingerprint()
