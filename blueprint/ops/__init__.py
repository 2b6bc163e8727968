"""The few kernels everything shares: flow, state, attention, rotation, linear maps, the loss."""

from blueprint.ops.attend import attend
from blueprint.ops.cross_entropy import cross_entropy
from blueprint.ops.flow import Flow
from blueprint.ops.keys import Keys
from blueprint.ops.linear import Embedding, Linear
from blueprint.ops.memory import Memory, MemoryState
from blueprint.ops.meter import Meter
from blueprint.ops.rotary import angles, rotate
from blueprint.ops.state import KVState, State, steady
from blueprint.ops.terms import merge_terms, with_losses

__all__ = [
    "Embedding",
    "Flow",
    "KVState",
    "Keys",
    "Linear",
    "Memory",
    "MemoryState",
    "Meter",
    "State",
    "angles",
    "attend",
    "cross_entropy",
    "merge_terms",
    "rotate",
    "steady",
    "with_losses",
]
