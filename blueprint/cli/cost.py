"""`blueprint cost`: parameters, operations and bytes, measured on shapes alone."""

from __future__ import annotations

from typing import Annotated

import typer

from blueprint.cli.common import AllowPlugins, AsJson, Mistake, Overrides, SpecPath, Trailing, emit, read


def command(
    spec: SpecPath,
    trailing: Trailing = None,
    length: Annotated[
        int | None, typer.Option(min=1, help="Tokens in a sequence; what the spec says, if not given.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Sequences in a batch.")] = 1,
    precision: Annotated[str | None, typer.Option(help="Number formats, such as bf16-mixed.")] = None,
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
        measured = cost(found, length=length, batch=batch)
    except ValueError as error:
        raise Mistake(str(error)) from error
    under = ()
    if precisions:
        from blueprint.cost.precisions import precisions as by_precision
        from blueprint.cost.precisions import table

        under = by_precision(found, measured.length, batch)
    if json:
        emit(measured.to_plain() | ({"precisions": [each.to_plain() for each in under]} if under else {}))
    else:
        typer.echo(str(measured) + (f"\n\n{table(under, measured.length, batch)}" if under else ""))
