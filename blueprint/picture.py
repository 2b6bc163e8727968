"""A picture of an architecture: data flows upwards, equal layers are drawn once, beside them the whole depth."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from blueprint.component import Component, Site
from blueprint.render import groups, outside, ranges, summary, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from blueprint.plan import Plan, PlanLayer

#: Kinds that stand beside a part rather than on the way.
_BESIDE = frozenset({"norm", "residual"})
_COLOURS = {
    "embedding": "#f6c6c0",
    "attention": "#f9ddb1",
    "feed_forward": "#bfe0ea",
    "norm": "#f4f1b8",
    "head": "#cfd6f2",
}
_OTHER = "#e3e3e3"
_LAYERS = ("#7c9cc4", "#d09a6a", "#86b08a", "#b58abf", "#c4b15c", "#7bb8b8", "#c77f86", "#8f8f8f")
#: Groups drawn; of a network with more kinds of layers the others are only counted.
_MOST = 8

_WIDTH, _LEFT, _RIGHT, _GAP = 8.4, 1.5, 8.1, 0.28
_LINE, _PAD = 0.19, 0.11
#: Room below a box for the name of what enters it.
_ENTRY = 0.5


@dataclass
class _Box:
    """A rectangle with a bold first line; a group holds others, the lowest first."""

    title: str
    lines: list[str] = field(default_factory=list)
    colour: str = _OTHER
    inside: list[_Box] = field(default_factory=list)
    beside: str = ""
    alternates: bool = False
    #: What comes in here from outside, rather than from the box below.
    enters: str = ""
    #: Whether what it gives goes not to the box above but to where the sides meet.
    leaves: bool = False

    @property
    def height(self) -> float:
        own = _LINE * (1 + len(self.lines)) + 2 * _PAD
        return own + sum(box.height + _GAP for box in self.inside) + (_PAD if self.inside else 0)


def picture(plan: Plan, form: str = "png", note: str = "") -> bytes:
    """The architecture as a PNG or an SVG; `note` stands below the name (what it costs, say)."""
    from matplotlib.figure import Figure

    boxes, colours = _boxes(plan)
    sizes = [*wrapped(_sizes(plan), 110), *filter(None, [note])]
    height = sum(box.height + _GAP + (_ENTRY if box.enters else 0) for box in boxes) + 1.7 + 0.2 * len(sizes)
    figure = Figure(figsize=(_WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, _WIDTH)
    axes.set_ylim(0, height)
    axes.axis("off")
    _stack(axes, boxes)
    _depth(axes, plan, colours, height - 1.05 - 0.2 * len(sizes))
    axes.text(_LEFT, height - 0.35, plan.name, fontsize=15, fontweight="bold", va="center")
    for index, text in enumerate(sizes):
        axes.text(_LEFT, height - 0.62 - 0.2 * index, text, fontsize=8, color="#555555", va="center")
    return _saved(figure, form)


def _saved(figure: Figure, form: str) -> bytes:
    from matplotlib import rc_context

    out = io.BytesIO()
    # Without dates and random ids the same plan gives the same file.
    with rc_context({"svg.hashsalt": "blueprint"}):
        figure.savefig(out, format=form, dpi=130, metadata={"Date": None} if form == "svg" else None)
    return out.getvalue()


def _sizes(plan: Plan) -> str:
    sites = plan.model.sides(plan.site)
    own = {side: " · ".join(_numbers(site)) for side, site in sites.items()}
    each = [next(iter(own.values()))] if len(set(own.values())) == 1 else [f"{side}: {own[side]}" for side in own]
    layers = f"{plan.model.spec_name}, {sum(map(len, plan.stacks.values()))} layers"
    return " · ".join([layers, *each, f"plan {plan.hash}"])


def _numbers(site: Site) -> list[str]:
    facts = (
        f"d_model {site.d_model}",
        f"vocabulary {site.vocab_size:,}" if site.vocab_size else "",
        f"up to {site.max_length:,} tokens" if site.max_length else "",
        "causal" if site.causal else "bidirectional",
    )
    return [fact for fact in facts if fact]


def _boxes(plan: Plan) -> tuple[list[_Box], dict[tuple[str, int], str]]:
    """The boxes from the bottom up, and the colour of every layer."""
    boxes: list[_Box] = []
    colours: dict[tuple[str, int], str] = {}
    each = groups(plan)
    alternates = any("," in ranges(indices) for _, indices, _ in each)
    entering = iter("tokens" if name == "input_ids" else "images" for name in plan.model.inputs())
    for below, side, above in outside(plan):
        start = len(boxes)
        boxes += [_part(name, part, 78) for name, part in below if part.kind != "init"]
        for number, (of, indices, layer) in enumerate(each):
            if of != side:
                continue
            colour = _LAYERS[number % len(_LAYERS)]
            colours |= {(side, index): colour for index in indices}
            if number < _MOST:
                boxes.append(_group(f"{side} " if len(plan.stacks) > 1 else "", indices, layer, colour, alternates))
        more = sum(of == side for of, _, _ in each[_MOST:])
        if more:
            boxes.append(_Box(f"and {more} more kinds of layers"))
        boxes += [_part(name, part, 78) for name, part in above if part.kind != "init"]
        if below:
            boxes[start].enters = next(entering)
            # A side that begins with an input of its own does not go on from the one below it.
            if start:
                boxes[start - 1].leaves = True
    return boxes, colours


def _part(name: str, part: Component, width: int) -> _Box:
    kind, *facts = summary(part).split(" · ")
    lines = wrapped(" · ".join(facts), width)
    return _Box(f"{name.replace('_', ' ')}: {kind}", lines, _COLOURS.get(part.kind, _OTHER))


def _group(side: str, indices: list[int], layer: PlanLayer, colour: str, alternates: bool) -> _Box:
    block = layer.block
    own = {name: part for name in type(block).model_fields if isinstance(part := getattr(block, name), Component)}
    kind, *facts = summary(block, without=frozenset(own)).split(" · ")
    main = [(name, part) for name, part in own.items() if part.kind not in _BESIDE]
    inside = [_part(name, part, 58) for name, part in main]
    chips: dict[str, list[str]] = {}
    for name, part in own.items():
        if part.kind in _BESIDE:
            target = next((other for other, _ in main if name.startswith(other)), "")
            said = summary(part, sign=", ").replace(", ", " (", 1) + (")" if ", " in summary(part, sign=", ") else "")
            chips.setdefault(target, []).append(f"{part.kind} {said}")
    for (name, _), box in zip(main, inside, strict=True):
        box.beside = "\n".join(chips.pop(name, []))
    facts += [each for rest in chips.values() for each in rest]
    named = layer.variant.removeprefix("blocks.") if layer.variant.startswith("blocks.") else ""
    which = f"{side}layer{'' if len(indices) == 1 else 's'} {ranges(indices)}"
    title = " · ".join(filter(None, (which, named, f"×{len(indices)}" if len(indices) > 1 else "", kind)))
    return _Box(title, wrapped(" · ".join(facts), 78), colour, inside, alternates=alternates)


def _stack(axes: Axes, boxes: list[_Box]) -> None:
    bottom = 0.75
    middle = (_LEFT + _RIGHT) / 2
    bottom -= _ENTRY
    tops: list[float] = []
    for box, above in zip(boxes, [*boxes[1:], None], strict=True):
        if box.enters:
            axes.text(middle, bottom + _ENTRY - 0.47, box.enters, fontsize=9, ha="center", va="center", style="italic")
            _arrow(axes, middle, bottom + _ENTRY - 0.33, bottom + _ENTRY)
            bottom += _ENTRY
        _draw(axes, box, _LEFT, _RIGHT, bottom)
        # Layers that alternate have no one order: the column of the depth shows it.
        if box.leaves:
            tops.append(bottom + box.height / 2)
        elif not (box.alternates and above is not None and above.alternates):
            _arrow(axes, middle, bottom + box.height, bottom + box.height + _GAP)
        bottom += box.height + _GAP
    for start in tops:
        end = bottom - _GAP - boxes[-1].height / 2
        axes.plot([_RIGHT, _RIGHT + 0.15, _RIGHT + 0.15], [start, start, end], color="#555555", linewidth=0.9)
        style = {"arrowstyle": "-|>", "color": "#555555", "lw": 0.9}
        axes.annotate("", xy=(_RIGHT, end), xytext=(_RIGHT + 0.15, end), arrowprops=style)
    axes.text(middle, bottom + 0.12, "output", fontsize=9, ha="center", va="center", style="italic")


def _draw(axes: Axes, box: _Box, left: float, right: float, bottom: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    holds = bool(box.inside)
    style: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=0.08", "linewidth": 1.4 if holds else 0.8}
    colours: dict[str, Any] = (
        {"facecolor": "#fbfbfb", "edgecolor": box.colour}
        if holds
        else {"facecolor": box.colour, "edgecolor": "#777777"}
    )
    axes.add_patch(FancyBboxPatch((left, bottom), right - left, box.height, **style, **colours))
    top = bottom + box.height - _PAD - _LINE / 2
    axes.text(left + 0.14, top, box.title, fontsize=8.5, fontweight="bold", va="center")
    for index, line in enumerate(box.lines):
        axes.text(left + 0.14, top - _LINE * (index + 1), line, fontsize=7.5, va="center", color="#333333")
    inner = bottom + _GAP
    for child in box.inside:
        edge = right - (1.75 if child.beside else 0.3)
        _draw(axes, child, left + 0.3, edge, inner)
        if child.beside:
            middle = inner + child.height / 2
            axes.text(edge + 0.1, middle, child.beside, fontsize=7, va="center", color="#333333")
        inner += child.height + _GAP


def _arrow(axes: Axes, x: float, start: float, end: float) -> None:
    axes.annotate("", xy=(x, end), xytext=(x, start), arrowprops={"arrowstyle": "-|>", "color": "#555555", "lw": 0.9})


def _depth(axes: Axes, plan: Plan, colours: dict[tuple[str, int], str], top: float) -> None:
    """A column with a cell for every layer, in the colour of its group."""
    from matplotlib.patches import Rectangle

    bottom, left, width = 0.75, 0.55, 0.42
    for number, (side, stack) in enumerate(plan.stacks.items()):
        cell = (top - bottom) / max(1, len(stack))
        cell = min(cell, 0.5)
        x = left - number * 0.5
        for index in range(len(stack)):
            face = colours[side, index]
            axes.add_patch(
                Rectangle((x, bottom + index * cell), width, cell, facecolor=face, edgecolor="white", linewidth=0.6)
            )
            if len(stack) <= 48 or index in (0, len(stack) - 1):
                size = min(7.0, cell * 40)
                axes.text(
                    x + width / 2,
                    bottom + (index + 0.5) * cell,
                    str(index),
                    fontsize=size,
                    ha="center",
                    va="center",
                    color="white",
                )
        axes.text(x + width / 2, bottom + len(stack) * cell + 0.12, "depth", fontsize=7, ha="center", color="#555555")
