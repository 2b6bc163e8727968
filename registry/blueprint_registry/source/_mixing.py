"""The arithmetic of mixtures, and those that papers print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: What a share, an epoch count and a size are said by.
Numbers = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Printed:
    """A mixture as its paper prints it: weights in percent, epochs, and how many tokens a training takes of all."""

    weights: dict[str, float]
    epochs: dict[str, float]
    total: float

    def sizes(self) -> dict[str, float]:
        """Tokens in each set, by what is drawn and how often it comes round."""
        return {name: self.weights[name] / 100 * self.total / self.epochs[name] for name in self.weights}


#: Brown et al., 2020, table 2.2, whose weights are rounded and sum to 101.
GPT3 = Printed(
    {"common_crawl": 60, "webtext2": 22, "books1": 8, "books2": 8, "wikipedia": 3},
    {"common_crawl": 0.44, "webtext2": 2.9, "books1": 1.9, "books2": 0.43, "wikipedia": 3.4},
    300e9,
)
#: Touvron et al., 2023, table 1.
LLAMA = Printed(
    {
        "common_crawl": 67,
        "c4": 15,
        "github": 4.5,
        "wikipedia": 4.5,
        "books": 4.5,
        "arxiv": 2.5,
        "stack_exchange": 2,
    },
    {
        "common_crawl": 1.10,
        "c4": 1.06,
        "github": 0.64,
        "wikipedia": 2.45,
        "books": 2.23,
        "arxiv": 1.06,
        "stack_exchange": 1.03,
    },
    1.4e12,
)
PRINTED = {"gpt3": GPT3, "llama": LLAMA}


def shares(weights: Numbers, temperature: float = 1.0) -> dict[str, float]:
    """Shares that sum to 1, proportional to w^(1 / temperature) (Devlin, 2019; Raffel et al., 2020, §3.5.2)."""
    # The greatest is 1, so that no power of a large size leaves the range of a float.
    most = max(weights.values())
    raised = {name: (weight / most) ** (1 / temperature) for name, weight in weights.items()}
    return {name: each / sum(raised.values()) for name, each in raised.items()}


def epochs(shares: Numbers, sizes: Numbers, total: float) -> dict[str, float]:
    """How often each set comes round when `total` is drawn of all: share · total / size."""
    return {name: share * total / sizes[name] for name, share in shares.items()}
