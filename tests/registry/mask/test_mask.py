"""Masks say which keys a query may see, at the site they stand at."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from blueprint.component import Site, as_faults
from blueprint.visible import Visible
from blueprint_registry.mask.chunked import Chunked
from blueprint_registry.mask.document import Document
from blueprint_registry.mask.full import Full
from blueprint_registry.mask.sliding import Sliding

CAUSAL = Site(d_model=8, width=8, max_length=64)
BOTH_WAYS = replace(CAUSAL, causal=False)


def dense(visible: Visible, length: int) -> torch.Tensor:
    """The mask as a matrix of booleans, queries by keys."""
    places = torch.arange(length)
    return visible.holds(places[:, None], places[None, :])


def test_full_hides_nothing() -> None:
    assert Full().visible(CAUSAL) == Full().visible(BOTH_WAYS) == Visible()


@pytest.mark.parametrize("window", [1, 2, 5, 64])
def test_a_causal_window_counts_the_query_itself(window: int) -> None:
    seen = dense(Sliding(window=window).visible(CAUSAL) & Visible(ahead=0), 20)
    expected = [[i - window < j <= i for j in range(20)] for i in range(20)]
    assert seen.tolist() == expected


@pytest.mark.parametrize("window", [1, 2, 5, 64])
def test_a_window_both_ways_reaches_equally_far(window: int) -> None:
    seen = dense(Sliding(window=window).visible(BOTH_WAYS), 20)
    assert seen.tolist() == [[abs(i - j) <= window for j in range(20)] for i in range(20)]


def test_document_keeps_to_one_segment() -> None:
    assert Document().visible(CAUSAL) == Visible(same_segment=True)


def test_a_window_holds_at_least_the_query() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        Sliding(window=0)


def test_a_window_wider_than_the_context_is_a_fault() -> None:
    (fault,) = as_faults(Sliding(window=65).check(CAUSAL))
    assert fault.at == "window"
    assert "window of 65 never narrows a context of 64" in fault.message


@pytest.mark.parametrize("site", [CAUSAL, replace(CAUSAL, max_length=None)])
def test_a_window_that_fits_is_none(site: Site) -> None:
    assert not list(as_faults(Sliding(window=64).check(site)))


@pytest.mark.parametrize("chunk", [1, 2, 5, 64])
@pytest.mark.parametrize("at", [CAUSAL, BOTH_WAYS], ids=["causal", "both ways"])
def test_a_chunk_sees_itself_alone(chunk: int, at: Site) -> None:
    seen = Chunked(chunk=chunk).visible(at)
    if at.causal:
        seen &= Visible(ahead=0)
    expected = [[i // chunk == j // chunk and (j <= i or not at.causal) for j in range(20)] for i in range(20)]
    assert dense(seen, 20).tolist() == expected
    assert seen.pairs(20) == sum(sum(row) for row in expected)
    assert seen.back == chunk - 1


def test_chunks_say_so_and_meet_windows() -> None:
    both = Chunked(chunk=8).visible(CAUSAL) & Chunked(chunk=8).visible(CAUSAL) & Visible(back=3, ahead=0)
    assert both.describe() == "causal, window 4, chunks of 8"


def test_chunks_longer_than_the_context_are_a_fault() -> None:
    (fault,) = as_faults(Chunked(chunk=65).check(CAUSAL))
    assert fault.at == "chunk"
    assert "chunks of 65 never divide a context of 64" in fault.message
    assert not list(as_faults(Chunked(chunk=64).check(CAUSAL)))
