"""`blueprint generate`: text from a trained model, as it is drawn, or the best that a beam search finds."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from blueprint.cli.common import AllowPlugins, AsJson, Averaged, Mistake, RunPath, emit
from blueprint.inference import USUAL

if TYPE_CHECKING:
    from blueprint.schema.spec import Spec

_TEMPERATURE = 0.8


class Early(StrEnum):
    """When a beam search is content."""

    yes = "yes"
    no = "no"
    never = "never"


_EARLY: dict[Early, Any] = {Early.yes: True, Early.no: False, Early.never: "never"}


def command(
    run: RunPath,
    prompt: Annotated[
        str, typer.Option("--prompt", "-p", help="What the text begins with; the source, where a model reads one.")
    ] = "",
    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-new-tokens",
            "-n",
            min=0,
            help=f"Tokens to draw at most; else up to the model's length, and {USUAL}.",
        ),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help=f"0 takes the likeliest token each time; else {_TEMPERATURE}.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest tokens only.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the likeliest tokens that make up this share.")] = None,
    min_p: Annotated[
        float | None, typer.Option(help="Leave out what is less likely than this share of the best.")
    ] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="Above 1, makes seen tokens less likely.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="Text to end before; repeatable.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same text.")] = 0,
    beams: Annotated[int, typer.Option(help="Above 1, search so many texts at once for the likeliest.")] = 1,
    length_penalty: Annotated[
        float, typer.Option(help="With beams: compare log-probabilities over tokens to this power.")
    ] = 1.0,
    early_stopping: Annotated[
        Early,
        typer.Option(help="With beams: whether to stop once as many texts ended; never: go on while any could gain."),
    ] = Early.no,
    start_id: Annotated[
        int | None, typer.Option(help="The id that a target begins with, where the objective does not say.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute, such as cuda.")] = "cpu",
    averaged: Averaged = False,
    allow_plugins: AllowPlugins = False,
    json: AsJson = False,
) -> None:
    """Continue a prompt with a trained model, or write what it makes of a source: the folder of a run or a build, or a
    checkpoint."""
    from blueprint.inference.beam import Beams
    from blueprint.inference.generate import fit_together
    from blueprint.inference.sampling import Sampling
    from blueprint.inference.text import TextGenerator
    from blueprint.training.restore import restore

    usual = _TEMPERATURE if beams == 1 else 0
    try:
        sampling = Sampling(
            usual if temperature is None else temperature, top_k, top_p, min_p, repetition_penalty, seed
        )
        searching = Beams(beams, length_penalty, _EARLY[early_stopping])
        fit_together(sampling, searching, names=_option)
    except ValueError as error:
        raise Mistake(str(error)) from error
    idle = sampling.idle()
    if idle:
        raise Mistake(f"at temperature 0 the likeliest token is taken: {_options(idle)} would do nothing")
    if beams > 1 and temperature:
        raise Mistake("beam search draws nothing: --temperature would do nothing")
    if beams > 1 and stop:
        raise Mistake("--stop ends a text as it is drawn: beam search draws none")
    model = restore(run, device=device, weights="averaged" if averaged else "trained", allow_plugins=allow_plugins)
    tokenizer = cast("Spec", model.spec).tokenizer
    if tokenizer is None:
        raise Mistake(f"{run} has no tokenizer: its model reads ids, not text")
    settings: dict[str, Any] = {"max_new_tokens": max_new_tokens, "sampling": sampling, "stop": tuple(stop or ())}
    try:
        writer = TextGenerator(model, tokenizer, start_id)
        if beams > 1 or json:
            found = (
                writer.best(prompt, searching, max_new_tokens=max_new_tokens, repetition_penalty=repetition_penalty)
                if beams > 1
                else writer.complete(prompt, **settings)
            )
            if json:
                score = {} if found.score is None else {"score": found.score}
                emit({"prompt": prompt, "text": found.text, "tokens": found.tokens, "reason": found.reason, **score})
            else:
                typer.echo(found.text if writer.reads_source else prompt + found.text)
            return
        if not writer.reads_source:
            typer.echo(prompt, nl=False)
        for piece in writer.stream(prompt, **settings):
            typer.echo(piece, nl=False)
        typer.echo()
    except ValueError as error:
        raise Mistake(str(error)) from error


def _option(name: str) -> str:
    """A setting as it is said here."""
    return f"--{ {'num_beams': 'beams'}.get(name, name).replace('_', '-') }"


def _options(names: tuple[str, ...]) -> str:
    return " and ".join(map(_option, names))
