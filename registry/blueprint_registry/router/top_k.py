"""The k experts that score highest for a token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from blueprint.component import Fault, Faults, Section, Site, register, rule
from blueprint.kinds import Router

if TYPE_CHECKING:
    from blueprint_registry.router.top_k_nn import TopKRouter


class Groups(Section):
    """Groups of experts, of which only some may serve a token (DeepSeek-V2, 2024, §2.2.2; DeepSeek-V3, 2024,
    §2.1.2)."""

    formulas: ClassVar[bool] = True

    count: PositiveInt
    """How many groups of equal size the experts stand in, in order."""
    keep: PositiveInt
    """How many of them may serve a token."""
    by: Literal["max", "top2_sum"] = "max"
    """What a group is judged by: its best expert, or its best two together."""


@register("top_k")
class TopK(Router):
    """The k experts that score highest for a token, weighted by their scores (Shazeer et al., 2017, eq. 3–5; Fedus et
    al., 2021, eq. 1–2; Jiang et al., 2024, *Mixtral*, §2.1)."""

    k: PositiveInt = 2
    """How many experts serve a token."""
    score: Literal["softmax", "sigmoid"] = "softmax"
    """What makes scores of the logits: `softmax`, shares of one, or `sigmoid`, each expert by itself (DeepSeek-V3)."""
    over: Literal["all", "chosen"] = "all"
    """What the softmax is taken over: `all` experts, before choosing, or the `chosen` ones' logits (GPT-OSS)."""
    renormalise: bool = False
    """Whether the weights of the chosen are divided by their sum."""
    sure_from: Annotated[float, Field(gt=0, le=1)] | None = None
    """While training, a choice after a token's first is made by chance: surely from this weight on, and with a chance
    of weight / `sure_from` below it (Lepikhin et al., 2020, *GShard*, §2.2: 0.5, with `renormalise`). The weights are
    those of all k, `scale` aside: what is left is not divided by its sum again. null: all are made."""
    scale: PositiveFloat = 1.0
    """What the weights are multiplied by in the end."""
    bias: bool = False
    """Whether the logits have a learned bias."""
    softcap: PositiveFloat | None = None
    """Bounds logits smoothly, as softcap · tanh(logit / softcap); null for no bound (Grok-1, 2024)."""
    correction: Literal["score", "logit"] | None = None
    """A number for each expert that is adjusted and not learned, added for the choice alone, to the `score` or to the
    `logit`; null for none (Wang et al., 2024, *Loss-Free Balancing*, §3)."""
    groups: Groups | None = None
    """Groups of experts, of which only some may serve a token; null for none."""
    jitter: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """While training, what is scored is multiplied by noise from U(1 − jitter, 1 + jitter) (Fedus et al., 2021,
    §2.4)."""

    @rule("score", "over")
    def _shares_of_the_chosen(score: str, over: str) -> Faults:
        if over == "chosen" and score != "softmax":
            told = f"`{score}` scores each expert by itself: over which it is taken makes no difference"
            return Fault(told, "over", "leave `over` out")
        return None

    @rule("over", "renormalise")
    def _normalised_once(over: str, renormalise: bool) -> Faults:
        if over == "chosen" and renormalise:
            told = "a softmax over the chosen sums to 1 already"
            return Fault(told, "renormalise", "leave `renormalise` or `over` out")
        return None

    @rule("over", "correction")
    def _corrects_what_is_chosen_by(over: str, correction: str | None) -> Faults:
        if over == "chosen" and correction == "score":
            told = "over the chosen alone there are no scores to correct before choosing"
            return Fault(told, "correction", "say `correction: logit`, or leave `over` out")
        return None

    @rule("k", "sure_from")
    def _has_a_second_choice(k: int, sure_from: float | None) -> Faults:
        if k == 1 and sure_from is not None:
            return Fault("with k: 1 there is no choice after the first", "sure_from", "leave it out, or say `k: 2`")
        return None

    @rule("groups")
    def _leaves_a_group_out(groups: Groups | None) -> Faults:
        if groups is not None and groups.keep >= groups.count:
            told = f"keeping {groups.keep} of {groups.count} groups leaves none out"
            return Fault(told, "groups.keep", "keep fewer, or leave `groups` out")
        return None

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Qwen2-MoE's, Mixtral's, GPT-OSS's, DeepSeek-V2's and -V3's, Switch's with a bounded logit, GShard's."""
        halves = {"count": 2, "keep": 1}
        v2 = {"groups": halves, "scale": 1.5}
        v3 = {"score": "sigmoid", "correction": "score", "renormalise": True, "groups": {**halves, "by": "top2_sum"}}
        switch = {"k": 1, "jitter": 0.01, "softcap": 30.0}
        gshard = {"renormalise": True, "sure_from": 0.5}
        chosen = {"over": "chosen", "bias": True, "correction": "logit"}
        return [{}, {"renormalise": True}, chosen, v2, v3, switch, gshard]

    def choices(self, at: Site) -> float:
        """k."""
        return self.k

    @property
    def gives(self) -> frozenset[str]:
        """Probabilities and logits, weights of other choices, and a correction and groups where it has them."""
        more = {"weigh": True, "correction": self.correction, "groups": self.groups}
        return super().gives | {name for name, there in more.items() if there}

    def passing(self) -> frozenset[str]:
        """Noise and chance are of training alone."""
        return super().passing() | {"jitter", "sure_from"}

    @property
    def group_count(self) -> int | None:
        """As many groups as said."""
        return None if self.groups is None else self.groups.count

    @property
    def groups_kept(self) -> int | None:
        """As many as said."""
        return None if self.groups is None else self.groups.keep

    def fewest(self, at: Site) -> int:
        """Two experts a group, or as many as serve a token from those that are kept; one more than k without groups."""
        if self.groups is None:
            return self.k + 1
        return self.groups.count * max(2, -(-self.k // self.groups.keep))

    def check(self, at: Site) -> Iterator[Fault]:
        """There are as many experts as are asked for, in groups of equal size that can serve them all."""
        experts = at.extra["experts"]
        if self.k > experts:
            yield Fault(f"{self.k} experts cannot be chosen of {experts}", "k", f"choose k from 1 to {experts}")
        if self.groups is None:
            return
        count, keep = self.groups.count, self.groups.keep
        if experts % count:
            divisors = [n for n in range(2, experts + 1) if experts % n == 0]
            told = f"{experts} experts do not divide into {count} groups"
            yield Fault(told, "groups.count", f"choose from {', '.join(map(str, divisors))}")
            return
        size = experts // count
        if self.groups.by == "top2_sum" and size < 2:
            told = f"{count} groups of {experts} experts have one each, and not a best two"
            yield Fault(told, "groups.by", "say `by: max`, or choose fewer groups")
        if keep * size < self.k <= experts:
            some = "1 group" if keep == 1 else f"{keep} groups"
            told = f"{some} of {size} experts cannot serve a token with {self.k}"
            least = -(-self.k // size)
            fix = f"keep {least} groups or more" if least < count else "choose a smaller k, or leave `groups` out"
            yield Fault(told, "groups.keep", fix)
        elif self.groups.by == "max" and self.k <= keep < count and not at.extra["counted"]:
            best = (
                "best expert stands in its best group"
                if self.k == 1
                else f"{self.k} best experts stand in its best groups"
            )
            told = f"a token's {best}: keeping {keep} leaves none of them out, and nothing else here counts by groups"
            yield Fault(
                told, "groups.keep", "leave `groups` out" + (f", or keep fewer than {self.k}" if self.k > 1 else "")
            )

    def build(self, at: Site) -> TopKRouter:
        """The module."""
        from blueprint_registry.router.top_k_nn import TopKRouter

        return TopKRouter(self, at)
