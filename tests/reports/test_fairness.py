"""The table of fairness: differences at equal data, FLOPs and time, against numbers worked out here."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablations.stored import StoredStudy
from reports.comparisons import compare
from reports.cost_curves import flops, seconds
from reports.equal_cost import EqualCost, at_equal_cost
from reports.fairness import fairness
from reports.frames import complete_curves
from reports.table import Table
from reports.table_formats import to_csv, to_latex
from tests.reports import synthetic

SIZE = 1_180_672
TOKENS = (0, 1000, 2000, 4000)
Losses = dict[str, Sequence[Sequence[float]]]


def hand_made(
    losses: Losses, *, speeds: dict[str, Sequence[float]] | None = None, **settings: object
) -> tuple[StoredStudy, pd.DataFrame, pd.DataFrame]:
    """A study whose arms have these losses, seed by seed, at 0, 1000, 2000 and 4000 tokens.

    `speeds` are seconds per 1000 tokens of each seed, 1 by default.
    """
    seeds = max(len(curves) for curves in losses.values())
    arms = {name: {} if name == "reference" else {"objective.n": place} for place, name in enumerate(losses)}
    study = synthetic.study_of(arms, "reference", seeds, **settings)  # type: ignore[arg-type]
    trials = synthetic.trials_of(study, {name: [curve[-1] for curve in curves] for name, curves in losses.items()})
    rows = [
        {
            "trial": study.arm(arm).trials[seed], "arm": arm, "seed": seed, "step": step, "tokens": tokens,
            "seconds": tokens / 1000 * ((speeds or {}).get(arm, [1.0] * seeds)[seed]), "validation_loss": loss,
        }
        for arm, curves in losses.items()
        for seed, curve in enumerate(curves)
        for step, (tokens, loss) in enumerate(zip(TOKENS, curve, strict=True))
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    ends = frame.groupby("trial")[["tokens", "seconds"]].max()
    trials["tokens"], trials["seconds"] = (trials["trial"].map(ends[column]) for column in ("tokens", "seconds"))
    return study, trials, frame


def equal(frames: tuple[StoredStudy, pd.DataFrame, pd.DataFrame], cost: Callable[..., object]) -> EqualCost:
    study, trials, curves = frames
    return at_equal_cost(study, complete_curves(study, curves), compare(study, trials)["arm"].pairs, cost)  # type: ignore[arg-type]


def table_of(frames: tuple[StoredStudy, pd.DataFrame, pd.DataFrame]) -> Table:
    study, trials, curves = frames
    table = fairness(study, trials, curves, compare(study, trials))
    assert table is not None
    return table


def cells(table: Table) -> dict[str, str]:
    return {column.title: cell.text for column, cell in zip(table.columns, table.rows[0], strict=True)}


REFERENCE = [[8.0, 6.0, 5.0, 4.0], [8.0, 6.2, 5.2, 4.2], [8.0, 6.4, 5.4, 4.4]]
ARM = [[8.0, 5.5, 4.9, 3.5], [8.0, 5.7, 4.7, 3.8], [8.0, 6.0, 5.1, 3.9]]


def test_an_arm_with_doubled_flops_is_read_at_half_of_its_tokens() -> None:
    found = equal(hand_made({"reference": REFERENCE, "arm": ARM}, flops={"arm": 14_000_000}), flops)
    assert found.seeds == (0, 1, 2)
    # Half of 4000 tokens is an evaluation of the arm; the reference stands at its end.
    expected = [4.9 - 4.0, 4.7 - 4.2, 5.1 - 4.4]
    assert found.differences == pytest.approx(expected, rel=1e-12)
    assert (found.share, found.reference_share) == (0.5, 1.0)
    mean, deviation = np.mean(expected), np.std(expected, ddof=1)
    half = stats.t.ppf(0.975, 2) * deviation / math.sqrt(3)
    assert found.mean == pytest.approx(mean, rel=1e-12)
    assert found.interval == pytest.approx((mean - half, mean + half), rel=1e-12)


def test_between_two_evaluations_the_line_is_straight() -> None:
    # 4000 tokens of the reference cost as much as 3000 of the arm: midway between its last two evaluations.
    found = equal(hand_made({"reference": REFERENCE, "arm": ARM}, flops={"reference": 9, "arm": 12}), flops)
    assert found.differences == pytest.approx([4.2 - 4.0, 4.25 - 4.2, 4.5 - 4.4], rel=1e-9)
    assert found.share == 0.75


def test_a_cheaper_arm_cuts_the_reference_short() -> None:
    found = equal(hand_made({"reference": REFERENCE, "arm": ARM}, flops={"reference": 12, "arm": 9}), flops)
    assert found.differences == pytest.approx([3.5 - 4.5, 3.8 - 4.7, 3.9 - 4.9], rel=1e-12)
    assert (found.share, found.reference_share) == (1.0, 0.75)


def test_time_is_taken_seed_by_seed() -> None:
    speeds = {"reference": [1.0, 1.0, 1.0], "arm": [2.0, 1.0, 0.5]}
    found = equal(hand_made({"reference": REFERENCE, "arm": ARM}, speeds=speeds), seconds)
    # Seed 0: the arm at 2000 tokens; seed 1: both at their end; seed 2: the reference at 2000 tokens.
    assert found.differences == pytest.approx([4.9 - 4.0, 3.8 - 4.2, 3.9 - 5.4], rel=1e-12)
    assert (found.share, found.reference_share) == pytest.approx(((0.5 + 1 + 1) / 3, (1 + 1 + 0.5) / 3))


@pytest.mark.parametrize("seeds", [1, 2, 3, 5])
def test_equal_arms_have_the_difference_at_equal_data_everywhere(seeds: int) -> None:
    study = synthetic.study_of({"reference": {}, "arm": {"objective.n": 1}}, "reference", seeds)
    losses = {"reference": synthetic.seed_losses(4, 0, seeds), "arm": synthetic.seed_losses(4, -0.02, seeds)}
    trials = synthetic.trials_of(study, losses)
    frames = study, trials, synthetic.curves_of(study, trials)
    comparison = compare(study, trials)["arm"]
    for cost in (flops, seconds):
        found = equal(frames, cost)
        assert (found.differences == comparison.pairs.differences).all()
        assert found.mean == comparison.mean
        assert found.interval == pytest.approx((comparison.low, comparison.high), rel=0, abs=0, nan_ok=True)
    row = cells(table_of(frames))
    assert row["difference at equal training FLOPs"] == row["difference at equal data"]
    assert row["difference at equal time"] == row["difference at equal data"]
    assert ("[" in row["difference at equal data"]) == (seeds >= 3)
    assert not any("Read before the end" in note for note in table_of(frames).notes)


def test_a_failed_or_missing_seed_takes_its_pair_with_it() -> None:
    study, trials, curves = hand_made({"reference": REFERENCE, "arm": ARM}, flops={"arm": 14_000_000})
    trials.loc[(trials["arm"] == "arm") & (trials["seed"] == 1), ["status", "validation_loss"]] = ["failed", math.nan]
    found = equal((study, trials, curves), flops)
    assert found.seeds == (0, 2)
    assert found.differences == pytest.approx([0.9, 0.7], rel=1e-9)
    assert math.isnan(found.interval[0])


def test_a_curve_that_cannot_be_read_is_counted_in_the_cell() -> None:
    study, trials, curves = hand_made({"reference": REFERENCE, "arm": ARM})
    curves.loc[(curves["arm"] == "arm") & (curves["seed"] == 0), "seconds"] = math.nan
    late = (curves["arm"] == "arm") & (curves["seed"] == 1) & (curves["tokens"] < 4000)
    frames = study, trials, curves[~late].assign(seconds=curves["seconds"])
    row = cells(table_of(frames))
    assert row["difference at equal time"].endswith(" (2 of 3 pairs)")
    assert "pairs" not in row["difference at equal training FLOPs"]
    # An arm whose first evaluation comes after the common cost has no loss there.
    doubled = study.model_copy(
        update={"arms": [study.arms[0], study.arms[1].model_copy(update={"flops_per_token": 14_000_000})]}
    )
    assert equal((doubled, trials, curves[~late]), flops).seeds == (0, 2)
    nothing = table_of((study, trials, pd.DataFrame()))
    assert cells(nothing)["difference at equal training FLOPs"] == "– (0 of 3 pairs)"


@pytest.mark.parametrize(
    ("parameters", "settings", "ratio", "words", "kind"),
    [
        (SIZE, {}, "×1.00", "equal", None),
        (SIZE + 1000, {}, "×1.00", "within 1 %", None),
        (round(SIZE * 1.0099), {"model.match": "parameters"}, "×1.01", "matched", None),
        (round(SIZE * 1.0101), {"model.match": "parameters"}, "×1.01", "matched, not within 1 %", "unequal"),
        (round(SIZE * 0.5), {}, "×0.50", "not equal", "unequal"),
    ],
)
def test_sizes_are_marked(parameters: int, settings: dict[str, str], ratio: str, words: str, kind: str | None) -> None:
    study = synthetic.study_of({"reference": {}, "arm": settings}, "reference", 1, parameters={"arm": parameters})
    table = table_of((study, synthetic.trials_of(study, {}), pd.DataFrame()))
    row = cells(table)
    assert (row["inference parameters"], row["size"], table.rows[0][3].kind) == (ratio, words, kind)


@pytest.mark.parametrize(
    "settings", [{"model.match": "flops"}, {"model.match": {"by": "flops"}}, {"model.match.by": "flops"}]
)
def test_a_match_by_flops_is_marked_where_it_is(settings: dict[str, object]) -> None:
    study = synthetic.study_of({"reference": {}, "arm": settings}, "reference", 1, parameters={"arm": SIZE // 2})
    row = cells(table_of((study, synthetic.trials_of(study, {}), pd.DataFrame())))
    assert (row["size"], row["training FLOPs per token"]) == ("not equal", "×1.00, matched")


def test_the_row_of_an_arm_that_costs_more() -> None:
    frames = hand_made(
        {"reference": REFERENCE, "arm": ARM}, speeds={"arm": [2.5] * 3},
        flops={"arm": 14_210_000}, training_parameters={"arm": 1234},
    )  # fmt: skip
    table = table_of(frames)
    row = cells(table)
    assert row["training-only parameters"] == "1,234"
    assert row["training FLOPs per token"] == "×2.03"
    assert row["seconds per token"] == "×2.50"
    notes = " ".join(table.notes)
    assert "Read before the end of their training at equal training FLOPs: “arm” (after 49 %)." in notes
    assert "Read before the end of their training at equal time: “arm” (after 40 %)." in notes
    assert "looks worse than it is; where a validation loss already rises again, it may look better" in notes
    assert (
        "The reference has 1,180,672 inference parameters and 0 training-only ones; a token of training takes 7 M "
        in (notes)
    )
    cheaper = table_of(hand_made({"reference": REFERENCE, "arm": ARM}, flops={"arm": 5_600_000}))
    assert "at equal training FLOPs: the reference beside “arm” (after 80 %)." in " ".join(cheaper.notes)


def test_many_arms_that_are_cut_short_are_named_the_earliest_first() -> None:
    names = [f"arm {place}" for place in range(6)]
    flops_of = {name: 7_000_000 + 1_000_000 * place for place, name in enumerate(names)}
    notes = table_of(hand_made({"reference": REFERENCE} | dict.fromkeys(names, ARM), flops=flops_of)).notes
    assert "training FLOPs: “arm 5” (after 58 %), “arm 4” (after 64 %), “arm 3” (after 70 %) and 2 more." in " ".join(
        notes
    )


def test_a_reference_that_was_solved_for_the_base_is_said() -> None:
    study, trials, curves = hand_made({"reference": REFERENCE, "arm": ARM})
    assert "solved" not in " ".join(table_of((study, trials, curves)).notes)
    matched = study.arms[0].model_copy(update={"settings": {"model.match": "parameters"}})
    study = study.model_copy(update={"arms": [matched, study.arms[1]]})
    assert (
        "0 training-only ones, its size solved to match the study's base;" in table_of((study, trials, curves)).notes[1]
    )


def test_the_csv_is_unrounded_and_latex_knows_every_sign() -> None:
    frames = hand_made({"reference": REFERENCE, "arm": ARM}, flops={"arm": 14_000_000})
    table = table_of(frames)
    data = pd.read_csv(io.StringIO(to_csv(table))).iloc[0]
    assert data["equal_flops_difference_mean"] == equal(frames, flops).mean
    assert data["equal_flops_share_of_training"] == 0.5
    assert data["flops_per_token_ratio"] == 2.0
    assert data["seconds_per_token"] == pytest.approx(1e-3, rel=1e-12)
    assert to_latex(table).isascii()


def test_a_study_of_the_reference_alone_has_no_such_table() -> None:
    study = synthetic.study_of({"reference": {}}, "reference")
    assert fairness(study, pd.DataFrame(), pd.DataFrame(), {}) is None


@pytest.mark.parametrize("make", [synthetic.four_arms, synthetic.grid, synthetic.half_finished, synthetic.hostile])
def test_any_study_has_a_row_an_arm(make: Callable[[], tuple[StoredStudy, pd.DataFrame, pd.DataFrame]]) -> None:
    study, trials, curves = make()
    for frames in ((study, trials, curves), (study, trials, pd.DataFrame()), (study, pd.DataFrame(), pd.DataFrame())):
        assert [row[0].text for row in table_of(frames).rows] == [
            arm.name for arm in study.arms if arm.name != study.reference
        ]
