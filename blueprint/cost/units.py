"""Numbers as people read them."""

from __future__ import annotations


def count(number: float) -> str:
    """A count in three or four figures: `124.4 M`, `8.03 B`."""
    return _scaled(number, 1000, ("", "K", "M", "B", "T"))


def size(number: float) -> str:
    """Bytes: `512 B`, `14.96 GiB`."""
    return _scaled(number, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"))


def decimal(number: float) -> str:
    """Bytes in steps of a thousand, up to those that weights are told in: `16.06 GB`, `1,342.1 GB`."""
    return _scaled(number, 1000, ("B", "kB", "MB", "GB"))


def flops(number: float) -> str:
    """Floating-point operations: `15.2 GFLOP`."""
    return _scaled(number, 1000, ("FLOP", "KFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP", "ZFLOP"))


def seconds(number: float) -> str:
    """A time: `0.50 µs`, `1.20 ms`, `340.0 s`."""
    scaled = next(
        ((number * by, unit) for by, unit in ((1e6, "µs"), (1e3, "ms")) if round(number * by, 1) < 1000), None
    )
    value, unit = scaled or (number, "s")
    return f"{value:,.{2 if value < 100 else 1}f} {unit}"


def _scaled(number: float, step: int, units: tuple[str, ...]) -> str:
    unit = 0
    # Rounded before it is judged, so that 999.96 becomes the next unit's 1 and not `1000`.
    while round(number, 1) >= step and unit + 1 < len(units):
        number, unit = number / step, unit + 1
    digits = 0 if unit == 0 and number == int(number) else 2 if number < 100 else 1
    return f"{number:,.{digits}f} {units[unit]}".rstrip()
