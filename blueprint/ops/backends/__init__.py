"""The ways to compute an attention, by the names of `blueprint.choice`."""

from blueprint.ops.backends.blocked import blocked
from blueprint.ops.backends.dense import dense
from blueprint.ops.backends.flex import flex
from blueprint.ops.backends.sdpa import sdpa

BACKENDS = {"sdpa": sdpa, "blocked": blocked, "flex": flex, "dense": dense}
