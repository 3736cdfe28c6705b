"""Whole numbers at which an expensive count comes nearest to a target, found with few counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

FARTHEST = 2**24
"""Numbers above it are no widths or depths that anyone has."""

NEARBY, FARTHEST_STEP = 32, 2048
"""How many numbers around the curve's solution are compared, and how far from it they may lie."""

MOST_COUNTS = 12
"""Where the count follows no smooth curve, the search ends with the best that it has counted."""


def ranked(
    count: Callable[[int], int],
    target: int,
    start: int,
    second: int,
    degree: int = 1,
    known: Mapping[int, int] | None = None,
    low: int = 1,
    high: int = FARTHEST,
    fits: Callable[[int], bool] = lambda number: True,
) -> list[int]:
    """Return numbers that fit, those whose count is nearest to the target first; the first one's is counted.

    A polynomial through the counted points nearest to the target predicts the others. What it names is counted, and
    makes the next polynomial, until it names a number that is counted: exact wherever the count is such a polynomial.

    Args:
        count: grows with its number.
        target: of the counts.
        start, second: the numbers that are counted first.
        degree: of the polynomial.
        known: points of the curve that need no count; they are not among the results.
        low, high: bounds of the results.
        fits: whether a number may be a result.

    """
    counted = {number: count(number) for number in dict.fromkeys((start, second))}
    while True:
        points = counted | dict(known or {})
        curve = _through(dict(sorted(points.items(), key=lambda point: abs(point[1] - target))[: degree + 1]))
        nearby = _nearby(_reaching(curve, target, low, high), low, high, fits)
        own = [number for number in counted if low <= number <= high and fits(number)]

        def distance(number: int, curve: Callable[[int], float] = curve) -> tuple[float, int]:
            return abs(counted.get(number, curve(number)) - target), abs(number - start)

        numbers = sorted({*nearby, *own}, key=distance)
        if not numbers or numbers[0] in counted:
            return numbers
        if len(counted) >= MOST_COUNTS:
            return [number for number in numbers if number in counted]
        counted[numbers[0]] = count(numbers[0])


def _through(points: Mapping[int, int]) -> Callable[[int], float]:
    """Return the polynomial of least degree through some points, in Lagrange's form."""

    def value(number: int) -> float:
        return sum(
            height * math.prod((number - other) / (place - other) for other in points if other != place)
            for place, height in points.items()
        )

    return value


def _reaching(curve: Callable[[int], float], target: int, low: int, high: int) -> int:
    """Return the smallest number from `low` on at which a growing curve reaches the target, `high` where none does."""
    end = low
    while end < high and curve(end) < target:
        low, end = end, min(2 * end + 1, high)
    while low < end:
        middle = (low + end) // 2
        low, end = (middle + 1, end) if curve(middle) < target else (low, middle)
    return low


def _nearby(number: int, low: int, high: int, fits: Callable[[int], bool]) -> list[int]:
    """Return the numbers around one that fit, the nearest first."""
    found: list[int] = []
    for step in range(FARTHEST_STEP):
        for near in dict.fromkeys((number - step, number + step)):
            if low <= near <= high and fits(near):
                found.append(near)
        if len(found) >= NEARBY:
            break
    return found
