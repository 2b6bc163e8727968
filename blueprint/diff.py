"""What two specs differ in, as a person thinks of it: the network, how it begins, how it learns, and the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from blueprint.plan import Plan, plan
from blueprint.render import ranges
from blueprint.schema.spec import Spec

#: Keys of a spec by what they bear on; keys of sections come before the sections that hold them.
_COSMETIC = ("name", "description", "checkpoint", "sample", "trainer.log_every_n_steps", "data.workers")
_INITIAL = ("seed", "start")
#: Fields of components that act while training only.
_TRAINING_FIELDS = frozenset({"dropout"})

ABSENT = "absent"


@dataclass(frozen=True)
class Change:
    """One difference: where, and what stands there in either spec."""

    where: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{said(self.before)} → {said(self.after)}"


@dataclass(frozen=True)
class Transfer:
    """Whether the weights of one model fit the other: `yes`, `partly` or `no`, and the parameters that do not by name.

    Names of the same parameter in several layers are told together; counts are 0 where the networks are the same.
    """

    answer: str
    same: int
    total: int
    reshaped: tuple[str, ...] = ()
    only_before: tuple[str, ...] = ()
    only_after: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.answer == "yes":
            return "yes: every parameter has the same name and shape"
        lines = [f"{self.answer}: {self.same} of {self.total} parameters have the same name and shape"]
        for title in ("reshaped", "only_before", "only_after"):
            lines += [f"  {title.replace('_', ' '):<12} {name}" for name in getattr(self, title)]
        return "\n".join(lines)


@dataclass(frozen=True)
class Diff:
    """The differences between two specs, sorted by what they bear on."""

    architecture: tuple[Change, ...]
    initialisation: tuple[Change, ...]
    training: tuple[Change, ...]
    cosmetic: tuple[Change, ...]
    weights: Transfer

    @property
    def groups(self) -> dict[str, tuple[Change, ...]]:
        """The changes by the name of their group."""
        return {name: getattr(self, name) for name in ("architecture", "initialisation", "training", "cosmetic")}

    def to_plain(self) -> dict[str, Any]:
        """The differences as JSON-ready values."""
        return {
            **{name: [asdict(change) for change in changes] for name, changes in self.groups.items()},
            "weights": asdict(self.weights),
        }

    def __str__(self) -> str:
        lines: list[str] = []
        for name, changes in self.groups.items():
            lines.append(name if changes else f"{name}: the same")
            width = max((len(change.where) for change in changes), default=0)
            lines += [f"  {change.where:<{width}}  {change}" for change in changes]
        return "\n".join([*lines, f"weights transfer: {self.weights}"])


def diff(before: Spec, after: Spec) -> Diff:
    """Compare two specs by what they mean, not by how they are written."""
    plans = plan(before), plan(after)
    model = list(_model_changes(*plans))
    trained = [change for change in model if re.split(r"[. ]", change.where)[-1] in _TRAINING_FIELDS]
    initial = [change for change in model if change.where.split(".")[0] == "init"]
    kept = {change.where for change in _model_changes(*plans, means=False)}
    means = [change for change in model if change.where not in kept]
    network = tuple(change for change in model if not any(change in each for each in (trained, initial, means)))
    rest = [Change(where, a, b) for where, a, b in _differences(_unmodelled(before), _unmodelled(after))]
    of = {change.where: _group(change.where) for change in rest}
    return Diff(
        network,
        (*initial, *(change for change in rest if of[change.where] == "initialisation")),
        (*trained, *(change for change in rest if of[change.where] == "training")),
        (*means, *(change for change in rest if of[change.where] == "cosmetic")),
        # The same network needs not be built to know that its weights fit.
        _transfer(*plans) if network else Transfer("yes", 0, 0),
    )


def _group(where: str) -> str:
    for group, keys in (("cosmetic", _COSMETIC), ("initialisation", _INITIAL)):
        if any(where == key or where.startswith(f"{key}.") for key in keys):
            return group
    return "training"


def _unmodelled(spec: Spec) -> dict[str, Any]:
    return {key: value for key, value in spec.to_plain().items() if key not in ("model", "blueprint")}


def _model_changes(before: Plan, after: Plan, means: bool = True) -> Iterator[Change]:
    """The differences of two models, those of many layers told once."""
    a, b = before.to_plain(means=means), after.to_plain(means=means)
    stacks = a.pop("stacks"), b.pop("stacks")
    for where, old, new in _differences(a, b):
        yield Change(where, old, new)
    for side in dict.fromkeys([*stacks[0], *stacks[1]]):
        lead = f"{side} " if len(stacks[0]) > 1 or len(stacks[1]) > 1 else ""
        yield from _layer_changes(lead, stacks[0].get(side, []), stacks[1].get(side, []))


def _layer_changes(lead: str, before: list[Any], after: list[Any]) -> Iterator[Change]:
    found: dict[str, tuple[list[int], str, Any, Any]] = {}
    for index, (old, new) in enumerate(zip(before, after, strict=False)):
        for where, a, b in _differences(old, new):
            found.setdefault(repr((where, a, b)), ([], where, a, b))[0].append(index)
    for indices, where, a, b in found.values():
        # A layer of another type has no path below it.
        yield Change(f"{lead}{_layers(indices)} {where}".rstrip(), a, b)
    for first, stop, old, new in (
        (len(after), len(before), "present", ABSENT),
        (len(before), len(after), ABSENT, "present"),
    ):
        if first < stop:
            yield Change(f"{lead}{_layers([*range(first, stop)])}", old, new)


def _layers(indices: list[int]) -> str:
    return f"layer{'' if len(indices) == 1 else 's'} {ranges(indices)}"


def _differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(where, before, after) of every leaf that differs; parts of different types differ as a whole."""
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping) and before.get("type") == after.get("type"):
        for key in dict.fromkeys([*before, *after]):
            inner = f"{path}.{key}" if path else str(key)
            yield from _differences(before.get(key, ABSENT), after.get(key, ABSENT), inner)
    else:
        yield path, before, after


def said(value: Any) -> str:
    """A value on one line: a part by its type and the settings inside it."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key} {said(item)}" for key, item in value.items() if key != "type")
        name = str(value.get("type", ""))
        short = inside if len(inside) <= 60 else inside[:57] + "…"
        return f"{name} ({short})".strip() if inside else name
    if isinstance(value, list):
        return "[" + ", ".join(map(said, value)) + "]"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def _transfer(before: Plan, after: Plan) -> Transfer:
    """Compare the parameters of both models, built without weights."""
    from blueprint.model.build import build_plan

    a, b = (
        {name: tuple(tensor.shape) for name, tensor in build_plan(each, device="meta").state_dict().items()}
        for each in (before, after)
    )
    same = sum(a[name] == b[name] for name in a.keys() & b.keys())
    total = len(a.keys() | b.keys())
    return Transfer(
        "yes" if same == total else "partly" if same else "no",
        same,
        total,
        tuple(_folded({name: f"{a[name]} → {b[name]}" for name in a if name in b and a[name] != b[name]})),
        tuple(_folded({name: f"{shape}" for name, shape in a.items() if name not in b})),
        tuple(_folded({name: f"{shape}" for name, shape in b.items() if name not in a})),
    )


def _folded(names: dict[str, str]) -> Iterator[str]:
    """Parameter names with what is said of them, equal layers together: `layers.{0–3}.attention.q.weight`."""
    found: dict[tuple[str, str], list[int]] = {}
    for name, text in names.items():
        layer = re.search(r"(?<=layers\.)\d+", name)
        pattern = name if layer is None else f"{name[: layer.start()]}{{}}{name[layer.end() :]}"
        found.setdefault((pattern, text), []).extend([] if layer is None else [int(layer[0])])
    for (pattern, text), indices in found.items():
        which = ranges(indices) if len(indices) == 1 else f"{{{ranges(indices)}}}"
        yield f"{pattern.replace('{}', which)} {text}"
