"""Dense attention: all scores at once. The reference, and the only way for what the others cannot do."""

from __future__ import annotations

from torch import Tensor

from blueprint.ops.work import Work, weigh


def dense(work: Work) -> Tensor:
    """(B, H, T, V), holding T × S scores for every head."""
    return weigh(
        work.q_BHTE,
        work.k_BGSE,
        work.v_BGSV,
        work.mask(),
        work.scores_bias(),
        scale=work.scale,
        softcap=work.softcap,
        sink_H=work.sink_H,
        dropout=work.dropout,
        float32=work.float32,
        values=None if work.values is None else work.valued(*work.sides()),
    )
