"""Numbers backwards: what one side of an operator, or the argument of a function, must be for a result."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from blueprint import arithmetic
from blueprint.interop.expression import same


def alike(left: Any, right: Any) -> bool:
    """Whether two values are the same up to the rounding of floating-point numbers."""
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (left, right))
    return math.isclose(left, right, rel_tol=1e-12) if numbers else same(left, right)


def counterpart(sign: str, left: bool, target: float, known: float) -> float:
    """What stands on the `left` of an operator, or on its right, with a known number on the other side."""
    if sign == "*":
        return target / known
    if sign == "+":
        return target - known
    if sign == "-":
        return target + known if left else known - target
    return target * known if left else known / target


def rounded(value: float) -> float:
    """The whole number that a number is up to rounding, else the number itself."""
    near = round(value)
    return near if math.isclose(value, near, rel_tol=1e-9) else value


def root(come: Callable[[float], float], target: float) -> float | None:
    """Where a function that only rises, or only falls, over positive numbers comes to a target; None if nowhere."""
    low, high = 1e-9, 1e12
    try:
        rising = come(high) > come(low)
        if not min(come(low), come(high)) <= target <= max(come(low), come(high)):
            return None
        for _ in range(200):
            middle = math.sqrt(low * high)
            if (come(middle) < target) == rising:
                low = middle
            else:
                high = middle
        for value in (rounded(low), low):
            if alike(come(value), target):
                return value
    except arithmetic.ArithmeticFault:
        return None
    return None
