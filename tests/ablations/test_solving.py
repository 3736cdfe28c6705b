"""The search with few counts, against looking at every number."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from ablations.solving import FARTHEST, MOST_COUNTS, ranked


class Counted:
    """A count that remembers how often it was asked."""

    def __init__(self, formula: Callable[[int], int]) -> None:
        self.formula, self.asked = formula, 0

    def __call__(self, number: int) -> int:
        self.asked += 1
        return self.formula(number)


@given(
    square=st.integers(0, 40),
    linear=st.integers(1, 5000),
    answer=st.integers(1, 3000),
    off=st.floats(-0.5, 0.5),
    start=st.integers(1, 2000),
    second=st.integers(1, 2000),
    step=st.integers(1, 7),
)
def test_the_nearest_number_of_a_parabola_takes_few_counts(
    square: int, linear: int, answer: int, off: float, start: int, second: int, step: int
) -> None:
    count = Counted(lambda number: square * number**2 + linear * number)
    target = round(count.formula(answer) + off * linear)

    def fits(number: int) -> bool:
        return number % step == 0

    found = ranked(count, target, start, second, degree=2, known={0: 0}, fits=fits)
    best = min((n for n in range(1, 4000) if fits(n)), key=lambda n: abs(count.formula(n) - target))
    assert abs(count.formula(found[0]) - target) == abs(count.formula(best) - target)
    assert all(map(fits, found))
    distances = [abs(count.formula(number) - target) for number in found]
    assert distances == sorted(distances)
    assert len(found) > 1
    assert count.asked <= 5


@given(
    slope=st.integers(1, 900),
    constant=st.integers(0, 10**6),
    target=st.integers(1, 10**7),
    start=st.integers(1, 500),
    bounds=st.tuples(st.integers(1, 400), st.integers(400, 2000)),
)
def test_a_line_is_solved_within_its_bounds(
    slope: int, constant: int, target: int, start: int, bounds: tuple[int, int]
) -> None:
    low, high = bounds
    count = Counted(lambda number: constant + slope * number)
    found = ranked(count, target, start, start + 1, low=low, high=high)
    best = min(range(low, high + 1), key=lambda number: abs(count.formula(number) - target))
    assert abs(count.formula(found[0]) - target) == abs(count.formula(best) - target)
    assert all(low <= number <= high for number in found)
    assert count.asked <= 4


def test_a_count_that_does_not_change_leaves_the_first_number() -> None:
    count = Counted(lambda number: 70)
    for target in (60, 70, 80):
        assert ranked(count, target, 12, 14, low=5, high=20)[0] == 12


def test_a_count_that_follows_no_curve_gives_the_best_that_was_counted() -> None:
    asked: dict[int, int] = {}

    def rough(number: int) -> int:
        asked[number] = 1000 * (number // 10) + (-1) ** number * 400 * (number % 7)
        return asked[number]

    found = ranked(rough, 54_321, 3, 40)
    assert len(asked) <= MOST_COUNTS
    assert abs(asked[found[0]] - 54_321) == min(abs(value - 54_321) for value in asked.values())


def test_numbers_that_fit_are_found_across_a_gap() -> None:
    assert ranked(lambda n: n, 150, 400, 410, fits=lambda number: number < 100 or number >= 400)[0] == 99
    assert ranked(lambda n: n, 10, 40, 41, fits=lambda number: number >= 40)[:2] == [40, 41]
    assert ranked(lambda n: n, 10 * FARTHEST, 40, 41, high=50)[0] == 50
    assert ranked(lambda n: n, 10, 40, 41, fits=lambda number: False) == []
