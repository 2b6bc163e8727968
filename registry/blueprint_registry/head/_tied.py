"""What heads that use the embedding's table have in common."""

from blueprint.component import Fault, Site


def tie_fault(at: Site, width: int) -> Fault | None:
    """What is in the way of a head that ties its matrix over `width` channels to the embedding's table, if anything."""
    if at.table == width:
        return None
    there = "has no token table" if at.table is None else f"has a table of width {at.table}, the head needs {width}"
    return Fault(f"the head cannot be tied: the embedding {there}", "tie", "say `tie: false`")
