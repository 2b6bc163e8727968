"""A plan as a person reads it: equal layers told once, every part with its type and the settings that matter."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from blueprint.component import Component, Section, Site

if TYPE_CHECKING:
    from blueprint.plan import Plan, PlanLayer

WIDTH = 110
NAME = 28
_INDENT = 2
_SIGN = " · "
#: The length that attention is judged at where a model has no longest one.
LENGTH = 2048


def plan_text(plan: Plan) -> str:
    """The plan as text: a head line, then a line for every part outside the layers and in each group of layers."""
    rows = list(_rows(plan))
    # A name that is longer, as of layers that alternate, has a line of its own.
    column = max(len(name) for name, _ in rows if len(name) <= NAME) + 2
    lines = [f"{plan.name}: {_model_line(plan)}", f"plan {plan.hash}", ""]
    for name, text in rows:
        first, *rest = wrapped(text, WIDTH - column) or [""]
        if len(name) > NAME:
            lines += textwrap.wrap(name, WIDTH, subsequent_indent=" " * _INDENT)
            name = ""
        lines.append(f"{name:<{column}}{first}".rstrip())
        lines += [" " * column + more for more in rest]
    return "\n".join(lines)


def plan_plain(plan: Plan) -> dict[str, Any]:
    """The plan as JSON-ready values; its identity holds every number as a float, here whole ones are whole."""
    return {"name": plan.name, "hash": plan.hash, "plan": _whole(plan.to_plain())}


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


def wrapped(text: str, width: int) -> list[str]:
    """Settings in lines of at most `width`, which break between settings, and inside one only where it is wider."""
    sign = _SIGN.rstrip()
    lines: list[str] = []
    facts = [fact for fact in text.split(_SIGN) if fact]
    for number, fact in enumerate(facts, start=1):
        end = "" if number == len(facts) else sign
        if lines and len(lines[-1] + _SIGN + fact + end) <= width:
            lines[-1] += _SIGN + fact
            continue
        if lines:
            lines[-1] += sign
        lines += _broken(fact, width - len(end))
    return lines


def _broken(fact: str, width: int) -> list[str]:
    """One setting, at its commas where it is too wide for a line."""
    whole = fact.replace(" ", "\0").replace(",\0", ", ")
    lines = textwrap.wrap(whole, width, break_long_words=False, break_on_hyphens=False, subsequent_indent="  ")
    return [line.replace("\0", " ") for line in lines]


def _model_line(plan: Plan) -> str:
    depths = {side: len(stack) for side, stack in plan.stacks.items()}
    layers = ", ".join(f"{count} {side + ' ' if len(depths) > 1 else ''}layers" for side, count in depths.items())
    return _SIGN.join([f"{plan.model.spec_name} of {layers}", *side_facts(plan, site_facts)])


def side_facts(plan: Plan, facts: Callable[[Site], list[str]]) -> list[str]:
    """What `facts` tells of the sites of all stacks, and then of each what it does not tell of all."""
    each = {side: facts(site) for side, site in plan.model.sides(plan.site).items()}
    first = next(iter(each.values()))
    same = [fact for fact in first if all(fact in own for own in each.values())]
    differ = {side: ", ".join(fact for fact in own if fact not in same) for side, own in each.items()}
    return [*same, *(f"{side}: {own}" for side, own in differ.items() if own)]


def site_facts(site: Site) -> list[str]:
    """The numbers of a stack."""
    facts = [
        f"d_model {site.d_model}",
        f"vocab_size {site.vocab_size}" if site.vocab_size else "",
        f"max_length {site.max_length}" if site.max_length else "no longest length",
        "causal" if site.causal else "bidirectional",
    ]
    return [fact for fact in facts if fact]


def _rows(plan: Plan) -> Iterator[tuple[str, str]]:
    """(name, what it is) of every line, in the order data takes."""
    several = len(plan.stacks) > 1
    for names, side, after in outside(plan):
        for name, part in names:
            yield name, summary(part)
        for of, indices, layer in groups(plan):
            if of == side:
                yield from _group_rows(f"{side} " if several else "", indices, layer, plan)
        for name, part in after:
            yield name, summary(part)
    if plan.site.float32:
        yield "in float32", ", ".join(sorted(plan.site.float32))


Named = list[tuple[str, Component]]


def outside(plan: Plan) -> list[tuple[Named, str, Named]]:
    """The parts outside the layers, as those before and those after the layers of every side.

    The first part is what a stack begins with. Parts of one side are named after it; others stand after all layers.
    """
    rest = [(name, part) for name, part, _ in plan.model.parts(plan.site)]
    out: list[tuple[Named, str, Named]] = []
    for side in plan.stacks:
        own = [each for each in rest if each[0].startswith(f"{side}.")]
        rest = [each for each in rest if each not in own]
        out.append((own[:1], side, own[1:]))
    if not out[0][0]:
        out[0] = (rest[:1], out[0][1], out[0][2])
        rest = rest[1:]
    out[-1] = (*out[-1][:2], [*out[-1][2], *rest])
    return out


def groups(plan: Plan) -> list[tuple[str, list[int], PlanLayer]]:
    """Equal layers together, wherever they stand, as (side, indices, the first of them), by first appearance."""
    found: dict[tuple[str, str], tuple[list[int], PlanLayer]] = {}
    for side, indices, layer in plan.groups():
        found.setdefault((side, repr(layer.block)), ([], layer))[0].extend(indices)
    return [(side, indices, layer) for (side, _), (indices, layer) in found.items()]


def ranges(indices: list[int]) -> str:
    """Whole numbers as runs: `0–3, 5`."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)


def _group_rows(side: str, indices: list[int], layer: PlanLayer, plan: Plan) -> Iterator[tuple[str, str]]:
    block = layer.block
    said = {name: getattr(block, name) for name in type(block).model_fields}
    own = {name: value for name, value in said.items() if isinstance(value, Component)}
    named = layer.variant.removeprefix("blocks.") if layer.variant.startswith("blocks.") else ""
    title = f"{side}layer{'' if len(indices) == 1 else 's'} {ranges(indices)}"
    text = summary(block, without=frozenset(own))
    yield title, f"{named}: {text}" if named else text
    tied = _tied(plan, layer.site.side, indices)
    if tied:
        yield " " * _INDENT + "weights", tied
    sites = {name: site for name, _, site in block.parts(layer.site)}
    for name, part in own.items():
        yield " " * _INDENT + name, summary(part)
        chosen = _backend(part, sites.get(name, layer.site))
        if chosen:
            yield " " * 2 * _INDENT + "computed by", chosen
        serving = serves(part, sites.get(name, layer.site))
        if serving:
            yield " " * 2 * _INDENT + "for a token", serving
        for inner, each, _ in part.parts(sites.get(name, layer.site)):
            if getattr(each, "scope", None) == "stack":
                yield " " * 2 * _INDENT + inner, f"{each.spec_name} made once, for all layers that say the same"


def serves(part: Component, at: Site) -> str:
    """What of a part serves a token, where that is not all of it."""
    ask = getattr(part, "serves", None)
    return (ask(at) if ask is not None else None) or ""


def _tied(plan: Plan, side: str, indices: list[int]) -> str:
    """Which of these layers use the weights of another."""
    stack = plan.stacks[side]
    users: dict[int, list[int]] = {}
    for index in indices:
        if stack[index].weights_of != index:
            users.setdefault(stack[index].weights_of, []).append(index)
    return "; ".join(f"{ranges(each)} use those of {first}" for first, each in users.items())


def _backend(part: Component, at: Site) -> str:
    """What will compute a mixer, by device where devices differ."""
    ask = getattr(part, "choice", None)
    if ask is None:
        return ""
    found: dict[str, str] = {}
    for device in ("cpu", "cuda"):
        try:
            chosen = ask(at, at.max_length or LENGTH, device)
        except ValueError as error:
            found[device] = f"nothing: {error}"
            continue
        if chosen is None:
            return ""
        found[device] = f"{chosen.name} ({chosen.reason})"
    if found["cpu"] == found["cuda"]:
        return found["cpu"]
    return f"{found['cpu']}{_SIGN}on CUDA {found['cuda']}"


def summary(part: Section, without: frozenset[str] = frozenset(), sign: str = _SIGN) -> str:
    """A part's type and the settings that its defaults do not already say."""
    facts = [part.spec_name] if isinstance(part, Component) else []
    for name, info in type(part).model_fields.items():
        if name in without:
            continue
        value = getattr(part, name)
        parted = isinstance(value, Section) or (isinstance(value, list) and any(isinstance(v, Section) for v in value))
        default = part.default(name)
        # Parts are named even where they are the default: a reader wants to see which they are.
        if parted or value != default:
            facts.append(fact(info.alias or name, value))
    return sign.join(facts)


def fact(name: str, value: Any) -> str:
    """A setting in words: `heads 8`, `bias`, `no affine`, `position rope (theta 500000)`."""
    if value is True:
        return name
    if value is False or value is None:
        return f"no {name}"
    if isinstance(value, list):
        return f"{name} {' + '.join(_short(item) for item in value)}"
    return f"{name} {_short(value)}"


def _short(value: Any) -> str:
    if isinstance(value, Component):
        inside = summary(value, sign=", ").removeprefix(value.spec_name).removeprefix(", ")
        return f"{value.spec_name} ({inside})" if inside else value.spec_name
    if isinstance(value, Section):
        return f"({summary(value, sign=', ')})"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)
