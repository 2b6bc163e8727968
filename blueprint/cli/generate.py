"""`blueprint generate`: text from a trained model, as it is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from blueprint.cli.common import AllowPlugins, AsJson, Mistake, RunPath, emit

if TYPE_CHECKING:
    from blueprint.schema.spec import Spec


def command(
    run: RunPath,
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="What the text begins with.")] = "",
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", "-n", min=0, help="Tokens to draw at most.")] = 256,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token each time.")] = 0.8,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest tokens only.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the likeliest tokens that make up this share.")] = None,
    min_p: Annotated[
        float | None, typer.Option(help="Leave out what is less likely than this share of the best.")
    ] = None,
    repetition_penalty: Annotated[float | None, typer.Option(help="Above 1, makes seen tokens less likely.")] = None,
    stop: Annotated[list[str] | None, typer.Option(help="Text to end before; repeatable.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same text.")] = 0,
    device: Annotated[str, typer.Option(help="Where to compute, such as cuda.")] = "cpu",
    allow_plugins: AllowPlugins = False,
    json: AsJson = False,
) -> None:
    """Continue a prompt with a trained model: the folder of a run or a build, or a checkpoint."""
    from blueprint.inference.sampling import Sampling
    from blueprint.inference.text import TextGenerator
    from blueprint.training.restore import restore

    try:
        sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty, seed)
    except ValueError as error:
        raise Mistake(str(error)) from error
    idle = sampling.idle()
    if idle:
        named = " and ".join(f"--{name.replace('_', '-')}" for name in idle)
        raise Mistake(f"at temperature 0 the likeliest token is taken: {named} would do nothing")
    model = restore(run, device=device, allow_plugins=allow_plugins)
    tokenizer = cast("Spec", model.spec).tokenizer
    if tokenizer is None:
        raise Mistake(f"{run} has no tokenizer: its model reads ids, not text")
    settings: dict[str, Any] = {"max_new_tokens": max_new_tokens, "sampling": sampling, "stop": tuple(stop or ())}
    try:
        writer = TextGenerator(model, tokenizer)
        if json:
            done = writer.complete(prompt, **settings)
            emit({"prompt": prompt, "text": done.text, "tokens": done.tokens, "reason": done.reason})
            return
        typer.echo(prompt, nl=False)
        for piece in writer.stream(prompt, **settings):
            typer.echo(piece, nl=False)
        typer.echo()
    except ValueError as error:
        raise Mistake(str(error)) from error
