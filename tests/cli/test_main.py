"""The command line as a whole: exit codes, apologies, and imports kept out of the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from blueprint.cli.main import COMMANDS
from tests.cli.conftest import Blueprint


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(blueprint: Blueprint, command: str) -> None:
    ended = blueprint(command, "--help")
    assert ended.code == 0
    assert f"blueprint {command}" in ended.out


def test_help_lists_every_command(blueprint: Blueprint) -> None:
    ended = blueprint()
    assert ended.code == 0
    assert all(command in ended.out for command in COMMANDS)


def test_a_misspelt_command_is_the_users_mistake_and_names_the_likely_one(blueprint: Blueprint) -> None:
    ended = blueprint("chekc")
    assert ended.code == 1
    assert "check" in ended.err


def test_a_missing_file_is_the_users_mistake(blueprint: Blueprint) -> None:
    ended = blueprint("check", "nowhere.yaml")
    assert ended.code == 1
    assert "nowhere.yaml" in ended.err


def test_our_own_fault_ends_with_2_and_an_apology_and_debug_shows_where(
    blueprint: Blueprint, spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a wheel came off")

    monkeypatch.setattr("blueprint.render.plan_text", broken)
    quiet, loud = blueprint("plan", spec), blueprint("plan", spec, "--debug")
    assert (quiet.code, loud.code) == (2, 2)
    assert "Sorry" in quiet.err
    assert "a wheel came off" in quiet.err
    assert "Traceback" not in quiet.err
    assert "Traceback" in loud.err


@pytest.mark.parametrize("command", ["check", "plan"])
def test_reading_commands_import_no_torch(spec: Path, command: str) -> None:
    code = (
        "import sys; from blueprint.cli.main import run; "
        f"code = run([{command!r}, {str(spec)!r}]); "
        "heavy = {'torch', 'lightning', 'rich', 'numpy', 'omegaconf', 'matplotlib'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_a_plain_check_needs_no_parser_and_says_what_a_parsed_one_says(spec: Path) -> None:
    code = (
        "import sys; from blueprint.cli.main import run; "
        "code = run(sys.argv[1:]); print('typer' in sys.modules, file=sys.stderr); sys.exit(code)"
    )
    words = ["check", str(spec), "model.layers=3", "--json"]
    plain = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    parsed = subprocess.run([sys.executable, "-c", code, *words, "-s", "name=small"], capture_output=True, text=True)
    assert (plain.returncode, plain.stderr.strip()) == (0, "False")
    assert (parsed.returncode, parsed.stderr.strip()) == (0, "True")
    assert plain.stdout == parsed.stdout


@pytest.mark.parametrize("more", [(), ("-s", "name=other")])
def test_a_check_of_several_specs_judges_all(
    blueprint: Blueprint, spec: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("model: {type: decoder}")
    ended = blueprint("check", bad, spec, *more)
    assert ended.code == 1
    assert "d_model" in ended.err
    assert "ok: " in ended.out


def test_a_check_of_nothing_is_the_users_mistake(blueprint: Blueprint) -> None:
    assert blueprint("check").code == 1
    assert blueprint("check", "model.layers=3").code == 1


def test_the_installed_command_runs() -> None:
    ended = subprocess.run(
        [Path(sys.executable).with_name("blueprint"), "--version"], capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip()
