"""What pools have in common that look for an id."""

from blueprint.component import Fault, Faults, Site
from blueprint.kinds import Pool


class IdPool(Pool):
    """The token with a certain id."""

    def check(self, at: Site) -> Faults:
        """There are ids to look at."""
        if not at.ids:
            return Fault(
                f"pool `{self.spec_name}` looks for an id, and parts of an image have none",
                fix="say `first`, `mean` or `attention`",
            )
        return None
