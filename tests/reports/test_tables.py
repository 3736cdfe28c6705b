"""What the tables say, against numbers worked out here."""

from __future__ import annotations

import io
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablations.stored import StoredStudy
from reports import tables
from reports.accounts import failures, ledger
from reports.comparisons import compare
from reports.main_table import main_table
from reports.pairing import pairing
from reports.records import Records
from reports.table import Table
from reports.table_formats import to_csv
from tests.reports import synthetic


def column(table: Table, title: str) -> list[str]:
    position = [column.title for column in table.columns].index(title)
    return [row[position].text for row in table.rows]


def titles(table: Table) -> list[str]:
    return [column.title for column in table.columns]


def main(study: StoredStudy, trials: pd.DataFrame) -> Table:
    return main_table(study, trials, compare(study, trials))


def test_the_main_table_shows_every_arm_with_its_numbers() -> None:
    study, trials, _ = synthetic.four_arms()
    table = main(study, trials)
    assert titles(table) == [
        "arm", "inference parameters", "training-only parameters", "training FLOPs per token", "seeds",
        "train loss", "validation loss", "bits per byte", "paired difference [95 % interval]", "p", "p (Holm)",
        "verdict",
    ]  # fmt: skip
    assert column(table, "arm") == [arm.name for arm in study.arms]
    assert column(table, "seeds") == ["5/5"] * 4
    assert column(table, "inference parameters")[:2] == ["1,190,272", "1,180,672"]
    assert column(table, "training-only parameters") == ["0", "0", "512", "0"]
    assert column(table, "training FLOPs per token") == ["7 M"] * 4
    assert column(table, "verdict") == ["reference", "worse", "undecided", "better"]
    last = study.arms[3].name
    losses = {name: trials[trials["arm"] == name]["validation_loss"].to_numpy(float) for name in ("baseline", last)}
    mean, half = losses[last].mean(), stats.t.ppf(0.975, 4) * losses[last].std(ddof=1) / math.sqrt(5)
    assert column(table, "validation loss")[3] == f"{mean:.4f} ± {half:.4f}"
    interval = stats.ttest_rel(losses[last], losses["baseline"]).confidence_interval()
    expected = [np.mean(losses[last] - losses["baseline"]), interval.low, interval.high]
    shown = column(table, "paired difference [95 % interval]")[3].replace("−", "-")
    assert [float(part.strip("[], ")) for part in shown.split()] == pytest.approx(expected, abs=5e-5)


def test_the_csv_holds_the_numbers_unrounded() -> None:
    study, trials, _ = synthetic.four_arms()
    data = pd.read_csv(io.StringIO(to_csv(main(study, trials)))).set_index("arm")
    for arm, comparison in compare(study, trials).items():
        assert data.loc[arm, "difference_mean"] == comparison.mean
        assert data.loc[arm, "p_holm"] == comparison.p_adjusted
        assert data.loc[arm, "verdict"] == comparison.verdict
    assert math.isnan(data.loc["baseline", "p"])


@pytest.mark.parametrize(("effect", "bold"), [(-0.05, True), (-0.0001, False), (0.05, False)])
def test_only_the_best_of_the_better_is_bold(effect: float, bold: bool) -> None:
    study = synthetic.study_of({"reference": {}, "arm": {"objective.n": 3}, "good": {"objective.n": 5}}, "reference")
    losses = {
        "reference": synthetic.seed_losses(4, 0, 5),
        "arm": synthetic.seed_losses(4, effect, 5),
        "good": synthetic.seed_losses(4, min(effect, 0) / 2, 5),
    }
    table = main(study, synthetic.trials_of(study, losses))
    strong = [row[0].text for row in table.rows if any(cell.strong for cell in row)]
    assert strong == (["arm"] if bold else [])


def test_fewer_than_five_seeds_make_nothing_bold() -> None:
    study, trials, _ = synthetic.four_arms(4)
    table = main(study, trials)
    assert not any(cell.strong for row in table.rows for cell in row)
    assert "p" not in titles(table)


def test_train_loss_cannot_be_ranked_by() -> None:
    study, trials, _ = synthetic.four_arms()
    for table in (main(study, trials), tables.every_trial(study, trials, Records())):
        assert next(column.title for column in table.columns if not column.sortable) == "train loss"
    assert "not ranked" in main(study, trials).notes[0]


def test_columns_come_with_what_they_need() -> None:
    study, trials, _ = synthetic.four_arms(6)
    assert "p (sign flip)" in titles(main(study, trials))
    one = synthetic.study_of({"reference": {}, "arm": {"objective.n": 3}}, "reference", margin=0.05)
    losses = {"reference": synthetic.seed_losses(4, 0, 5), "arm": synthetic.seed_losses(4, 0.001, 5)}
    table = main(one, synthetic.trials_of(one, losses))
    assert "p (Holm)" not in titles(table)
    assert "training-only parameters" not in titles(table)
    assert column(table, "verdict")[1] == "equivalent"
    assert "p (equivalence)" in titles(table)


def test_the_word_paired_needs_proof() -> None:
    study, trials, _ = synthetic.four_arms()
    trials.loc[7, "batch_digest"] = "another"
    table = main(study, trials)
    text = " ".join([*titles(table), *table.notes])
    assert "difference by seed" in text
    assert "aired difference" not in text


def test_the_ledger_counts_trials_and_shared_ones_once() -> None:
    study = synthetic.study_of({"reference": {}, "again": {}, "arm": {"objective.n": 1}}, "reference", 3)
    losses = [4.0, math.nan, 4.1]
    table = ledger(study, synthetic.trials_of(study, {"reference": losses, "again": losses, "arm": [4.0]}))
    assert column(table, "done") == ["2", "2", "1", "3"]
    assert column(table, "failed") == ["1", "1", "0", "1"]
    assert column(table, "pending") == ["0", "0", "2", "2"]
    assert table.totals == 1
    assert table.data["seconds"].tolist() == pytest.approx([63, 63, 31.5, 94.5])
    assert "3 trials serve more than one arm" in table.notes[0]


def test_failures_say_what_happened() -> None:
    study, trials, _ = synthetic.half_finished()
    table = failures(study, trials)
    assert table is not None
    (row,) = table.rows
    assert [cell.text for cell in row[:4]] == [
        "DeepSight without objective", "3", "diverged", "the loss is not finite at step 120"
    ]  # fmt: skip
    assert row[4].link == f"../trials/{study.arms[1].trials[3]}/"
    study, trials, _ = synthetic.four_arms()
    assert failures(study, trials) is None


def test_a_failure_without_words_is_shown() -> None:
    study, trials, _ = synthetic.half_finished()
    trials["failure"] = trials["failure_message"] = None
    table = failures(study, trials)
    assert table is not None
    assert [cell.text for cell in table.rows[0][2:4]] == ["failed", "–"]


def test_configuration_differences_show_only_those() -> None:
    study, trials, _ = synthetic.grid(1)
    noted = study.arms[0].model_copy(update={"notes": ["width 72: 0.4 % fewer parameters"]})
    study = study.model_copy(update={"arms": [noted, *study.arms[1:]]})
    table = tables.configuration_differences(study, trials)
    assert titles(table) == ["arm", "model.architecture", "objective.n", "model.layers", "objective.aggregator"]
    assert [cell.text for cell in table.rows[2]][1:] == ["–", "3", "[2, 2]", "average"]
    assert table.notes == ("baseline: width 72: 0.4 % fewer parameters",)


def test_places_schedules_and_components_read_well_in_the_differences() -> None:
    schedule = {"start": 1.0, "schedule": "linear_decay", "share": 0.5}
    arms: dict[str, dict[str, Any]] = {
        "one": {"objective": "none", "objective.attach": {"layer": 3}},
        "two": {"objective": "bag_of_words", "objective.attach": "encoder", "objective.coefficient": schedule},
        "three": {"model.architecture": {"name": "encoder_decoder", "attention_order": "cross_first"}},
        "four": {}, "five": {},
    }  # fmt: skip
    study = synthetic.study_of(arms, "one", 1)
    table = tables.configuration_differences(study, synthetic.trials_of(study, {}))
    assert [[cell.text for cell in row] for row in table.rows[:3]] == [
        ["one", "none", "layer 3", "–", "–"],
        ["two", "bag_of_words", "encoder", "1 → 0 (linear_decay over 0.5)", "–"],
        ["three", "–", "–", "–", "encoder_decoder(attention_order=cross_first)"],
    ]
    assert json.loads(pd.read_csv(io.StringIO(to_csv(table)))["objective.coefficient"][1]) == schedule


def test_the_objective_is_a_difference_even_where_no_arm_writes_it() -> None:
    study = synthetic.study_of({"one": {"model.architecture": "deepsight"}, "two": {}}, "one", 1)
    trials = synthetic.trials_of(study, {}).assign(objective=["future_context", "none"])
    assert tables.configuration_differences(study, trials).data["objective"].tolist() == ["future_context", "none"]


def test_many_keys_of_few_arms_stand_in_rows() -> None:
    arms = {"one": {"a.x": 1, "a.y": [1, 2], "a.z": "p"}, "two": {"a.x": 2, "a.y": None, "a.z": "q"}}
    study = synthetic.study_of(arms, "one", 1)
    table = tables.configuration_differences(study, synthetic.trials_of(study, {}))
    assert titles(table) == ["key", "one", "two"]
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["a.x", "1", "2"], ["a.y", "[1, 2]", "–"], ["a.z", "p", "q"]
    ]  # fmt: skip
    assert table.data["arm"].tolist() == ["one", "two"]


def test_pairing_shows_its_proof() -> None:
    study, trials, _ = synthetic.half_finished()
    table = pairing(study, compare(study, trials))
    assert table is not None
    assert [[cell.text for cell in row[1:5]] for row in table.rows] == [
        ["3", "2", "3", "0"], ["2", "3", "2", "0"], ["0", "5", "0", "0"]
    ]  # fmt: skip
    empty = synthetic.trials_of(study, {})
    assert pairing(study, compare(study, empty)) is None


def test_every_trial_is_linked_to_what_it_left() -> None:
    study, trials, _ = synthetic.half_finished()
    first, second = list(study.arms[0].trials.values())[:2]
    table = tables.every_trial(study, trials, Records(frozenset([first])))
    assert len(table.rows) == 20
    assert table.rows[0][0].text == first[:12]
    assert table.rows[0][0].link == f"../trials/{first}/"
    assert table.rows[0][-1].link == f"../trials/{first}/config.yaml"
    assert table.rows[1][0].link == f"../trials/{second}/"
    assert table.rows[1][-1].link is None


def test_provenance_is_a_table_of_what_the_trials_recorded() -> None:
    records = Records(provenance={"a": {"commit": "abc", "threads": 1}, "b": {"commit": "def", "threads": 1}})
    table = tables.provenance(records)
    assert table is not None
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["commit", "abc (1 of 2 trials); def (1 of 2 trials)"], ["threads", "1"]
    ]  # fmt: skip
    assert to_csv(table) == "key,value\ncommit,abc (1 of 2 trials); def (1 of 2 trials)\nthreads,1\n"
    assert tables.provenance(Records()) is None


def test_an_id_that_is_none_makes_no_address() -> None:
    assert tables.trial_cell("../../etc").link is None


@pytest.mark.parametrize("make", [synthetic.four_arms, synthetic.grid, synthetic.half_finished, synthetic.hostile])
def test_a_study_without_a_finished_trial_still_has_its_tables(make) -> None:  # type: ignore[no-untyped-def]
    study, trials, _ = make()
    for frame in (pd.DataFrame(), trials.assign(status="failed", validation_loss=math.nan)):
        assert len(main(study, frame).rows) == len(study.arms)
        assert len(ledger(study, frame).rows) == len(study.arms) + 1
        assert len(tables.every_trial(study, frame, Records()).rows) == sum(len(arm.trials) for arm in study.arms)
