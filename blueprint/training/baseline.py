"""What a model that knows only how frequent each token is would score where some tokens are predicted, not all. No
Lightning here.

Legend: V vocabulary, T tokens of a sample.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from blueprint.training.data.dataset import Samples
from blueprint.training.data.packing import IGNORE
from blueprint.training.data.unigram import Unigram

#: Samples of each split that are counted at most: frequencies are known well enough by then.
MOST = 4096


def of_labels(train: Samples, validation: Samples) -> Unigram | None:
    """Frequencies of the labels (T,) of training samples with add-one smoothing, measured on those of held-out samples;
    None where there are none."""
    seen_V, met_V = (_counted(each) for each in (train, validation))
    if not met_V.sum():
        return None
    log_p_V = np.log(seen_V + 1.0) - math.log(int(seen_V.sum()) + len(seen_V))
    return Unigram(-float(met_V @ log_p_V) / int(met_V.sum()), None)


def _counted(samples: Samples) -> NDArray[np.int64]:
    """(V,) how often each id is a label."""
    total_V = np.zeros(samples.split.vocab_size, dtype=np.int64)
    for number in range(min(len(samples), MOST)):
        labels_T = samples[number]["labels"]
        total_V += np.bincount(labels_T[labels_T != IGNORE], minlength=len(total_V))
    return total_V
