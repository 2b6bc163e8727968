"""What scores that sacreBLEU counts have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Counted:
    """A score over all texts together: `(written, wanted) -> float`, of 100. `name` is sacreBLEU's class, `settings`
    are its arguments. Raises ValueError, naming the extra, where the library is not installed."""

    def __init__(self, name: str, **settings: Any) -> None:
        try:
            from sacrebleu import metrics
        except ImportError as error:
            raise ValueError("texts are scored by sacrebleu: pip install 'blueprint-lightning[scores]'") from error
        self.metric = getattr(metrics, name)(**settings)

    def __call__(self, written: Sequence[str], wanted: Sequence[str]) -> float:
        """The score of texts, one wanted for each that was written; raises ValueError for none, or unequal numbers."""
        if not written or len(written) != len(wanted):
            raise ValueError(f"{len(written)} texts were written, and {len(wanted)} wanted: give as many of both")
        return float(self.metric.corpus_score(list(written), [list(wanted)]).score)
