"""How many devices there are, what is divided along which dimension, and how fast things move; no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from blueprint.diagnosis import nearest
from blueprint.registry import members

#: The dimensions of a mesh, and what is divided along each.
DIMENSIONS = {
    "dp": "the batch, and with it parameters, gradients and the optimizer's state",
    "tp": "the parts of a layer",
    "ep": "experts, within dp",
}


class MeshError(ValueError):
    """A mesh, or a speed, that cannot be; its text says what is expected and how to mend it."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(f"{message}\n  = fix: {fix}")


@dataclass(frozen=True, slots=True)
class Mesh:
    """dp x tp devices.

    A batch is split over `dp`, and by a strategy that shards, parameters, gradients and the optimizer's state are too
    (Rajbhandari et al., 2020, *ZeRO*, §5); by another each device has them whole. Over `tp` layers are cut (Shoeybi
    et al., 2019, §3). `ep` devices of a dp dimension share one set of experts (Lepikhin et al., 2021, §3.3).
    """

    dp: int = 1
    tp: int = 1
    ep: int = 1
    strategy: str = ""
    sharded: bool = True

    @classmethod
    def of(cls, said: str | Mapping[str, int], strategy: str | None = None) -> Mesh:
        """The mesh of `dp=8,tp=4` or of a mapping, by a strategy: where none is said, one that shards. Raises
        `MeshError`."""
        choices = strategies()
        strategy = sharding() if strategy is None else strategy
        if strategy not in choices:
            near = nearest(strategy, list(choices)) or next(iter(choices))
            raise MeshError(f"no strategy is called `{strategy}` (there are: {', '.join(choices)})", f"say `{near}`")
        sizes = dict(said) if isinstance(said, Mapping) else {name: _size(name, n) for name, n in pairs(said, "mesh")}
        for name, size in sizes.items():
            known_dimension(name)
            if type(size) is not int or size < 1:
                raise MeshError(f"{name}={size}: a dimension has 1 device or more", f"say {name}=1 or leave it out")
        mesh = cls(**sizes, strategy=strategy, sharded=choices[strategy])
        mesh._check()
        return mesh

    @property
    def devices(self) -> int:
        """How many there are."""
        return self.dp * self.tp

    @property
    def sizes(self) -> dict[str, int]:
        """The dimensions that were cut along, with dp in any case."""
        return {name: getattr(self, name) for name in DIMENSIONS if name == "dp" or getattr(self, name) > 1}

    def share(self, batch: int | None) -> int:
        """Of a batch of so many sequences (None: one for each of dp), those of one device; raises `MeshError`."""
        if batch is None:
            return 1
        if batch % self.dp:
            near = -(-batch // self.dp) * self.dp
            raise MeshError(f"a batch of {batch} cannot be split over dp={self.dp}", f"say a batch of {near}")
        return batch // self.dp

    def __str__(self) -> str:
        return " x ".join(f"{name}={size}" for name, size in self.sizes.items() if name != "ep") + (
            f", ep={self.ep} within dp" if self.ep > 1 else ""
        )

    def _check(self) -> None:
        if not self.sharded and (self.tp > 1 or self.ep > 1):
            name = "tp" if self.tp > 1 else "ep"
            said = f"{name}={getattr(self, name)}"
            raise MeshError(
                f"by `{self.strategy}` each device has the whole model: {said} has nothing to divide",
                f"leave {name} out, or say the strategy `{sharding()}`",
            )
        if self.dp % self.ep:
            allowed = [str(n) for n in range(2, self.dp + 1) if self.dp % n == 0]
            say = f"say an ep of {' or '.join(allowed)}" if allowed else f"say dp={self.ep}"
            raise MeshError(
                f"ep={self.ep} does not divide dp={self.dp}: devices that share experts are part of dp", say
            )


def strategies() -> dict[str, bool]:
    """The strategies that can be counted, and whether each shards the weights."""
    return {cls.spec_name: cls.shards for cls in members("strategy") if cls.shards is not None}  # type: ignore[attr-defined]


def sharding() -> str:
    """The first strategy that shards the weights."""
    return next(name for name, shards in strategies().items() if shards)


@dataclass(frozen=True, slots=True)
class Speeds:
    """Stated speeds of one device: bytes a second that it sends along each dimension, bytes a second of its memory,
    and operations a second; what was not said is not known."""

    link: Mapping[str, float]
    memory: float | None = None
    flops: float | None = None

    @classmethod
    def of(
        cls,
        link: str | float | Mapping[str, str | float] | None = None,
        memory_bandwidth: str | float | None = None,
        flops: str | float | None = None,
    ) -> Speeds:
        """Speeds as they are said: `50GB/s` for all links or `dp=50GB/s,tp=400GB/s`, `2TB/s`, `300T`; raises
        `MeshError`. What a link within ep is not said of is that of dp, as ep lies within."""
        if link is None:
            links: Mapping[str, str | float] = {}
        elif isinstance(link, Mapping):
            links = link
        elif isinstance(link, str) and "=" in link:
            links = dict(pairs(link, "link"))
        else:
            links = dict.fromkeys(DIMENSIONS, link)
        for name in links:
            known_dimension(name)
        told = {name: bandwidth(speed) for name, speed in links.items()}
        if "dp" in told:
            told.setdefault("ep", told["dp"])
        return cls(
            told,
            None if memory_bandwidth is None else bandwidth(memory_bandwidth),
            None if flops is None else operations(flops),
        )


def pairs(said: str, what: str) -> list[tuple[str, str]]:
    """The words of `dp=8,tp=4`; raises `MeshError`."""
    example = {"mesh": "dp=8,tp=4", "link": "dp=50GB/s,tp=400GB/s"}[what]
    found: list[tuple[str, str]] = []
    for word in said.split(","):
        name, sign, value = (each.strip() for each in word.partition("="))
        if not sign or not name or not value:
            raise MeshError(f"`{word.strip()}` is no part of a {what}: expected NAME=VALUE", f"say it as {example}")
        if name in (each for each, _ in found):
            raise MeshError(f"{name} is said twice in `{said}`", "say it once")
        found.append((name, value))
    return found


def known_dimension(name: str) -> None:
    """Raises `MeshError` for what no dimension is called."""
    if name not in DIMENSIONS:
        near = nearest(name, DIMENSIONS)
        known = "; ".join(f"{each}: {what}" for each, what in DIMENSIONS.items())
        raise MeshError(f"no dimension is called `{name}` ({known})", f"say {near}" if near else "say dp, tp or ep")


def bandwidth(said: str | float) -> float:
    """Bytes a second: a number, or `50GB/s`, `400Gbit/s`; raises `MeshError`."""
    if not isinstance(said, str):
        return _positive(said, f"{said} is no speed")
    wrong = f"`{said}` is no speed: expected bytes or bits a second"
    found = re.fullmatch(rf"({_NUMBER})\s*([kKMGTP]?)(?:(i?)(B|bit)/s|(b)ps)", said.strip())
    if found is None:
        raise MeshError(wrong, "say it as 50GB/s, or in bits as 400Gbit/s")
    number, scale, binary, unit, bits = found.groups()
    if binary and not scale:
        raise MeshError(wrong, "say it as 50GB/s, or in bits as 400Gbit/s")
    bytes_a_second = (
        float(number) * (1024 if binary else 1000) ** _POWER[scale.upper()] / (8 if bits or unit == "bit" else 1)
    )
    return _positive(bytes_a_second, wrong)


def operations(said: str | float) -> float:
    """Operations a second: a number, or `300T`, `1.5PFLOP/s`; raises `MeshError`."""
    if not isinstance(said, str):
        return _positive(said, f"{said} is no number of operations a second")
    wrong = f"`{said}` is no number of operations a second"
    found = re.fullmatch(rf"({_NUMBER})\s*([kKMGTP]?)(?:FLOPS|(?:FLOP)?(?:/s)?)", said.strip(), re.IGNORECASE)
    if found is None:
        raise MeshError(wrong, "say it as 300T, or 300TFLOP/s")
    return _positive(float(found[1]) * 1000.0 ** _POWER[found[2].upper()], wrong)


_NUMBER = r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"
_POWER = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}


def _size(name: str, said: str) -> int:
    # As with numbers of a spec, other digits than these, signs and underscores are no numbers.
    if not re.fullmatch(r"[0-9]{1,9}", said):
        raise MeshError(f"{name}={said}: expected a whole number of devices", f"say it as {name}=8")
    return int(said)


def _positive(number: float, wrong: str) -> float:
    if isinstance(number, bool) or not math.isfinite(number) or number <= 0:
        raise MeshError(wrong, "say a number greater than 0")
    return float(number)
