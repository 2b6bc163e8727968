import json
from dataclasses import dataclass, field
from blueprint.load.reader import read, source_of
from blueprint.tree import *


@dataclass
class D:
    root: object
    problems: list = field(default_factory=list)
    files: list = field(default_factory=list)
    plugins: list = field(default_factory=list)
    broken: frozenset = frozenset()


def document(spec, *, text=False, overrides=(), allow_plugins=False, root_shape=None):
    from pathlib import Path

    if isinstance(spec, dict):
        t, n = json.dumps(spec, indent=2), "<dict>"
    elif text:
        t, n = spec, "<string>"
    else:
        t, n = Path(spec).read_text(), str(spec)
    root = read(t, source_of(t, n))
    from blueprint.schema.merge import merge

    for o in overrides:
        k, v = o.split("=", 1)
        node = read(v, source_of(v, "override"))
        for s in reversed(k.split(".")):
            node = Map({s: Entry(s, node.span, node)}, node.span)
        root = merge(root, node, root_shape)
    root = root.without("plugins", "extends")
    return D(root)
