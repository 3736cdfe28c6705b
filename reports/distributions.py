"""Distributions over 1 … n that objectives learn and report: a probability each, and their mean."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pandas as pd

from reports.frames import diagnostic_columns

EXPECTED = re.compile(r"(?P<start>.*_)expected_(?P<what>[a-z_]+)")
PROBABILITY = re.compile(r"(?P<start>.*_)probability_(?P<number>\d+)")


@dataclass(frozen=True)
class Distribution:
    """What is reported as ``<start>expected_<what>`` and ``<start>probability_1`` … ``<start>probability_<n>``.

    Attributes:
        what: it is of, as "horizon" or "distance".
        columns: of the probabilities of 1 … n, in this order.

    """

    what: str
    columns: tuple[str, ...]


def distributions(curves: pd.DataFrame) -> list[Distribution]:
    """Return the distributions that the curves have columns of, in the order of the columns."""
    columns = [column for column in diagnostic_columns(curves) if curves[column].notna().any()]
    numbered: dict[str, dict[int, str]] = {}
    for column in columns:
        if match := PROBABILITY.fullmatch(column):
            numbered.setdefault(match["start"], {})[int(match["number"])] = column
    found = []
    for column in columns:
        match = EXPECTED.fullmatch(column)
        if match and (known := numbered.get(match["start"])):
            found.append(Distribution(match["what"], tuple(known[number] for number in sorted(known))))
    return found
