"""What a model costs: measured on shapes alone, never claimed by a formula."""

from blueprint.cost.cost import cost
from blueprint.cost.mesh import MeshError
from blueprint.cost.mesh_report import MeshCost
from blueprint.cost.report import Cost, Layers, Memory

__all__ = ["Cost", "Layers", "Memory", "MeshCost", "MeshError", "cost"]
