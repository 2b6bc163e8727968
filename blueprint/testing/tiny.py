"""The smallest spec with a place for a component, and the model it makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from blueprint.component import Component, Section
from blueprint.registry import member, members, names
from blueprint.schema.json_schema import required
from blueprint.schema.shape import Shape, fields
from blueprint.schema.spec import Spec

#: Tokens in the sequences the checks run, and the sizes of the model around the component.
LENGTH = 12
TINY: dict[str, Any] = {"d_model": 32, "layers": 2, "max_length": 32, "vocab_size": 61}


Path = tuple[str, ...]


@dataclass
class Case:
    """A component in a small spec."""

    kind: str
    name: str
    settings: Mapping[str, Any]
    said: dict[str, Any]

    @property
    def cls(self) -> type[Component]:
        """The component's class."""
        return member(self.kind, self.name)

    @cached_property
    def spec(self) -> Spec:
        """The spec, read as a user's would be."""
        from blueprint.load import load

        return load(self.said)

    @cached_property
    def model(self) -> Any:
        """The built model, evaluating, its parameters moved off their initial values (norms of 1 hide mistakes)."""
        import torch

        from blueprint.model.face import build

        model = build(self.spec)
        noise = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
        return model.eval()

    @property
    def reads_ids(self) -> bool:
        """Whether the model is given ids, which have an order and may be padded."""
        return self.spec.model.reads_ids

    @property
    def pooled(self) -> bool:
        """Whether the model gives one output for a whole sequence."""
        return self.spec.model.pooled

    @property
    def told(self) -> str:
        """The input of ids that the output tells of."""
        from blueprint.model.inputs import told_of

        name = told_of(self.spec.model)
        assert name is not None, "the model takes no ids"
        return name

    def inputs(self, ids: Any = None, seed: int = 1) -> dict[str, Any]:
        """What the model takes: `ids` (B, T), or random ones, where it tells of ids, and random others beside them."""
        import torch

        from blueprint.model.inputs import sample_inputs, told_of

        ids = self.ids(seed) if ids is None else ids
        drawn = sample_inputs(self.model.plan, *ids.shape, generator=torch.Generator().manual_seed(seed))
        told = told_of(self.spec.model)
        return drawn if told is None else {**drawn, told: ids}

    def ids(self, seed: int = 1, batch: int = 2, length: int = LENGTH) -> Any:
        """Random ids (B, T)."""
        import torch

        return torch.randint(TINY["vocab_size"], (batch, length), generator=torch.Generator().manual_seed(seed))


def tiny(kind: str, name: str, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The smallest spec, as a dict, that holds the component; raises ValueError where no slot admits its kind."""
    cls = member(kind, name)
    said: dict[str, Any] = {}
    _put(said, "sample", None)
    path, types = _route(kind)
    usual = cls.beside.get("model.type", types.get(("model",), next(iter(names("model")))))
    model = name if path == ("model",) else usual
    for step, chosen in {**types, ("model",): model}.items():
        _put(said, f"{'.'.join(step)}.type", chosen)
    for length in range(1, len(path)):
        _require(said, path[:length])
    _put(said, ".".join(path), {"type": name, **(settings or cls.examples()[0])})
    for stack, of in _stacks(("model",), member("model", model)):
        for key, value in _bounds(of).items():
            _put(said, f"{'.'.join(stack)}.{key}", value)
        _require(said, (*stack, "block", "attention"))
        _require(said, (*stack, "embedding"))
    for key in required(member("model", model)):
        _require(said, ("model", key))
    for where, value in cls.beside.items():
        _put(said, where, value)
    return said


def stacks(said: Mapping[str, Any]) -> list[str]:
    """The key paths of the stacks of a spec: `model`, or those of its towers."""
    return [".".join(path) for path, _ in _stacks(("model",), member("model", said["model"]["type"]))]


def _stacks(path: tuple[str, ...], cls: type[Section]) -> Iterator[tuple[tuple[str, ...], type[Section]]]:
    """The sections at or below a model that have a width, and so layers, of their own."""
    if "d_model" in fields(cls):
        yield path, cls
        return
    for key, shape in fields(cls).items():
        if shape.form == "section" and shape.cls is not None:
            yield from _stacks((*path, key), shape.cls)


def _bounds(cls: type[Section]) -> dict[str, Any]:
    """The sizes of a small stack; what takes no ids has no vocabulary, and says its length itself."""
    embedding = fields(cls)["embedding"].member_of(None)
    ids = getattr(embedding, "takes", "input_ids") == "input_ids"
    return {key: value for key, value in TINY.items() if ids or key not in ("max_length", "vocab_size")}


def place(kind: str) -> tuple[str, ...]:
    """The key path of the shallowest slot of `kind`, looking through default types first, then through all types."""
    return _route(kind)[0]


def _route(kind: str) -> tuple[Path, dict[Path, str]]:
    """The path of the shallowest slot of a kind, and the types that slots on the way there must say."""
    for everything in (False, True):
        queue: list[tuple[Path, dict[Path, str], type[Section]]] = [((), {}, Spec)]
        seen: set[type[Section]] = set()
        while queue:
            path, types, cls = queue.pop(0)
            for key, shape in fields(cls).items():
                if shape.form == "slot" and shape.kind == kind:
                    return (*path, key), types
            for key, shape in fields(cls).items():
                for inner in _inner(shape, everything or cls is Spec):
                    if inner not in seen:
                        seen.add(inner)
                        said = {(*path, key): inner.spec_name} if shape.form == "slot" else {}  # type: ignore[attr-defined]
                        queue.append(((*path, key), types | said, inner))
    raise ValueError(f"no slot of any spec takes a {kind}")


def _inner(shape: Shape, everything: bool) -> Iterator[type[Section]]:
    if shape.form == "section" and shape.cls is not None:
        yield shape.cls
    elif shape.form == "slot":
        default = shape.member_of(None)
        if default is not None:
            yield default
        if everything:
            yield from (each for each in members(shape.kind) if each is not default)


def _put(said: dict[str, Any], path: str, value: Any) -> None:
    *steps, last = path.split(".")
    for step in steps:
        said = said.setdefault(step, {})
    said[last] = value


def _require(said: dict[str, Any], path: tuple[str, ...]) -> None:
    """Give the part at `path` an example value for each field it requires."""
    cls: type[Section] | None = Spec
    node = said
    for step in path:
        shape = fields(cls).get(step) if cls is not None else None
        if shape is None:
            return
        inner = node.setdefault(step, {})
        if isinstance(inner, str) or not isinstance(inner, dict):
            return
        node = inner
        if "type" in node and shape.form == "slot":
            cls = member(shape.kind, node["type"])
        else:
            cls = shape.member_of(None) or next(_inner(shape, True), None)
            if cls is not None and shape.form == "slot" and issubclass(cls, Component) and shape.default is None:
                node["type"] = cls.spec_name
    if cls is not None and issubclass(cls, Component):
        required = [info.alias or name for name, info in cls.model_fields.items() if info.is_required()]
        for key in required:
            node.setdefault(key, cls.examples()[0][key])
