"""How the speed benchmarks tell what they found: a table, the bars that were asked for, and what was missing."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llama_shape import ratio

Clock = Callable[[], float]
#: Everything runs on one thread, so that the processor's time is the wall's where nobody else wants it.
PROCESSOR: dict[str, Clock] = {"const": time.process_time, "default": time.perf_counter}
OURS, PRODUCTS = "blueprint", "matrix products alone"


@dataclass(frozen=True)
class Bar:
    """Ours against the fastest of `names`: at least `least` times as fast."""

    against: str
    names: tuple[str, ...]
    least: float


@dataclass(frozen=True)
class Found:
    """Seconds of runs that were taken in turn, ours among them, each over `tokens` tokens."""

    title: str
    tokens: int
    seconds: dict[str, list[float]]
    bars: Sequence[Bar]
    #: What should be so whatever the speed (equal ids, equal losses), in words, and whether it was.
    agreed: dict[str, bool]

    def fastest(self, bar: Bar) -> str | None:
        """Who of a bar's peers took the least time; None where none of them was there."""
        there = [name for name in bar.names if name in self.seconds]
        return min(there, key=lambda name: statistics.median(self.seconds[name]), default=None)

    def ratio(self, bar: Bar) -> float | None:
        """How many times as fast as that one ours was: the median of paired ratios."""
        name = self.fastest(bar)
        return None if name is None else ratio(self.seconds[OURS], self.seconds[name])

    @property
    def share(self) -> float | None:
        """The time that the step's matrix products alone take, over that of ours."""
        bound = self.seconds.get(PRODUCTS)
        return None if bound is None else 1 / ratio(bound, self.seconds[OURS])

    @property
    def met(self) -> bool:
        """Whether ours is as fast as every bar wants whose peers are there, and all agreed."""
        ratios = ((bar, self.ratio(bar)) for bar in self.bars)
        return all(self.agreed.values()) and all(found is None or found >= bar.least for bar, found in ratios)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "title": self.title,
            "tokens": self.tokens,
            "seconds": {name: statistics.median(times) for name, times in self.seconds.items()},
            "ratios": {bar.against: {"found": self.ratio(bar), "least": bar.least} for bar in self.bars},
            "share_of_bound": self.share,
            "agreed": self.agreed,
            "met": self.met,
        }

    def __str__(self) -> str:
        lines = [self.title]
        for name, times in self.seconds.items():
            middle, own = statistics.median(times), ratio(times, self.seconds[OURS])
            lines.append(f"  {name:24} {middle:8.3f} s {self.tokens / middle:9.0f} tokens/s {own:6.2f} x ours")
        for bar in self.bars:
            found, name = self.ratio(bar), self.fastest(bar)
            if found is None:
                lines.append(f"  against {bar.against}: not measured, not installed")
                continue
            verdict = "met" if found >= bar.least else "MISSED"
            lines.append(f"  against {bar.against} ({name}): {found:.2f} x, asked {bar.least:g}: {verdict}")
        if self.share is not None:
            lines.append(f"  {self.share:.0%} of the bound that the matrix products alone set")
        lines += [f"  {what}: {'yes' if so else 'NO'}" for what, so in self.agreed.items()]
        return "\n".join(lines)


def parser(doc: str | None, repeats: int) -> argparse.ArgumentParser:
    """What every one of these commands may be asked."""
    made = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    made.add_argument("--repeats", type=int, default=repeats, help="Rounds, each of one run of everything.")
    made.add_argument("--json", action="store_true")
    say = "Seconds of the processor, which are the wall's on an idle machine and steadier on a busy one."
    made.add_argument("--processor", dest="clock", action="store_const", help=say, **PROCESSOR)
    return made


def tell(found: Sequence[Found], as_json: bool, lacking: Sequence[str] = ()) -> int:
    """Print it all; 1 if a bar was missed or something did not agree."""
    if as_json:
        print(json.dumps({"measured": [each.plain() for each in found], "lacking": list(lacking)}, indent=2))
    else:
        print("\n\n".join(map(str, found)))
        for name in lacking:
            print(f"{name} is not installed, and was not compared with: `make bench` installs the peers")
    return int(not all(each.met for each in found))
