"""Numbers and names as they are read."""

from __future__ import annotations

import math

import pytest

from reports import numbers, wording


@pytest.mark.parametrize(
    ("value", "half_width", "text"),
    [
        (3.21432, 0.0123, "3.214 ± 0.012"),
        (3.21432, 0.00067, "3.21432 ± 0.00067"),
        (3.21432, 1.5, "3.2 ± 1.5"),
        (3.21432, 42, "3 ± 42"),
        (3.21432, 0.0996, "3.21 ± 0.10"),
        (3.21432, math.nan, "3.2143"),
        (3.21432, 0.0, "3.2143 ± 0.0000"),
        (math.nan, math.nan, "–"),
    ],
)
def test_a_value_is_rounded_by_its_uncertainty(value: float, half_width: float, text: str) -> None:
    assert numbers.with_half_width(value, half_width) == text


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((-0.0231, -0.036, -0.0102), "−0.023 [−0.036, −0.010]"),
        ((0.00001, -0.012, 0.01202), "0.000 [−0.012, +0.012]"),
        ((0.5, math.nan, math.nan), "+0.5000"),
        ((math.nan, math.nan, math.nan), "–"),
    ],
)
def test_a_difference_has_its_interval(ends: tuple[float, float, float], text: str) -> None:
    assert numbers.difference(*ends) == text


def test_a_column_shares_its_decimals() -> None:
    assert numbers.shared_decimals([0.012, 0.0093, 0.025]) == 4
    assert numbers.shared_decimals([0.012, 1e-9, 0.025]) == 4  # one more than the usual three
    assert numbers.shared_decimals([math.nan, 0.0]) == numbers.DECIMALS


@pytest.mark.parametrize(
    ("p", "text"), [(0.5, "0.50"), (0.0499, "0.0499"), (0.050004, "0.050004"),
        (0.05, "0.050000"),
        (0.0012, "0.001"), (0.00041, "0.0004"), (1e-9, "< 0.0001"),
                    (1.0, "1.00"), (math.nan, "–")]
)  # fmt: skip
def test_p_values(p: float, text: str) -> None:
    assert numbers.p_value(p) == text


def test_a_p_value_in_a_sentence() -> None:
    assert numbers.equation("p", 0.02) == "p = 0.020"
    assert numbers.equation("p", 0) == "p < 0.0001"


@pytest.mark.parametrize(
    ("value", "text"), [(1.03, "1.03"), (5.41e-5, "5.41 × 10⁻⁵"), (-2e-10, "−2 × 10⁻¹⁰"), (3e7, "3 × 10⁷"), (0, "0")]
)
def test_significant_digits(value: float, text: str) -> None:
    assert numbers.significant(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(999, "999"), (1228800, "1.23 M"), (999_999, "1 M"), (2.5e12, "2.5 T"), (math.nan, "–")]
)
def test_quantities(value: float, text: str) -> None:
    assert numbers.quantity(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(8.44, "8.4 s"), (59.96, "1 min 00 s"), (192, "3 min 12 s"), (3599.6, "1 h 00 min"), (7512, "2 h 05 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert numbers.duration(seconds) == text


def test_memory() -> None:
    assert numbers.memory(640 * 2**20) == "640 MiB"
    assert numbers.memory(3 * 2**30) == "3.00 GiB"


def test_a_long_name_keeps_both_ends_and_its_limit() -> None:
    name = f"start{'x' * 200}end"
    short = wording.elided(name, 20)
    assert len(short) == 20
    assert short.startswith("start")
    assert short.endswith("end")
    assert wording.elided("two\nlines\tof  text") == "two lines of text"


@pytest.mark.parametrize(
    ("items", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c"),
     (["a", "b", "c", "d", "e"], "a, b, c and 2 more")],
)  # fmt: skip
def test_lists_in_sentences(items: list[str], text: str) -> None:
    assert wording.listed(items) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), ([2, 2], "[2, 2]"), (True, "true"), (3e-4, "0.0003"), ("decay", "decay"),
                        ({"rate": 0.5}, "{rate: 0.5}"), ("1", "'1'")]
)  # fmt: skip
def test_settings_are_written_as_in_a_study(value: object, text: str) -> None:
    assert wording.setting_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"layer": 3}, "layer 3"),
        ({"start": 1.0, "schedule": "linear_decay", "share": 0.5}, "1 → 0 (linear_decay over 0.5)"),
        ({"start": 0.3, "schedule": "off_after", "share": 1.0}, "0.3 → 0 (off_after)"),
        ({"schedule": "linear_decay"}, "1 → 0 (linear_decay)"),
        ({"start": 2.0}, "2"),
        ({"name": "decay"}, "decay"),
        ({"name": "decay", "rate": 0.5, "layers": [2, 2]}, "decay(rate=0.5, layers=[2, 2])"),
        (
            {"name": "bag_of_words", "attach": {"layer": 2}, "weight": {"name": "idf", "floor": 1}},
            "bag_of_words(attach=layer 2, weight=idf(floor=1))",
        ),
        (["multi_token", {"name": "bag_of_words", "window": 12}], "multi_token + bag_of_words(window=12)"),
    ],
)
def test_places_schedules_and_components_are_written_in_words(value: object, text: str) -> None:
    assert wording.setting_text(value) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(1.0, "×1.00"), (2.0317, "×2.03"), (0.5, "×0.50"), (0.00342, "×0.0034"), (0.0, "×0.00"), (math.nan, "–"),
     (1234.5, "×1234.50")],
)  # fmt: skip
def test_ratios_are_multiples(ratio: float, text: str) -> None:
    assert numbers.times(ratio) == text
