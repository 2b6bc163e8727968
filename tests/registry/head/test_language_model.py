"""The language-model head."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from blueprint.component import Site
from blueprint.ops import cross_entropy
from blueprint_registry.head.language_model import LanguageModel

SITE = Site(d_model=16, width=16, vocab_size=11)
X, TABLE = torch.randn(2, 3, 16), torch.randn(11, 16)
EVERYTHING: dict[str, Any] = {"bias": True, "scale": "1 / sqrt(d_model)", "softcap": 2.0}


def head(**said: Any) -> Any:
    made = LanguageModel(**said).filled(SITE).build(SITE)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def test_an_own_head_is_a_linear_map_marked_as_head() -> None:
    made = head()
    assert torch.equal(made(X), X @ made.weight.T)
    assert set(made.state_dict()) == {"weight"}
    assert made.role == "head"


def test_a_tied_head_owns_nothing_and_reads_the_table() -> None:
    made = head(tie=True)
    assert torch.equal(made(X, TABLE), X @ TABLE.T)
    assert not made.state_dict()


def test_an_own_head_is_not_moved_by_the_table() -> None:
    made = head()
    assert torch.equal(made(X, TABLE), made(X))


@pytest.mark.parametrize("tie", [True, False])
def test_scale_then_bias_then_cap(tie: bool) -> None:
    made = head(tie=tie, **EVERYTHING)
    weight = TABLE if tie else made.weight
    logits = made(X, TABLE)
    torch.testing.assert_close(logits, 2 * torch.tanh((X @ weight.T / 4 + made.bias) / 2))
    assert logits.abs().max() < 2


@pytest.mark.parametrize("tie", [True, False])
def test_what_it_offers_a_loss_in_chunks_is_what_it_computes(tie: bool) -> None:
    made = head(tie=tie, **EVERYTHING)
    target = torch.randint(11, (6,))
    weight, bias = made.projection(TABLE)
    found = cross_entropy(X.flatten(0, 1), weight, target, bias_V=bias, scale=made.scale, softcap=made.softcap, chunk=2)
    torch.testing.assert_close(found, F.cross_entropy(made(X, TABLE).flatten(0, 1), target))


@pytest.mark.parametrize(("table", "words"), [(None, "has no token table"), (8, "a table of width 8")])
def test_a_tie_to_a_table_that_does_not_fit_is_a_fault_of_the_spec(table: int | None, words: str) -> None:
    at = replace(SITE, table=table)
    assert LanguageModel().check(at) is None
    assert words in str(LanguageModel(tie=True).check(at))
    assert LanguageModel(tie=True).check(replace(SITE, table=16)) is None


def test_a_tied_head_without_a_table_says_so() -> None:
    with pytest.raises(ValueError, match="tie: false"):
        head(tie=True)(X, None)
