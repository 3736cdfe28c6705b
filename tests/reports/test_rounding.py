"""In every table with estimates: numbers are rounded by their uncertainty, and only a verdict makes anything bold."""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from reports.comparisons import compare
from reports.effects import factor_effects
from reports.efficiency import efficiency
from reports.fairness import fairness
from reports.main_table import main_table
from reports.table import Table
from tests.reports import synthetic

FACTORS: dict[str, list[Any]] = {"objective.distance": ["mse", "cosine"], "objective.n": [3, 11]}
ESTIMATES = {
    "main": {
        "train loss": ("train_loss_mean",),
        "validation loss": ("validation_loss_mean", "validation_loss_half_width"),
        "bits per byte": ("bits_per_byte_mean",),
        "paired difference [95 % interval]": ("difference_mean", "difference_low", "difference_high"),
    },
    "fairness": {
        "difference at equal data": ("difference_mean", "difference_low", "difference_high"),
        "difference at equal training FLOPs": tuple(f"equal_flops_difference_{end}" for end in ("mean", "low", "high")),
        "difference at equal time": tuple(f"equal_time_difference_{end}" for end in ("mean", "low", "high")),
    },
    "efficiency": {
        "tokens": ("tokens_ratio", "tokens_ratio_low", "tokens_ratio_high"),
        "training FLOPs": ("flops_ratio", "flops_ratio_low", "flops_ratio_high"),
        "seconds": ("seconds_ratio", "seconds_ratio_low", "seconds_ratio_high"),
    },
    "factor_effects": {
        "marginal mean": ("mean", "mean_half_width"),
        "difference to the first value [95 % interval]": ("difference", "difference_low", "difference_high"),
    },
}
"""Table → column → where its numbers stand unrounded: the estimate, and what is shown of its interval."""


@functools.cache
def tables(seed: int, seeds: int, noise: float, effect: float) -> dict[str, Table]:
    """The tables of a small grid beside a reference; times differ, so that the arms are not read at one place."""
    generator = np.random.default_rng(seed)
    arms: dict[str, dict[str, Any]] = {"base": {}}
    for values in itertools.product(*FACTORS.values()):
        arms[", ".join(map(str, values))] = dict(zip(FACTORS, values, strict=True))
    study = synthetic.study_of(arms, "base", seeds, factors=FACTORS, flops={"mse, 3": 9_000_000})
    common = generator.normal(0, 0.02, seeds)
    losses = {
        name: (4 - effect * place + common + generator.normal(0, noise, seeds)).tolist()
        for place, name in enumerate(arms)
    }
    trials = synthetic.trials_of(study, losses)
    curves = synthetic.curves_of(study, trials)
    curves["seconds"] *= curves["arm"].map({name: generator.uniform(0.8, 1.2) for name in arms})
    comparisons = compare(study, trials)
    found = [
        main_table(study, trials, comparisons),
        fairness(study, trials, curves, comparisons),
        efficiency(study, curves, comparisons),
        factor_effects(study, trials),
    ]
    for table in found:
        if table is not None and table.name == "factor_effects":
            table.data["mean_half_width"] = (table.data["mean_high"] - table.data["mean_low"]) / 2
    return {table.name: table for table in found if table is not None}


every_study = pytest.mark.parametrize(
    "study",
    [(0, 2, 0.003, 0.03), (1, 3, 1e-5, 0.03), (2, 4, 0.2, -0.03), (3, 5, 1e-4, 0.001), (4, 5, 0.003, 0.0),
     (5, 6, 0.05, 0.03), (6, 7, 0.003, 0.03), (7, 7, 1e-5, -0.03)],
)  # fmt: skip
"""What `tables` makes a study of: few and many seeds, much noise and hardly any, arms better, worse and equal."""


def halves(data: pd.DataFrame, fields: tuple[str, ...]) -> list[float]:
    """Half widths of a column; those of what is shown without its interval stand in a column of their own."""
    if len(fields) == 3:
        return ((data[fields[2]] - data[fields[1]]) / 2).astype(float).tolist()
    return data[fields[0].replace("_mean", "_half_width") if len(fields) == 1 else fields[1]].astype(float).tolist()


def two_digits(uncertainty: float) -> int:
    """The decimals with which an uncertainty has two significant digits."""
    exponent = Decimal(f"{uncertainty:.1e}").as_tuple().exponent
    assert isinstance(exponent, int)
    return max(-exponent, 0)


def shown(table: Table, title: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that show an estimate, and its numbers as they are written."""
    place = [column.title for column in table.columns].index(title)
    for row, cells in enumerate(table.rows):
        numbers = re.findall(r"\d+(?:\.\d+)?", re.sub(r"\(.*\)", "", cells[place].text))
        if numbers:
            yield row, numbers


@every_study
def test_a_column_has_as_many_decimals_as_its_uncertainty_is_known_to(study: tuple[Any, ...]) -> None:
    for name, table in tables(*study).items():
        for title, fields in ESTIMATES[name].items():
            rows = dict(shown(table, title))
            decimals = {len(number.partition(".")[2]) for numbers in rows.values() for number in numbers}
            assert len(decimals) <= 1, (name, title)
            known = sorted(half for half in halves(table.data, fields) if half > 0)
            if known and rows:
                median = two_digits(float(np.median(known)))
                assert median <= decimals.pop() <= median + 1, (name, title)
            with_interval = {row for row, half in enumerate(halves(table.data, fields)) if math.isfinite(half)}
            assert with_interval & set(rows) == {
                row for row, numbers in rows.items() if len(numbers) == len(fields) and row in with_interval
            }


@every_study
def test_what_is_shown_is_the_data_rounded(study: tuple[Any, ...]) -> None:
    for name, table in tables(*study).items():
        for title, fields in ESTIMATES[name].items():
            for row, numbers in shown(table, title):
                for number, field in zip(numbers, fields, strict=False):
                    exact = abs(float(table.data[field][row]))
                    assert abs(exact - float(number)) <= 0.5000001 * 10 ** -len(number.partition(".")[2]), (name, title)


@every_study
def test_bold_is_the_best_of_those_that_are_better_by_holm_and_nothing_else(study: tuple[Any, ...]) -> None:
    found = tables(*study)
    data = found["main"].data.set_index("arm").drop(index="base")
    best = None
    if data["p"].notna().all():
        decided = multipletests(data["p"], method="holm")[0] & ~(data["p_equivalence_holm"] < 0.05)
        better = data[decided & (data["difference_mean"] < 0)]
        best = None if better.empty else better["difference_mean"].idxmin()
    for name, table in found.items():
        for row in table.rows:
            bold = [column.title for column, cell in zip(table.columns, row, strict=True) if cell.strong]
            expected = ["arm", "paired difference [95 % interval]", "verdict"] if row[0].text == best else []
            assert bold == (expected if name == "main" else [])


@pytest.mark.parametrize(("seeds", "effect", "bold"), [(7, 0.03, True), (4, 0.03, False), (7, -0.03, False)])
def test_there_are_tables_with_and_without_bold(seeds: int, effect: float, bold: bool) -> None:
    rows = tables(1, seeds, 0.003, effect)["main"].rows
    assert any(cell.strong for row in rows for cell in row) == bold
