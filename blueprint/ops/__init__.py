"""The few kernels everything shares: flow, state, attention, rotation, linear maps, the loss."""

from blueprint.ops.attend import attend
from blueprint.ops.cross_entropy import cross_entropy
from blueprint.ops.dispatch import dispatch
from blueprint.ops.everyone import everyone, of_everyone, shared_by
from blueprint.ops.flow import Flow
from blueprint.ops.gate import gate
from blueprint.ops.grouped import GroupedLinear, Groups
from blueprint.ops.keys import Keys
from blueprint.ops.linear import Embedding, Linear, filled_later, linear
from blueprint.ops.memory import Memory, MemoryState
from blueprint.ops.meter import Meter
from blueprint.ops.optimizer import Stepping, Together, its_own_way, running
from blueprint.ops.recompute import recomputed, recomputing
from blueprint.ops.rotary import angles, rotate
from blueprint.ops.routing import Routing, counts, wide
from blueprint.ops.shards import Shards, cut, shards_of
from blueprint.ops.spread import is_spread, own, piece_of, spread_like, whole
from blueprint.ops.stacked import run_stacked, stack
from blueprint.ops.state import KVState, State, steady
from blueprint.ops.terms import merge_terms, with_losses
from blueprint.ops.weight import Weight, parameter_groups

__all__ = [
    "Embedding",
    "Flow",
    "GroupedLinear",
    "Groups",
    "KVState",
    "Keys",
    "Linear",
    "Memory",
    "MemoryState",
    "Meter",
    "Routing",
    "Shards",
    "State",
    "Stepping",
    "Together",
    "Weight",
    "angles",
    "attend",
    "counts",
    "cross_entropy",
    "cut",
    "dispatch",
    "everyone",
    "filled_later",
    "gate",
    "is_spread",
    "its_own_way",
    "linear",
    "merge_terms",
    "of_everyone",
    "own",
    "parameter_groups",
    "piece_of",
    "recomputed",
    "recomputing",
    "rotate",
    "run_stacked",
    "running",
    "shards_of",
    "shared_by",
    "spread_like",
    "stack",
    "steady",
    "whole",
    "wide",
    "with_losses",
]
