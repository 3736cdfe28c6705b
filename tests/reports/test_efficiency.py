"""What an arm needs to reach the reference's final loss, against curves whose answers are worked out here."""

from __future__ import annotations

import io
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from reports.comparisons import compare
from reports.cost_curves import CostCurve, flops, seconds, tokens
from reports.efficiency import Reaching, efficiency, reaching
from reports.frames import complete_curves
from reports.table import Table
from reports.table_formats import to_csv, to_latex
from tests.reports import synthetic
from tests.reports.test_fairness import Losses, hand_made

# Losses at 0, 1000, 2000 and 4000 tokens; the references end at 4.0, 4.2 and 4.4.
REFERENCE = [[8.0, 6.0, 5.0, 4.0], [8.0, 6.2, 5.2, 4.2], [8.0, 6.4, 5.4, 4.4]]
# 4.0 at 3000 tokens, between 4.5 and 3.5; 4.2 at 2000, an evaluation; 4.4 at 1500, between 4.8 and 4.0.
FASTER = [[8.0, 5.0, 4.5, 3.5], [8.0, 5.0, 4.2, 4.5], [8.0, 4.8, 4.0, 3.9]]
# 4.2 at 4000 alone; the others end above.
SLOWER = [[8.0, 7.0, 6.0, 4.1], [8.0, 7.0, 6.0, 4.2], [8.0, 7.0, 6.0, 5.0]]


def table_of(losses: Losses, **settings: object) -> tuple[Table, dict[str, dict[str, str]]]:
    study, trials, curves = hand_made({"reference": REFERENCE, **losses}, **settings)  # type: ignore[arg-type]
    table = efficiency(study, curves, compare(study, trials))
    assert table is not None
    titles = [column.title for column in table.columns]
    return table, {row[0].text: dict(zip(titles, (c.text for c in row), strict=True)) for row in table.rows}


@pytest.mark.parametrize(
    ("loss", "cost"),
    [(9.0, 0.0), (8.0, 0.0), (7.0, 5.0), (6.0, 10.0), (5.5, 30.0), (5.0, 10 + 40 * 1.0), (4.9, 50 + 10 * 0.1)],
)
def test_a_curve_is_read_where_it_first_gets_there(loss: float, cost: float) -> None:
    curve = CostCurve(np.array([0.0, 10.0, 50.0, 60.0, 70.0]), np.array([8.0, 6.0, 5.0, 4.0, 5.5]))
    assert curve.reaching(loss) == pytest.approx(cost, abs=1e-12)
    assert math.isnan(curve.reaching(3.9))


def test_ratios_are_those_worked_out_by_hand() -> None:
    losses = {"reference": REFERENCE, "arm": FASTER}
    study, trials, curves = hand_made(losses, speeds={"arm": [2.0, 2.0, 4.0]}, flops={"arm": 14_000_000})
    curves, pairs = complete_curves(study, curves), compare(study, trials)["arm"].pairs
    by_tokens = np.array([3000, 2000, 1500]) / 4000
    for cost, expected in ((tokens, by_tokens), (flops, 2 * by_tokens), (seconds, by_tokens * [2, 2, 4])):
        found = reaching(study, curves, pairs, cost)
        assert found.ratios == pytest.approx(expected, rel=1e-12)
        assert found.mean == pytest.approx(stats.gmean(expected), rel=1e-12)
        low, high = stats.ttest_1samp(np.log(expected), 0).confidence_interval(0.95)
        assert found.interval == pytest.approx((math.exp(low), math.exp(high)), rel=1e-9)


def test_the_table_shows_them_and_who_never_gets_there() -> None:
    never = [[8.0, 7.0, 6.0, 4.5 + seed] for seed in range(3)]
    table, rows = table_of({"faster": FASTER, "slower": SLOWER, "never": never})
    assert rows["faster"]["seeds that reach it"] == "3 of 3 reach"
    assert rows["faster"]["tokens"].startswith("×0.52 [×0.")
    assert rows["slower"]["seeds that reach it"] == "1 of 3 reach"
    assert rows["slower"]["tokens"] == rows["slower"]["seconds"] == "×1.00"
    assert rows["never"]["seeds that reach it"] == "0 of 3 reach"
    assert {rows["never"][title] for title in ("tokens", "training FLOPs", "seconds")} == {"never"}
    assert "flatters the arm" in table.notes[-1]
    assert len(table_of({"faster": FASTER})[0].notes) == len(table.notes) - 1
    data = pd.read_csv(io.StringIO(to_csv(table))).set_index("arm")
    assert data.loc["faster", "tokens_ratio"] == pytest.approx(stats.gmean([0.75, 0.5, 0.375]), rel=1e-12)
    assert data["reached"].tolist() == [3, 1, 0]
    assert to_latex(table).isascii()


def test_the_reference_again_needs_exactly_as_much() -> None:
    study, trials, curves = synthetic.four_arms()
    curves = complete_curves(study, curves)
    base = curves[curves["arm"] == "baseline"]
    again = study.arms[1].name
    twin = base.assign(arm=again)
    trials.loc[trials["arm"] == again, "validation_loss"] = list(
        trials.loc[trials["arm"] == "baseline", "validation_loss"]
    )
    pairs = compare(study, trials)[again].pairs
    found = reaching(study, pd.concat([base, twin]), pairs, tokens)
    assert found.ratios.tolist() == [1.0] * 5


def test_a_reference_whose_curve_is_cut_gives_no_reading() -> None:
    study, trials, curves = hand_made({"reference": REFERENCE, "arm": FASTER})
    cut = (curves["arm"] == "reference") & (curves["seed"] == 1) & (curves["tokens"] == 4000)
    found = reaching(study, complete_curves(study, curves[~cut]), compare(study, trials)["arm"].pairs, tokens)
    assert (found.reached, found.pairs) == (2, 2)
    assert math.isnan(found.interval[0])
    assert efficiency(study, pd.DataFrame(), compare(study, trials)) is None


def test_an_arm_that_is_there_before_it_starts_needs_nothing() -> None:
    found = Reaching(np.array([0.0, 0.5, 0.5]), 3)
    assert found.mean == 0
    assert math.isnan(found.interval[0])
