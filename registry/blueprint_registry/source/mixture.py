"""Several sources as one."""

import hashlib
import json
import math
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal

from pydantic import NonNegativeInt, PositiveFloat

from blueprint.component import Fault, register, rule
from blueprint.kinds import DataSource
from blueprint_registry.source._mixing import PRINTED, epochs, shares

_SCALE = 1 << 64
#: How the name of a document ends that comes round again.
_ROUND = re.compile(r" \(round \d+\)$")


@register("mixture")
class Mixture(DataSource):
    """Several sources as one, by weights or by epochs, small ones repeated and large ones thinned out (Brown et al.,
    2020, table 2.2). They are interleaved, so that any stretch of it is mixed as the whole is."""

    sources: dict[str, DataSource]
    """The sources by names of your own, all of one kind of samples."""

    weights: dict[str, PositiveFloat] | Literal["gpt3", "llama"] | None = None
    """How much of what is drawn comes from each, in any unit, for they are made to sum to 1; or the table of a paper,
    by its names of sources; null goes by their sizes."""

    epochs: dict[str, PositiveFloat] | None = None
    """Instead of weights: how often each source comes round; 0.5 is half of its documents, drawn by lot."""

    temperature: PositiveFloat = 1.0
    """Weights to the power of 1 / temperature: above 1, small ones gain."""

    amount: PositiveFloat = 1.0
    """How much is drawn in all, as a multiple of what the sources hold together."""

    seed: NonNegativeInt = 0
    """Draws the documents of a part of an epoch."""

    @property
    def gives(self) -> str:  # type: ignore[override]
        """What its sources give."""
        return next((source.gives for source in self.sources.values()), "text")

    @rule("sources")
    def _alike(sources: dict[str, DataSource]) -> Iterator[Fault]:
        given = {name: source.gives for name, source in sources.items()}
        if len(sources) < 2:
            yield Fault("name two sources at least; one alone needs no mixture", "sources")
        elif len(set(given.values())) > 1:
            said = ", ".join(f"`{name}` gives {gives}" for name, gives in given.items())
            yield Fault(f"sources of one kind of samples can be mixed, and {said}", "sources")
        elif "images" in given.values():
            yield Fault("images are not mixed: put their folders together instead", "sources")

    @rule("sources", "weights", "epochs")
    def _for_each_source(sources: dict[str, DataSource], weights: Any, epochs: Any) -> Iterator[Fault]:
        if weights is not None and epochs is not None:
            yield Fault("`weights` and `epochs` say the same in two ways", "epochs", "say one of them")
        table = PRINTED[weights].weights if isinstance(weights, str) else None
        for key, said in (("weights", table or weights), ("epochs", epochs)):
            if said is None:
                continue
            lacking = [name for name in sources if name not in said]
            extra = [] if said is table else [name for name in said if name not in sources]
            if lacking:
                of = (
                    f"the table {weights!r} names {', '.join(table or ())}"
                    if said is table
                    else "say one for every source"
                )
                yield Fault(f"`{key}` has no number for {', '.join(lacking)}: {of}", key)
            if extra:
                yield Fault(f"`{key}` names {', '.join(extra)}, which `sources` does not", key)

    @rule("epochs", "temperature", "amount")
    def _epochs_say_all(epochs: Any, temperature: float, amount: float) -> Iterator[Fault]:
        for name, value in (("temperature", temperature), ("amount", amount)):
            if epochs is not None and value != 1:
                yield Fault(f"`{name}` does nothing beside `epochs`, which say it all", name, f"remove `{name}`")

    @classmethod
    def examples(cls) -> list[dict[str, Any]]:
        """By weights; by epochs; by sizes, with a temperature; by a paper's table."""
        files = {"web": {"type": "text", "path": "web"}, "books": {"type": "text", "path": "books"}}
        gpt3 = {"wikipedia": files["web"], "books1": files["books"]}
        return [
            {"sources": files, "weights": {"web": 3, "books": 1}},
            {"sources": files, "epochs": {"web": 0.5, "books": 2}},
            {"sources": files, "temperature": 2.0, "amount": 1.5},
            {"sources": gpt3, "weights": "gpt3"},
        ]

    def rounds(self) -> dict[str, float]:
        """How often each source comes round, from sizes in bytes. Raises ValueError for a source that holds nothing."""
        if self.epochs is not None:
            return dict(self.epochs)
        sizes = self._sizes
        said = PRINTED[self.weights].weights if isinstance(self.weights, str) else self.weights or sizes
        drawn = shares({name: said[name] for name in self.sources}, self.temperature)
        return epochs(drawn, sizes, self.amount * math.fsum(sizes.values()))

    def documents(self) -> Iterator[tuple[str, Any]]:
        """Every document drawn, as (source's name/document's name, content); one that comes round again is so named.

        What is behind its share of bytes the most comes next.
        """
        sizes, rounds = self._sizes, self.rounds()
        left = {name: self._drawn(name, rounds[name]) for name in self.sources}
        given = dict.fromkeys(self.sources, 0)
        while left:
            name = min(left, key=lambda each: given[each] / (rounds[each] * sizes[each]))
            document = next(left[name], None)
            if document is None:
                del left[name]
                continue
            given[name] += _size(document[1])
            yield document

    def group(self, name: str) -> str | None:
        """What its own source says, of whatever round."""
        own = max((each for each in self.sources if name.startswith(f"{each}/")), key=len)
        return self.sources[own].group(_ROUND.sub("", name.removeprefix(f"{own}/")))

    def classes(self, *, read: bool = False) -> list[str] | None:
        """The labels of all sources, each once, in the order of the sources."""
        found = [source.classes(read=read) for source in self.sources.values()]
        if any(each is None for each in found):
            return None
        return list(dict.fromkeys(label for each in found for label in each or ()))

    def fingerprint(self) -> str | None:
        """The settings and the sources' own; None where one cannot tell."""
        found = [getattr(source, "fingerprint", lambda: None)() for source in self.sources.values()]
        return None if None in found else json.dumps([self.to_plain(), found])

    @cached_property
    def _sizes(self) -> dict[str, int]:
        """Bytes of each source's documents."""
        known = {name: sum(_size(said) for _, said in each.documents()) for name, each in self.sources.items()}
        empty = [name for name, size in known.items() if not size]
        if empty:
            raise ValueError(f"of the sources, {', '.join(empty)} holds nothing to draw")
        return known

    def _drawn(self, name: str, rounds: float) -> Iterator[tuple[str, Any]]:
        """The documents of one source: all of them in whole epochs, then each by a lot of its own."""
        for again in range(math.ceil(rounds)):
            share = min(1.0, rounds - again)
            for where, content in self.sources[name].documents():
                if share == 1 or _lot(f"{self.seed} {name} {where}") < share * _SCALE:
                    yield f"{name}/{where}" + (f" (round {again + 1})" if again else ""), content


def _size(content: Any) -> int:
    """Bytes of all texts in a content."""
    return len(content.encode(errors="replace")) if isinstance(content, str) else sum(map(_size, content))


def _lot(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(errors="replace"), digest_size=8).digest(), "little")
