"""Paths in a spec: relative to the file that says them, absolute once they are read."""

from __future__ import annotations

import glob
import os
from dataclasses import replace
from functools import cache
from typing import Any, get_args

from blueprint.section import FromItsFile
from blueprint.tree import Node, Scalar, Seq


def rooted(node: Node, annotation: Any) -> Node:
    """The node of a leaf, its relative paths made absolute where the leaf's annotation says that it holds paths.

    A text that a file says starts from the file's folder; an override, or a spec that is no file, from the working
    directory. `~`, the home folder, stays as it is.
    """
    return _rooted(node) if _holds_paths(annotation) else node


def _rooted(node: Node) -> Node:
    if isinstance(node, Seq):
        return replace(node, items=tuple(_rooted(item) for item in node.items))
    said = node.value if isinstance(node, Scalar) else None
    if not isinstance(node, Scalar) or not isinstance(said, str) or not said or said.startswith("~"):
        return node
    folder = os.path.abspath(node.span.source.directory or ".")
    path = os.path.normpath(os.path.join(folder, said))
    if glob.has_magic(said) and not os.path.exists(path):
        # The pattern is what was said; a folder above it that is called `[x]` is just that folder.
        path = os.path.normpath(os.path.join(glob.escape(folder), said))
    return replace(node, value=path)


@cache
def _holds_paths(annotation: Any) -> bool:
    return any(isinstance(part, FromItsFile) or _holds_paths(part) for part in get_args(annotation))
