"""`blueprint cost`: parameters, operations and bytes, measured on shapes alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from blueprint.cli.common import AllowPlugins, AsJson, Mistake, Overrides, SpecPath, Trailing, emit, read

if TYPE_CHECKING:
    from blueprint.cost.precisions import Under


def command(
    spec: SpecPath,
    trailing: Trailing = None,
    length: Annotated[
        int | None, typer.Option(min=1, help="Tokens in a sequence; what the spec says, if not given.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Sequences in a batch: one, or one for each of dp, if not given.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="Number formats, such as bf16-mixed.")] = None,
    mesh: Annotated[
        str | None, typer.Option(metavar="dp=N,tp=N,ep=N", help="Devices: what a step costs each of them.")
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="model_parallel|ddp", help="Whether dp shards the weights, or each device has them whole."
        ),
    ] = None,
    link: Annotated[
        str | None, typer.Option(metavar="50GB/s", help="What a device sends a second, or dp=50GB/s,tp=400GB/s.")
    ] = None,
    memory_bandwidth: Annotated[
        str | None, typer.Option(metavar="2TB/s", help="What a device's memory moves a second.")
    ] = None,
    flops: Annotated[str | None, typer.Option(metavar="300T", help="A device's operations a second.")] = None,
    precisions: Annotated[bool, typer.Option("--precisions", help="Memory under every precision, beside.")] = False,
    changes: Overrides = None,
    allow_plugins: AllowPlugins = False,
    json: AsJson = False,
) -> None:
    """Measure what a model costs: parameters, operations, memory and cache, without building its weights."""
    said = [*(trailing or ()), *(changes or ())]
    # On another device than this one a precision may well train: only the formats count here.
    said += [f"trainer.precision={precision}", "trainer.accelerator=cuda"] if precision else []
    found = read(spec, said, allow_plugins)
    from blueprint.cost import cost

    try:
        speeds = {"link": link, "memory_bandwidth": memory_bandwidth, "flops": flops}
        measured = cost(found, length, batch, mesh=mesh, strategy=strategy, **speeds)
    except ValueError as error:
        raise Mistake(str(error)) from error
    under: Sequence[Under] = ()
    if precisions:
        from blueprint.cost.precisions import precisions as by_precision
        from blueprint.cost.precisions import table

        under = by_precision(found, measured.length, measured.batch)
    if json:
        emit(measured.to_plain() | ({"precisions": [each.to_plain() for each in under]} if under else {}))
    else:
        typer.echo(str(measured) + (f"\n\n{table(under, measured.length, measured.batch)}" if under else ""))
