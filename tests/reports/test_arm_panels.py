"""The panels of the arms: settings, and each trial with what it left."""

from __future__ import annotations

import re

import pandas as pd

from ablations.stored import Candidate
from reports.accounts import ledger
from reports.arm_panels import arm_panels, linked
from reports.records import Records
from tests.reports import synthetic


def test_each_trial_is_shown_with_what_it_left() -> None:
    study, trials, curves = synthetic.half_finished()
    ids = list(study.arms[1].trials.values())
    records = Records(frozenset([ids[0], ids[1]]), measured=frozenset([ids[1]]))
    panels = arm_panels(study, trials, curves, records)
    assert [panel.name for panel in panels.panels] == [arm.name for arm in study.arms]
    assert panels.panels[0].state == "reference, 4 of 5 trials done"
    panel = panels.panels[1]
    assert (panel.state, panel.settings) == ("3 of 5 trials done", (("model.architecture", "deepsight"),))
    assert [line.seed for line in panel.trials] == [0, 1, 2, 3, 4]
    assert [line.status for line in panel.trials] == ["done", "done", "done", "failed", "pending"]
    assert [line.trial.link for line in panel.trials] == [*(f"../trials/{trial}/" for trial in ids[:4]), None]
    assert [[cell.link for cell in line.files] for line in panel.trials] == [
        [f"../trials/{ids[0]}/config.yaml"],
        [f"../trials/{ids[1]}/config.yaml", f"../trials/{ids[1]}/metrics.jsonl"],
        [], [], [],
    ]  # fmt: skip
    losses = trials[trials["arm"] == panel.name]["validation_loss"]
    assert [line.validation_loss for line in panel.trials] == [*(f"{loss:.4f}" for loss in losses[:3]), "–", "–"]
    last = [re.findall(r"last ([\d.]+)\.", line.curve) for line in panel.trials]
    assert last == [*([f"{loss:.4f}"] for loss in losses[:3]), ["40.0000"], []]


def test_totals_lead_nowhere_whatever_an_arm_is_called() -> None:
    study = synthetic.study_of({"reference": {}, "all trials": {"objective.n": 3}}, "reference", 1)
    table = linked(ledger(study, pd.DataFrame()), {"reference": 0, "all trials": 1})
    assert [row[0].link for row in table.rows] == ["#arm-0", "#arm-1", None]
    assert not any(cell.link for cell in table.rows[-1])


def test_tuned_values_and_notes_are_shown() -> None:
    study, _, _ = synthetic.four_arms(1)
    candidates = [
        Candidate(settings={"training.learning_rate": rate}, trials={}, chosen=rate == 0.003) for rate in (0.001, 0.003)
    ]
    arm = study.arms[0].model_copy(update={"candidates": candidates, "notes": ["A note."], "trials": {}})
    study = study.model_copy(update={"arms": [arm, *study.arms[1:]]})
    panels = arm_panels(study, pd.DataFrame(), pd.DataFrame(), Records())
    assert panels.axes is None
    assert panels.panels[0].settings[-1] == ("training.learning_rate (tuned)", "0.003")
    assert (panels.panels[0].notes, panels.panels[0].trials) == (("A note.",), ())
