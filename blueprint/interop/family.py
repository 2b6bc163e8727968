"""Family files: one YAML for each Hugging Face family, read with positions; found by what a config says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from blueprint.diagnosis import Problem, nearest
from blueprint.interop import outline
from blueprint.interop.config import Config, FamilyError
from blueprint.interop.env import expressions
from blueprint.interop.expression import Expression, ExpressionFault, parse, same
from blueprint.interop.layered import extended, read_map
from blueprint.interop.outline import RULE_KEYS
from blueprint.load.dump import dump
from blueprint.load.extends import shipped
from blueprint.tree import Entry, Map, Scalar, Seq, leaves, plain

__all__ = ["RULE_KEYS", "Config", "Family", "FamilyError", "families", "find_family", "read_family"]

_DOCS = "docs/families.md"
#: What every family takes to be without effect.
COMMON = "_common"


@dataclass(frozen=True)
class Family:
    """A family: how its configs are told, the template of its specs, and the rules for its tensors, as tree nodes."""

    name: str
    path: str
    text_hash: str
    root: Map
    common: Map = field(repr=False)

    def _map(self, key: str) -> Map:
        node = self.root.get(key)
        return node if isinstance(node, Map) else Map({}, self.root.span)

    @property
    def text(self) -> str:
        """The family as a file that extends no other."""
        lines = self.root.span.source.lines
        extends = any(line.startswith("extends:") for line in lines)
        return dump(plain(self.root)) if extends else "\n".join(lines)

    @property
    def match(self) -> Map:
        """What a config says that is of this family."""
        return self._map("match")

    @property
    def description(self) -> str:
        """What the family is, in a few words."""
        return str(plain(self.root.get("description") or Scalar("", self.root.span)))

    @property
    def defaults(self) -> Map:
        """What holds where a config leaves a field out."""
        return self._map("defaults")

    @cached_property
    def aliases(self) -> dict[str, tuple[str, ...]]:
        """Older spellings of fields, by dotted name."""
        found = plain(self._map("aliases"))
        return {key: (value,) if isinstance(value, str) else tuple(value) for key, value in found.items()}

    @property
    def inert(self) -> Map:
        """Fields without effect at some values: the family's own, and those of all families."""
        common = _part(self.common, "inert")
        parts = {f"*_config.{key}": entry for key, entry in common.items()}  # a config within may say them again
        return Map({**common, **parts, **self._map("inert").entries}, self.root.span)

    @property
    def let(self) -> Map:
        """Names for expressions: those of all families, and the family's own."""
        return Map({**_part(self.common, "let"), **self._map("let").entries}, self.root.span)

    @property
    def templates(self) -> Map:
        """Pieces of templates by name: those of all families, and the family's own."""
        return Map({**_part(self.common, "templates"), **self._map("templates").entries}, self.root.span)

    @property
    def model(self) -> Map:
        """The template of a spec's model section."""
        return self._map("model")

    @property
    def weights(self) -> Map:
        """Rules for tensors: names of ours, and what is said of them."""
        return self._map("weights")

    @property
    def tied(self) -> Map:
        """Names of theirs that may be in a file as copies, and what they are copies of."""
        return self._map("tied")

    @property
    def drop(self) -> Map:
        """Names of theirs that may be in a file and carry nothing, and why."""
        return self._map("drop")

    @property
    def layouts(self) -> Seq | None:
        """Sets of names that stand for parts of tensor names, to be told apart by what a file holds."""
        node = self.root.get("layouts")
        return node if isinstance(node, Seq) else None

    def matches(self, config: Config) -> bool:
        """Whether a config is of this family."""
        for key, entry in self.match.entries.items():
            value = _at(config, key)
            allowed = plain(entry.value)
            if not any(same(value, each) for each in (allowed if isinstance(allowed, list) else [allowed])):
                return False
        return True

    def fields(self) -> Iterator[str]:
        """The fields of a config that the family speaks of, by their first word."""
        for part in (self.model, self._map("let"), self._map("templates"), self.weights, self.defaults):
            for _, leaf in leaves(part):
                for expression in _parsed(leaf):
                    for name in expression.names():
                        if name.steps[0] == "hf" and len(name.steps) > 1 and isinstance(name.steps[1], str):
                            yield name.steps[1]
        for key in (*self.defaults.entries, *self._map("inert").entries, *self.aliases):
            yield key.split(".")[0]


def _part(node: Map, key: str) -> dict[str, Entry]:
    inner = node.get(key)
    return inner.entries if isinstance(inner, Map) else {}


def _at(config: Config, key: str) -> object:
    value: object = config.plain
    for step in key.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _parsed(leaf: Scalar) -> Iterator[Expression]:
    if not isinstance(leaf.value, str):
        return
    try:
        if "${" in leaf.value:
            yield from (expression for _, _, expression in expressions(leaf.value))
        elif "hf." in leaf.value:
            yield parse(leaf.value)
    except ExpressionFault:
        return


# Where families are.


def folder() -> Path:
    """Where the families that ship are."""
    return shipped() / "families"


def families() -> dict[str, Path]:
    """The families that ship, by name; a file whose name begins with `_` is none."""
    return {path.stem: path for path in sorted(folder().glob("*.yaml")) if not path.stem.startswith("_")}


def find_family(config: Config) -> Family:
    """The family that a config is of; raises FamilyError where there is none, or more than one."""
    every = [read_family(path) for path in families().values()]
    found = [family for family in every if family.matches(config)]
    if len(found) == 1:
        return found[0]
    name = _at(config, "model_type")
    if found:
        # Of several, the one that asks most of a config is the one that means it most exactly.
        most = max(len(family.match.entries) for family in found)
        exact = [family for family in found if len(family.match.entries) == most]
        if len(exact) == 1:
            return exact[0]
        message = f"several families match: {', '.join(family.name for family in exact)}"
        raise FamilyError([Problem("family", message, span=config.span(("model_type",)), fix="say `--family NAME`")])
    what = f"no family matches `model_type: {name}`" if name is not None else "the config has no `model_type`"
    near = ", ".join(
        f"{family.name} ({share:.0%} of fields in common)" for share, family in _nearest(config, every)[:3]
    )
    notes = (f"nearest: {near}",) if near else ()
    fix = f"write a family of your own and give it as `--family FILE`; {_DOCS} shows how"
    span = config.span(("model_type",))
    raise FamilyError([Problem("family", what, ("model_type",), span, fix=fix, notes=notes)])


def _nearest(config: Config, every: list[Family]) -> list[tuple[float, Family]]:
    """Families by the share of fields that they and a config both speak of; only those with anything in common."""
    ranked = []
    for family in every:
        skipped = set(_part(family.common, "inert"))
        theirs, ours = set(config.plain) - skipped, set(family.fields()) - skipped
        share = len(theirs & ours) / max(1, len(theirs | ours))
        ranked.append((share, family))
    return sorted((each for each in ranked if each[0] > 0), key=lambda each: (-each[0], each[1].name))


# Reading one.


def read_family(name: str | Path) -> Family:
    """Read a family: one that ships, by name, or a file; raises FamilyError with everything that is wrong with it."""
    known = families()
    asked = str(name)
    path = known.get(asked) if not isinstance(name, Path) else name
    if path is None:
        path = Path(asked)
        if path.suffix not in (".yaml", ".yml") and not path.exists():
            meant = nearest(asked, known)
            fix = None if meant else f"there are {', '.join(known)}; a file of your own ends in .yaml"
            raise FamilyError([Problem("family", f"no family is called `{asked}`", suggestion=meant, fix=fix)])
    return _read(str(path), path.stat().st_mtime_ns if path.is_file() else 0)


@cache
def _read(path: str, _changed: int) -> Family:
    root = extended(path, families())
    common_path = folder() / f"{COMMON}.yaml"
    common = read_map(str(common_path)) if common_path.is_file() else Map({}, root.span)
    family = Family(
        Path(path).stem,
        path,
        hashlib.sha256(json.dumps(plain(root)).encode()).hexdigest()[:16],
        root,
        common,
    )
    problems = list(outline.problems(root))
    if problems:
        raise FamilyError(problems)
    return family
