"""Several objectives at once."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveFloat

from blueprint.component import Fault, Faults, Site, as_faults, register, rule
from blueprint.kinds import Objective, Tokenizer

if TYPE_CHECKING:
    from blueprint_registry.objective.sum_nn import SumObjective

Change = Callable[[dict[str, Any], str], dict[str, Any]]

#: What a head may give in place of an output for every token.
_OUTPUTS = frozenset({"pooled", "tags"})
#: What a head must be for a part, and so for the whole.
_ASKED = frozenset({"pooled", "tags", "labels", "several", "next_token"})


class _Told:
    """What an objective of parts tells: an instance what its parts do, the class itself what any would."""

    def __init__(self, usual: Any, tell: Callable[[list[Objective]], Any]) -> None:
        self.usual, self.tell = usual, tell

    def __get__(self, instance: Any, owner: type) -> Any:
        return self.usual if instance is None else self.tell(list(instance.objectives.values()))


def _common(found: list[frozenset[str]]) -> frozenset[str]:
    return frozenset.intersection(*found) if found else frozenset()


def _models(parts: list[Objective]) -> frozenset[str]:
    """Those that every part can train; a part that names none can train any."""
    return _common([part.models for part in parts if part.models])


def _unit(parts: list[Objective]) -> str | None:
    units = {part.unit for part in parts}
    return units.pop() if len(units) == 1 else None


@register("sum")
class Sum(Objective):
    """A weighted sum of objectives over one model, each with its own draw from the same samples and a forward of its
    own (multi-task learning: Caruana, 1997, §2; mixtures of denoisers: Tay et al., 2023, §3.1).

    Each part's loss is logged by its name, with what else it measures. Of held-out samples every part has a mean of its
    own, and the loss is the weighted sum of these.
    """

    traits: ClassVar[frozenset[str]] = _Told(  # type: ignore[assignment]
        frozenset(), lambda parts: frozenset().union(*(part.traits for part in parts)) & _ASKED
    )
    models: ClassVar[frozenset[str]] = _Told(frozenset(), _models)  # type: ignore[assignment]
    samples: ClassVar[frozenset[str]] = _Told(  # type: ignore[assignment]
        frozenset(), lambda parts: _common([part.samples for part in parts])
    )
    unit: ClassVar[str | None] = _Told(None, _unit)  # type: ignore[assignment]
    measure: ClassVar[str] = "weighted losses"
    beside: ClassVar[dict[str, Any]] = {"model.vocab_size": None, "tokenizer": {"type": "byte", "sentinels": 3}}

    objectives: dict[str, Objective]
    """The objectives by names of your own, all of which read the same samples."""

    weights: dict[str, PositiveFloat] | None = None
    """What the loss of each is multiplied with; null for 1 each."""

    @rule("objectives")
    def _alike(of: dict[str, Objective]) -> Iterator[Fault]:
        if len(of) < 2:
            yield Fault("name two objectives at least; one alone needs no sum", "objectives")
        for name, part in of.items():
            if not name.replace("_", "").replace("-", "").isalnum():
                yield Fault(f"{name!r} names metrics: say letters, digits, `_` and `-` alone", f"objectives.{name}")
            if isinstance(part, Sum):
                yield Fault("a sum in a sum is one sum", f"objectives.{name}", "say its parts beside the others")
                return
            for key in part.asks():
                what = f"`{part.spec_name}` asks another model, which nobody hands to the parts of a sum"
                yield Fault(what, f"objectives.{name}.{key}", "say it alone, with the others inside it")

        def told(what: str, each: Callable[[Objective], frozenset[str]]) -> Fault:
            said = ", ".join(f"`{name}` {' or '.join(sorted(each(part))) or 'any'}" for name, part in of.items())
            return Fault(f"{what}, and that is none: {said}", "objectives")

        if of and not _common([part.samples for part in of.values()]):
            yield told("the parts of a sum read samples of one kind", lambda part: part.samples)
        if any(part.models for part in of.values()) and not _models(list(of.values())):
            yield told("the parts of a sum train one model", lambda part: part.models)
        if len({part.traits & _OUTPUTS for part in of.values()}) > 1:
            yield told("the parts of a sum read one head's output", lambda part: part.traits & _OUTPUTS)

    @rule("objectives", "weights")
    def _for_each(of: dict[str, Objective], weights: dict[str, float] | None) -> Iterator[Fault]:
        lacking = [name for name in of if weights is not None and name not in weights]
        extra = [name for name in weights or () if name not in of]
        if lacking:
            yield Fault(f"`weights` has no number for {', '.join(lacking)}", "weights", "say one for every objective")
        if extra:
            yield Fault(f"`weights` names {', '.join(extra)}, which `objectives` does not", "weights")

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """Continuing a text, and filling it in; the same, the second for half as much."""
        of = {"next": "causal", "middle": {"type": "fill_in_the_middle", "rate": 0.9}}
        return [{"objectives": of}, {"objectives": of, "weights": {"next": 1.0, "middle": 0.5}}]

    def _located(self, of: str, found: Faults) -> Iterator[Fault]:
        """What is wrong with a part, where that stands."""
        for fault in as_faults(found, "objective"):
            first, dot, rest = (fault.at or "objective").partition(".")
            yield replace(fault, at=f"objective.objectives.{of}{dot}{rest}") if first == "objective" else fault

    def _every(self, ask: Callable[[Objective], Faults]) -> Faults:
        faults = (fault for name, part in self.objectives.items() for fault in self._located(name, ask(part)))
        # The same said of something else than the parts is said once.
        return list(dict.fromkeys(faults)) or None

    def fits_labels(self, labels: int | None, outputs: int) -> Fault | None:
        """What is wrong for the first part for which anything is."""
        found: Any = self._every(lambda part: part.fits_labels(labels, outputs))
        return None if found is None else found[0]

    def fits(self, tokenizer: Tokenizer) -> Faults:
        """What is wrong for any part; parts that want the same samples made otherwise."""
        found = self._every(lambda part: part.fits(tokenizer))
        if found is not None:
            return found
        for what, said in (
            ("cut samples", [part.cut(tokenizer) for part in self.objectives.values()]),
            (
                "begin targets",
                [each for part in self.objectives.values() if (each := part.start_id(tokenizer)) is not None],
            ),
        ):
            if any(each != said[0] for each in said):
                names = ", ".join(f"`{name}`" for name in self.objectives)
                return Fault(f"of {names}, not all {what} alike, and they read the same ones", "objective.objectives")
        return None

    def fits_length(self, tokenizer: Tokenizer, length: int, longest: int | None) -> Faults:
        """What is wrong for any part."""
        return self._every(lambda part: part.fits_length(tokenizer, length, longest))

    def cut(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """What the samples of any part need to know, which is the same for all."""
        return next(iter(self.objectives.values())).cut(tokenizer)

    def change(self, tokenizer: Tokenizer) -> "Apart | None":
        """Each part's change of a sample, each by lots of its own; None where none changes any."""
        changes = {name: part.change(tokenizer) for name, part in self.objectives.items()}
        return Apart(changes) if any(each is not None for each in changes.values()) else None

    def start_id(self, tokenizer: Tokenizer) -> int | None:
        """The id that parts which write targets begin them with."""
        found = (part.start_id(tokenizer) for part in self.objectives.values())
        return next((each for each in found if each is not None), None)

    def build(self, at: Site) -> "SumObjective":
        """The function `(model, batch) -> (loss, metrics)`."""
        from blueprint_registry.objective.sum_nn import SumObjective

        return SumObjective(self, at)


@dataclass(frozen=True)
class Apart:
    """Makes of one sample those of all parts, `NAME/input_ids` and so on: `(arrays, word) -> arrays`."""

    changes: Mapping[str, Change | None]

    def __call__(self, arrays: dict[str, Any], word: str) -> dict[str, Any]:
        """The arrays of every part, under its name."""
        made = {name: arrays if by is None else by(arrays, f"{name} {word}") for name, by in self.changes.items()}
        return {f"{name}/{key}": value for name, each in made.items() for key, value in each.items()}
