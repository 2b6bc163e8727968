"""One process that starts commands, and one run that nothing ever disturbed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.commands import Server, server
from tests.faults.small import Place, place


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """What starts commands."""
    with server(tmp_path_factory.mktemp("said")) as made:
        yield made


@pytest.fixture(scope="session")
def whole(commands: Server, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The undisturbed run."""
    made = place(tmp_path_factory.mktemp("runs") / "whole", commands)
    ended = made.ended("train")
    assert ended.code == 0, ended.said
    return made
