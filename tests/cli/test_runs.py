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


@pytest.fixture(scope="module")
def reversing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a model that reads a source."""
    from blueprint.cli.main import run

    folder = tmp_path_factory.mktemp("reversing") / "run"
    spec = Path(__file__).parents[2] / "specs" / "recipes" / "reverse.yaml"
    small = ["trainer.max_steps=3", "schedule=constant", "data.source.count=300", "model.d_model=32", "sample=null"]
    assert run(["train", str(spec), "-o", str(folder), "--quiet", *small, "trainer.val_check_interval=null"]) == 0
    return folder


def test_a_source_is_not_repeated_and_its_target_begins_as_in_training(blueprint: Blueprint, reversing: Path) -> None:
    words = ["generate", reversing, "--prompt", "lager", "-n", "9", "--seed", "3"]
    whole = blueprint(*words, "--json").json
    assert whole.keys() == {"prompt", "text", "tokens", "reason"}
    assert blueprint(*words).out == f"{whole['text']}\n"
    # The objective begins with the end of a text; saying so changes nothing, another id does.
    assert blueprint(*words, "--start-id", "256", "--json").json == whole
    assert blueprint(*words, "--start-id", "5", "--json").json != whole


def test_beams_find_what_is_worth_more_than_the_likeliest_tokens(blueprint: Blueprint, reversing: Path) -> None:
    words = ["generate", reversing, "-p", "lager", "-n", "9"]
    searched = [*words, "--beams", "4", "--length-penalty", "0", "--early-stopping", "never"]
    best = blueprint(*searched, "--json").json
    assert best.keys() == {"prompt", "text", "tokens", "reason", "score"}
    assert blueprint(*searched).out == f"{best['text']}\n"
    assert best["score"] < 0


def test_beams_of_a_decoder_go_on_from_the_prompt(blueprint: Blueprint, run_folder: Path) -> None:
    words = ["generate", run_folder, "-p", "line ", "-n", "9", "--beams", "3"]
    best = blueprint(*words, "--json").json
    assert blueprint(*words).out == f"line {best['text']}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--beams", "0"], "num_beams must be"),
        (["--beams", "2", "--top-k", "3"], "--top-k would do nothing"),
        (["--beams", "2", "--temperature", "0.7"], "--temperature would do nothing"),
        (["--beams", "2", "--stop", "x"], "--stop ends a text as it is drawn"),
        (["--length-penalty", "2"], "--length-penalty would do nothing without beams: raise --beams"),
        (["--early-stopping", "never"], "--early-stopping would do nothing"),
        (["--start-id", "3"], "start_id is for a model that reads a source"),
    ],
)
def test_beams_that_make_no_sense_are_refused(
    blueprint: Blueprint, run_folder: Path, words: list[str], said: str
) -> None:
    ended = blueprint("generate", run_folder, "-p", "x", "-n", "3", *words)
    assert ended.code == 1
    assert said in ended.err
