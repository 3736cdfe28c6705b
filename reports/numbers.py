"""Numbers as people read them: rounded by their uncertainty, with thin words for size, time and memory."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable

MISSING = "–"
MINUS = "−"
SUPERSCRIPTS = str.maketrans("−0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
DECIMALS = 4
"""Decimals of a loss whose uncertainty is not known."""


def decimals_for(uncertainty: float) -> int:
    """Return the decimals that keep two significant digits of an uncertainty: 0.0123 → 3, 0.00067 → 5."""
    if not math.isfinite(uncertainty) or uncertainty <= 0:
        return DECIMALS
    exponent = int(f"{uncertainty:.1e}".split("e")[1])
    return min(max(1 - exponent, 0), 8)


def shared_decimals(uncertainties: Iterable[float]) -> int:
    """Return the decimals that suit a whole column: those of its smallest uncertainty, at most one more than the usual.

    A column of one number of decimals can be read down; one row that is known far better must not widen all others.
    """
    known = sorted(value for value in uncertainties if math.isfinite(value) and value > 0)
    if not known:
        return DECIMALS
    return min(decimals_for(known[0]), decimals_for(statistics.median(known)) + 1)


def fixed(value: float, decimals: int = DECIMALS, *, sign: bool = False) -> str:
    """Return a number with fixed decimals and a true minus sign; an en dash for a missing one."""
    if not math.isfinite(value):
        return MISSING
    text = f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("+-")  # no signed zero
    return text.replace("-", MINUS)


def with_half_width(value: float, half_width: float, decimals: int | None = None) -> str:
    """Return "3.2143 ± 0.0021", or the value alone where the half width is unknown; decimals by the half width."""
    decimals = decimals_for(half_width) if decimals is None else decimals
    if not math.isfinite(half_width):
        return fixed(value, decimals)
    return f"{fixed(value, decimals)} ± {fixed(half_width, decimals)}"


def difference(mean: float, low: float, high: float, decimals: int | None = None) -> str:
    """Return "−0.0231 [−0.0360, −0.0102]", or the mean alone where there is no interval; decimals by its half width."""
    decimals = decimals_for((high - low) / 2) if decimals is None else decimals
    if not (math.isfinite(low) and math.isfinite(high)):
        return fixed(mean, decimals, sign=True)
    return f"{fixed(mean, decimals, sign=True)} [{fixed(low, decimals, sign=True)}, {fixed(high, decimals, sign=True)}]"


def p_value(p: float) -> str:
    """Return a p value with two significant digits, "< 0.0001" below that, and enough digits to tell it from 5 %."""
    if not math.isfinite(p):
        return MISSING
    if p < 1e-4:
        return "< 0.0001"
    decimals = 4 if p < 0.001 else 3 if p < 0.1 else 2
    while f"{p:.{decimals}f}".rstrip("0") == "0.05" and decimals < 6:
        decimals += 1
    return fixed(p, decimals)


def equation(name: str, p: float) -> str:
    """Return "p = 0.012" or "p < 0.0001"."""
    text = p_value(p)
    return f"{name} {text}" if text.startswith("<") else f"{name} = {text}"


def significant(value: float, digits: int = 3) -> str:
    """Return a number with so many significant digits, with a power of ten where it is very small or large."""
    if not math.isfinite(value):
        return MISSING
    mantissa, _, exponent = f"{value:.{digits}g}".replace("-", MINUS).partition("e")
    if not exponent:
        return mantissa
    power = exponent.lstrip("+").replace(MINUS + "0", MINUS).lstrip("0")
    return f"{mantissa} × 10{power.translate(SUPERSCRIPTS)}"


def whole(value: float) -> str:
    """Return a count with thousands separated: 15,763,500."""
    return f"{round(value):,}" if math.isfinite(value) else MISSING


def times(ratio: float, decimals: int | None = None) -> str:
    """Return a ratio as a multiple, "×1.03"; with two decimals, or two significant digits where it is far below one."""
    if not math.isfinite(ratio):
        return MISSING
    if decimals is not None:
        return f"×{ratio:.{decimals}f}"
    return f"×{ratio:.2f}" if ratio >= 0.1 or ratio == 0 else f"×{significant(ratio, 2)}"


def quantity(value: float) -> str:
    """Return a large count in short: 3.1 M."""
    if not math.isfinite(value):
        return MISSING
    value = float(f"{value:.3g}")  # rounded first, so that 999,999 is 1 M
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    """Return a time as its two largest parts: 2 h 05 min, 3 min 12 s, 8.4 s."""
    if not math.isfinite(seconds):
        return MISSING
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def memory(size: float) -> str:
    """Return bytes in MiB or GiB."""
    if not math.isfinite(size):
        return MISSING
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
