"""A checkpoint's `config.json`: its values, and where each is written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blueprint.diagnosis import Problem, SpecError
from blueprint.interop.expression import said
from blueprint.load.reader import MAX_BYTES, MAX_DEPTH, MAX_NODES, scan, source_of
from blueprint.tree import Map, Source, Span, find, from_plain

NAME = "config.json"
Path_ = tuple[str | int, ...]


class FamilyError(SpecError):
    """A family or a checkpoint's config that cannot be used; as `SpecError`."""

    about = "1 family"


@dataclass(frozen=True)
class Config:
    """A config as it was read: plain values, and the tree that says where each is written."""

    plain: dict[str, Any]
    root: Map

    @property
    def source(self) -> Source:
        """The file it came from."""
        return self.root.span.source

    def span(self, path: Path_) -> Span:
        """Where a field, or the nearest thing above it, is written."""
        node, entry, _ = find(self.root, tuple(map(str, path)))
        return entry.span if entry is not None else node.span

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Config:
        """A config from plain values, without places."""
        root = from_plain(dict(values), Span(Source(NAME)))
        assert isinstance(root, Map)
        return cls(dict(values), root)


def read_config(path: str | Path) -> Config:
    """Read `config.json`, given as the file or its folder; raises FamilyError for what is no readable JSON map."""
    file = Path(path)
    if file.is_dir():
        file = file / NAME
    source = Source(str(file))
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        fix = "give the folder of a checkpoint, with config.json and safetensors"
        raise _refused("missing-file", "no such file", Span(source), fix) from None
    except UnicodeDecodeError:
        raise _refused("encoding", "this is not UTF-8", Span(source)) from None
    except OSError as error:
        raise _refused("missing-file", f"cannot be read: {error.strerror or error}", Span(source)) from None
    if len(data) > MAX_BYTES:
        raise _refused("too-large", f"a config has at most {MAX_BYTES // 1_000_000} MB", Span(source))
    return parse_config(text, str(file))


def parse_config(text: str, name: str = NAME) -> Config:
    """A config from JSON; raises FamilyError, with line and column where JSON ends to make sense."""
    source = source_of(text, name)
    repeated: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) < len(found):
            counts = Counter(key for key, _ in found)
            repeated.extend(key for key, count in counts.items() if count > 1)
        return made

    try:
        values = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise _refused("syntax", f"this is no JSON: {error.msg}", Span(source, error.lineno, error.colno)) from None
    except RecursionError:
        raise _refused("too-deep", f"a config nests at most {MAX_DEPTH} deep", Span(source)) from None
    except ValueError as error:
        raise _refused("number", str(error).splitlines()[0].split(";")[0], Span(source)) from None
    if not isinstance(values, dict):
        raise _refused("not-a-map", f"a config is a map of fields, not {said(values)}", Span(source))
    if repeated:
        raise _refused("duplicate-key", f"`{repeated[0]}` is given twice in one map", Span(source), "remove one")
    depth, size = _extent(values)
    if depth > MAX_DEPTH:
        raise _refused("too-deep", f"a config nests at most {MAX_DEPTH} deep", Span(source))
    if size > MAX_NODES:
        raise _refused("too-large", f"a config has at most {MAX_NODES:,} values, this one {size:,}", Span(source))
    # JSON is YAML but for oddities such as tabs; the places are worth having, and nothing else depends on them.
    tree = scan(text, source).node
    if not isinstance(tree, Map):
        tree = from_plain(values, Span(source))
    assert isinstance(tree, Map)
    return Config(values, tree)


def _refused(code: str, message: str, span: Span, fix: str | None = None) -> FamilyError:
    return FamilyError([Problem(code, message, span=span, fix=fix)])


def _extent(value: Any) -> tuple[int, int]:
    """How deep a value nests, and how many values are in it."""
    deepest, size, stack = 0, 0, [(value, 1)]
    while stack:
        item, depth = stack.pop()
        deepest, size = max(deepest, depth), size + 1
        if isinstance(item, dict | list):
            stack += [(inner, depth + 1) for inner in (item.values() if isinstance(item, dict) else item)]
    return deepest, size
