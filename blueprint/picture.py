"""A picture of an architecture: data flows upwards, equal layers are drawn once, beside them the whole depth."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from blueprint.component import Component, Site
from blueprint.render import groups, outside, ranges, serves, side_facts, summary, wrapped

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

    @property
    def height(self) -> float:
        own = _LINE * (1 + len(self.lines)) + 2 * _PAD
        return own + sum(box.height + _GAP for box in self.inside) + (_PAD if self.inside else 0)


@dataclass(frozen=True)
class _Link:
    """What goes from a box not to the next one but round it to others, by their places."""

    start: int
    ends: list[int]
    name: str = ""


def picture(plan: Plan, form: str = "png", note: str = "") -> bytes:
    """The architecture as a PNG or an SVG; `note` stands below the name (what it costs, say)."""
    from matplotlib.figure import Figure

    boxes, links, colours = _boxes(plan)
    sizes = [*wrapped(_sizes(plan), 110), *filter(None, [note])]
    height = sum(box.height + _GAP + (_ENTRY if box.enters else 0) for box in boxes) + 1.45 + 0.2 * len(sizes)
    figure = Figure(figsize=(_WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, _WIDTH)
    axes.set_ylim(0, height)
    axes.axis("off")
    _stack(axes, boxes, links)
    _depth(axes, plan, colours, height - 0.95 - 0.2 * len(sizes))
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
    layers = f"{plan.model.spec_name}, {sum(map(len, plan.stacks.values()))} layers"
    return " · ".join([layers, *side_facts(plan, _numbers), f"plan {plan.hash}"])


def _numbers(site: Site) -> list[str]:
    facts = (
        f"d_model {site.d_model}",
        f"vocabulary {site.vocab_size:,}" if site.vocab_size else "",
        f"up to {site.max_length:,} tokens" if site.max_length else "",
        "causal" if site.causal else "bidirectional",
    )
    return [fact for fact in facts if fact]


def _boxes(plan: Plan) -> tuple[list[_Box], list[_Link], dict[tuple[str, int], str]]:
    """The boxes from the bottom up, what goes round others, and the colour of every layer."""
    boxes: list[_Box] = []
    links: list[_Link] = []
    colours: dict[tuple[str, int], str] = {}
    each = groups(plan)
    several = len(plan.stacks) > 1
    words = ["tokens" if shape is None else "images" for shape in plan.model.inputs().values()]
    entering = iter(words)
    tops: list[int] = []
    for below, side, above in outside(plan):
        start, readers = len(boxes), []
        boxes += [_part(name, part, 78) for name, part in below if part.kind != "init"]
        own = [(number, indices, layer) for number, (of, indices, layer) in enumerate(each) if of == side]
        alternates = any("," in ranges(indices) for _, indices, _ in own)
        for place, (number, indices, layer) in enumerate(own):
            colour = _LAYERS[number % len(_LAYERS)]
            colours |= {(side, index): colour for index in indices}
            if place < _MOST:
                if any(site.across for _, _, site in layer.block.parts(layer.site)):
                    readers.append(len(boxes))
                boxes.append(_group(f"{side} " if several else "", indices, layer, colour, alternates))
        if len(own) > _MOST:
            boxes.append(_Box(f"and {len(own) - _MOST} more kinds of layers"))
        boxes += [_part(name, part, 78) for name, part in above if part.kind != "init"]
        if below:
            word = next(entering)
            boxes[start].enters = f"{side}'s {word}" if words.count(word) > 1 else word
            # A side that begins with an input of its own does not go on from the one below it.
            if start:
                tops.append(start - 1)
        if readers and tops:
            links.append(_Link(tops.pop(), readers, "memory"))
    # What no other side reads goes to where the sides meet.
    return boxes, [*links, *(_Link(top, [len(boxes) - 1]) for top in tops)], colours


def _part(name: str, part: Component, width: int, serving: str = "") -> _Box:
    kind, *facts = summary(part).split(" · ")
    lines = [f"for a token: {serving}"] if serving else []
    lines += wrapped(" · ".join(facts), width)
    return _Box(f"{name.replace('_', ' ')}: {kind}", lines, _COLOURS.get(part.kind, _OTHER))


def _group(side: str, indices: list[int], layer: PlanLayer, colour: str, alternates: bool) -> _Box:
    block = layer.block
    own = {name: part for name in type(block).model_fields if isinstance(part := getattr(block, name), Component)}
    kind, *facts = summary(block, without=frozenset(own)).split(" · ")
    main = [(name, part) for name, part in own.items() if part.kind not in _BESIDE]
    sites = {name: site for name, _, site in block.parts(layer.site)}
    inside = [_part(name, part, 58, serves(part, sites.get(name, layer.site))) for name, part in main]
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


def _stack(axes: Axes, boxes: list[_Box], links: list[_Link]) -> None:
    bottom = 0.75 - _ENTRY
    middle = (_LEFT + _RIGHT) / 2
    starts = {link.start for link in links}
    centres: list[float] = []
    for index, (box, above) in enumerate(zip(boxes, [*boxes[1:], None], strict=True)):
        if box.enters:
            axes.text(middle, bottom + _ENTRY - 0.47, box.enters, fontsize=9, ha="center", va="center", style="italic")
            _arrow(axes, middle, bottom + _ENTRY - 0.33, bottom + _ENTRY)
            bottom += _ENTRY
        _draw(axes, box, _LEFT, _RIGHT, bottom)
        centres.append(bottom + box.height / 2)
        # Layers that alternate have no one order: the column of the depth shows it.
        if index not in starts and not (box.alternates and above is not None and above.alternates):
            _arrow(axes, middle, bottom + box.height, bottom + box.height + _GAP)
        bottom += box.height + _GAP
    for link in links:
        _round(axes, link, centres)
    axes.text(middle, bottom + 0.12, "output", fontsize=9, ha="center", va="center", style="italic")


def _round(axes: Axes, link: _Link, centres: list[float]) -> None:
    """A line on the right, past the boxes between."""
    edge, start = _RIGHT + 0.15, centres[link.start]
    axes.plot([_RIGHT, edge, edge], [start, start, centres[link.ends[-1]]], color="#555555", linewidth=0.9)
    style = {"arrowstyle": "-|>", "color": "#555555", "lw": 0.9}
    for end in link.ends:
        axes.annotate("", xy=(_RIGHT, centres[end]), xytext=(edge, centres[end]), arrowprops=style)
    middle = (start + centres[link.ends[0]]) / 2
    axes.text(edge + 0.09, middle, link.name, fontsize=7.5, ha="center", va="center", rotation=90, style="italic")


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
        title = "depth" if len(plan.stacks) == 1 else side
        axes.text(x + width / 2, bottom + len(stack) * cell + 0.12, title, fontsize=7, ha="center", color="#555555")
