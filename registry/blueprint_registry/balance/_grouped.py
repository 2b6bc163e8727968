"""What balances of groups of experts say alike."""

from typing import Any, ClassVar, Literal

from blueprint.kinds import Balance


class Grouped(Balance):
    """A balance of the router's groups, each of which stands for a device."""

    beside: ClassVar[dict[str, Any]] = {
        "model.block.feed_forward.router": {"type": "top_k", "groups": {"count": 2, "keep": 1}}
    }

    over: Literal["sequence", "batch"] = "batch"
    """What shares and means are taken over: every `sequence` by itself, the mean of their losses being taken, or the
    `batch`."""

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Over both."""
        return [{}, {"over": "sequence", "weight": 0.5}]

    @property
    def needs(self) -> frozenset[str]:
        """Probabilities, and groups."""
        return frozenset({"probability", "groups"})
