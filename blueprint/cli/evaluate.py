"""`blueprint evaluate`: how well a trained model predicts the text held out from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from blueprint.cli.common import AllowPlugins, AsJson, Averaged, RunPath, emit
from blueprint.cli.table import table


def command(
    run: RunPath,
    trailing: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Other data: data.source.path=FILE measures all of that file."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Batches at most; all of them, if not given.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Samples in a batch.")] = None,
    device: Annotated[str, typer.Option(help="Where to compute, such as cuda.")] = "cpu",
    documents: Annotated[
        int | None,
        typer.Option(min=0, help="Held-out sources to write for, where the spec says `writing`; 0 for none."),
    ] = None,
    beams: Annotated[int | None, typer.Option(min=1, help="Texts searched at once when writing.")] = None,
    out: Annotated[Path | None, typer.Option(help="A file for all that is written, a line of JSON each.")] = None,
    averaged: Averaged = False,
    allow_plugins: AllowPlugins = False,
    json: AsJson = False,
) -> None:
    """Measure the held-out loss of a run or a checkpoint, beside the unigram baseline where there is one, and the texts
    that it writes, beside copies of the sources, where its spec says `writing`; or the loss on all of other data."""
    from blueprint.training.evaluate import evaluate

    found = evaluate(
        run,
        trailing or (),
        limit=limit,
        batch_size=batch_size,
        device=device,
        weights="averaged" if averaged else "trained",
        documents=documents,
        beams=beams,
        out=out,
        allow_plugins=allow_plugins,
        progress=not json,
    )
    if json:
        emit(found)
        return
    unit, loss = found["unit"], "loss" if found["whole"] else "held-out loss"
    if found["bits_per_byte"] is not None:
        head = ["", f"nats per {unit}", "bits per byte"]
        rows = [[loss, f"{found['nats']:.4f}", f"{found['bits_per_byte']:.4f}"]]
        if found["unigram_nats"] is not None:
            baseline = ["unigram baseline", f"{found['unigram_nats']:.4f}", f"{found['unigram_bits_per_byte']:.4f}"]
            rows.append(baseline)
    else:
        head, rows = ["", f"{found['measure']} per {unit}"], [[loss, f"{found['nats']:.4f}"]]
    learned = "as stored" if found["step"] is None else f"after {found['step']} steps"
    typer.echo(f"{run} {learned}, over {found['tokens']:,} {unit}s\n")
    typer.echo(table(rows, head, right=(1,)))
    if found["perplexity"] is not None:
        typer.echo(f"\nperplexity {found['perplexity']:.4g}")
    for name, value in found["scores"].items():
        typer.echo(f"{name.replace('_', ' ')} {value:.2%}")
    if found["writing"] is not None:
        typer.echo("\n" + _written(found["writing"]))


def _written(found: Mapping[str, Any]) -> str:
    """What was written, its scores beside those of copying, and a few examples."""
    how = f"{found['beams']} beams" if found["beams"] > 1 else "the likeliest token each time"
    scores = [[each["title"], f"{each['written']:.1f}", f"{each['copied']:.1f}"] for each in found["scores"].values()]
    rows = [
        [name, " ".join(each[key].split())]
        for each in found["examples"]
        for name, key in (("source", "source"), ("wanted", "wanted"), ("written", "written"))
    ]
    return "\n".join(
        [
            f"written for {found['documents']:,} of {found['held_out']:,} held-out sources, by {how}\n",
            table(scores, ["of 100", "written", "source copied"], right=(1,)),
            "",
            table(rows),
        ]
    )
