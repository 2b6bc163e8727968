"""What `blueprint check` does, and how it is asked without a parser: it is the command that is waited for most."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from blueprint.cli.specs import emit, read, split


def checked(paths: Sequence[str], overrides: Sequence[str], *, allow_plugins: bool, json: bool) -> bool:
    """Print what is wrong with specs, or that they are good; returns whether all are."""
    from blueprint.diagnosis import SpecError
    from blueprint.plan import plan

    results: list[dict[str, Any]] = []
    for path in paths:
        try:
            spec = read(path, overrides, allow_plugins)
            found = plan(spec).hash
        except SpecError as error:
            results.append({"file": path, "ok": False, "problems": [each.to_plain() for each in error.problems]})
            if not json:
                print(error, file=sys.stderr)
            continue
        results.append({"file": path, "ok": True, "name": spec.name, "hash": found, "problems": []})
        if not json:
            print(f"ok: {spec.name} ({found})", flush=True)
    if json:
        emit({"specs": results})
    return all(each["ok"] for each in results)


def plainly(words: Sequence[str]) -> bool | None:
    """`checked` for a command line that needs no parser; None where these words do."""
    options = {word for word in words[1:] if word.startswith("-")}
    if words[0] != "check" or options - {"--json", "--allow-plugins"}:
        return None
    paths, overrides = split([word for word in words[1:] if word not in options])
    if not paths:
        return None
    return checked(paths, overrides, allow_plugins="--allow-plugins" in options, json="--json" in options)
