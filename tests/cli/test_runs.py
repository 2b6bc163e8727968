"""From a spec to text with the commands alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import SPEC, Blueprint


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from blueprint.cli.main import run

    folder = tmp_path_factory.mktemp("runs")
    (folder / "text.txt").write_text("".join(f"line {n} says {n * n}\n" for n in range(2000)))
    (folder / "spec.yaml").write_text(
        SPEC
        + f"data: {{source: {{type: text, path: {folder / 'text.txt'}}}, length: 32, batch_size: 4, validation: 0.2}}\n"
        + "trainer: {max_steps: 4, accelerator: cpu}\nsample: null\n"
    )
    assert run(["train", str(folder / "spec.yaml"), "-o", str(folder / "run"), "--quiet"]) == 0
    return folder / "run"


def test_a_run_resumes_evaluates_and_generates(blueprint: Blueprint, run_folder: Path) -> None:
    again = blueprint("train", run_folder.parent / "spec.yaml", "-o", run_folder, "--quiet")
    assert again.code == 1
    assert "already holds a run" in again.err
    resumed = blueprint("resume", run_folder, "trainer.max_steps=6", "--quiet")
    assert resumed.code == 0, resumed.err
    assert "step 6 of 6" in resumed.out
    found = blueprint("evaluate", run_folder, "--limit", "2", "--json")
    assert found.code == 0, found.err
    assert found.json["step"] == 6
    assert "unigram" in blueprint("evaluate", run_folder, "--limit", "1").out


def test_generation_streams_what_json_says_at_once(blueprint: Blueprint, run_folder: Path) -> None:
    words = ["generate", run_folder, "--prompt", "line ", "-n", "12", "--seed", "3"]
    whole, streamed = blueprint(*words, "--json").json, blueprint(*words).out
    assert streamed == f"line {whole['text']}\n"
    assert blueprint(*words, "--json").json == whole


@pytest.mark.parametrize("words", [["--temperature", "0", "--top-k", "3"], ["--top-p", "2"], ["--temperature", "-1"]])
def test_settings_that_make_no_sense_are_refused(blueprint: Blueprint, run_folder: Path, words: list[str]) -> None:
    ended = blueprint("generate", run_folder, "--prompt", "x", *words)
    assert ended.code == 1
    assert "Sorry" not in ended.err
