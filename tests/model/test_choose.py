"""Names and patterns: a step is a step, `*` stays inside one, `**` crosses them."""

from __future__ import annotations

import pytest

from blueprint.model.choose import unnamed, within

NAME = "layers.10.attention.q.weight"


@pytest.mark.parametrize(
    ("part", "holds"),
    [
        ("layers", True),
        ("layers.10", True),
        ("layers.1", False),
        ("layer", False),
        (NAME, True),
        (f"{NAME}.more", False),
        ("layers.*.attention", True),
        ("*.attention", False),
        ("layers.*.att*", True),
        ("layers.1?.attention.[qk]", True),
        ("**.weight", True),
        ("**.q", True),
        ("**.bias", False),
        ("layers.**.q.weight", True),
        ("layers.**.10", True),
        ("**", True),
        ("", False),
    ],
)
def test_a_part_is_the_first_steps_of_a_name(part: str, holds: bool) -> None:
    assert within(NAME, part) is holds


def test_what_names_nothing_is_told_with_what_was_meant() -> None:
    fault = unnamed([NAME, "embedding.tokens.weight"], "embeding.tokens", "freeze.0")
    assert fault is not None
    assert fault.suggestion == "embedding.tokens"
    assert "there are: layers, embedding" in fault.message
    assert unnamed([NAME], "layers.*.attention", "freeze.0") is None
