"""Moved: the merge is `blueprint.schema.merge` (validation needs it too)."""

from blueprint.schema.merge import merge as merge
