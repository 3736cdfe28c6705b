"""What a study of several tasks warns of, tells of costs, and draws: all within a task."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ablations.breakdowns import Breakdowns
from ablations.stored import Candidate, StoredStudy
from reports import figures
from reports.arm_panels import arm_panels
from reports.beside.arms import arms_in_both
from reports.beside.sides import Side
from reports.comparisons import compare
from reports.effects import effects
from reports.efficiency import efficiency
from reports.fairness import fairness
from reports.figures.catalogue import all_figures
from reports.figures.documents import document_differences_of
from reports.figures.sizes import front
from reports.finding import compute
from reports.frames import complete_trials
from reports.pairing import pairing
from reports.records import Records
from reports.references import compared_with
from reports.warnings import study_warnings
from tests.reports import synthetic
from tests.reports.breakdowns import breakdowns_of
from tests.reports.drawings import drawn

Frames = tuple[StoredStudy, pd.DataFrame, pd.DataFrame]
LARGE = ("large, multi-token", "large, next token", "large, dropout", "large, bag of words")
TUNED = [Candidate(settings={"training.steps": 300}, trials={9: "9" * 64}, chosen=True)]


@functools.cache
def frames(seeds: int = 5) -> Frames:
    return synthetic.several_tasks(seeds)


def changed(study: StoredStudy, **of_arms: Mapping[str, Any]) -> StoredStudy:
    """Return the study with arms of which some have another value of a field."""
    arms = [
        arm.model_copy(update={field: values[arm.name] for field, values in of_arms.items() if arm.name in values})
        for arm in study.arms
    ]
    return study.model_copy(update={"arms": arms})


def warned(study: StoredStudy, trials: pd.DataFrame) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for warning in study_warnings(study, trials, pd.DataFrame(), compare(study, trials)):
        found.setdefault(warning.kind, []).append(warning.text)
    return found


def test_what_only_differs_between_tasks_is_no_warning() -> None:
    study, trials, _ = frames()
    study = changed(
        study,
        inference_parameters=dict.fromkeys(LARGE, 3_000_000) | {"lonely": 9_000_000},
        candidates=dict.fromkeys(LARGE, TUNED),
    )
    longer = trials.assign(tokens=trials["tokens"].where(~trials["arm"].isin([*LARGE, "lonely"]), 9e9))
    assert warned(study, longer) == {}


def test_what_differs_within_a_task_is_told_beside_its_reference() -> None:
    study, trials, _ = frames()
    study = changed(
        study,
        inference_parameters=dict.fromkeys(LARGE, 3_000_000) | {"large, dropout": 6_000_000, "bag of words": 2_000_000},
        candidates={"large, dropout": TUNED},
    )
    longer = trials.assign(tokens=trials["tokens"].where(trials["arm"] != "large, bag of words", 9e9))
    found = warned(study, longer)
    assert set(found) == {"size", "tuning", "budget"}
    assert found["size"] == [
        "Not of the size of “next token” at inference (±5 % or more of its 1,180,672 parameters) is “bag of words” "
        "(+69.4 %).",
        "Not of the size of “large, next token” at inference (±5 % or more of its 3,000,000 parameters) is “large, "
        "dropout” (+100.0 %).",
    ]
    assert ["“large, multi-token” with 0, “large, dropout” with 1" in text for text in found["tuning"]] == [True]
    assert ["“large, multi-token” on 1.23 M, “large, bag of words” on 9" in text for text in found["budget"]] == [True]


def test_pairs_are_counted_within_a_task() -> None:
    study, trials, _ = frames()
    failed = trials["arm"].isin(["lonely", "large, next token"]) & (trials["seed"] == 1)
    trials = trials.assign(status=trials["status"].where(~failed, "failed"))
    found = warned(study, trials)
    assert ["3 pairs were removed with them" in text for text in found["failed"]] == [True]
    assert found["seeds"] == [
        "Too few pairs for a verdict, which needs 5: “large, multi-token” (4 pairs), “large, dropout” (4 pairs) and "
        "“large, bag of words” (4 pairs)."
    ]


def test_pairs_that_are_not_proven_are_told_by_reference() -> None:
    study, trials, _ = frames()
    other = trials["arm"].isin(["bag of words", "large, dropout", "lonely"])
    trials = trials.assign(batch_digest=trials["batch_digest"].where(~other, trials["arm"]))
    found = warned(study, trials)["pairing"]
    assert [text.partition(" (")[0] for text in found] == [
        "The comparison with “next token” is not proven to be paired for “bag of words”",
        "The comparison with “large, next token” is not proven to be paired for “large, dropout”",
    ]


def test_a_reference_that_has_not_finished_is_named() -> None:
    study, trials, _ = frames()
    found = warned(study, trials[trials["arm"] != "large, next token"])["unfinished"]
    assert found[1:] == [
        "The reference “large, next token” has no finished trial: nothing of its task can be compared yet."
    ]


def test_costs_are_multiples_of_those_of_the_own_reference() -> None:
    study, trials, curves = frames()
    study = changed(study, flops_per_token=dict.fromkeys(LARGE, 50_000_000) | {"large, dropout": 150_000_000})
    comparisons = compare(study, trials)
    fair, fast = fairness(study, trials, curves, comparisons), efficiency(study, curves, comparisons)
    proof = pairing(study, comparisons)
    assert fair is not None
    assert fast is not None
    assert proof is not None
    for table in (fair, fast, proof):
        assert table.data["arm"].tolist() == list(compared_with(study))
        assert table.data["compared_with"].tolist() == list(compared_with(study).values())
    assert fair.data["flops_per_token_ratio"].tolist() == [1, 1, 3, 1]
    assert "beside the reference of its task" in fair.caption
    assert "of the reference of its task" in fast.caption
    assert compute(study, complete_trials(study, trials)).startswith(
        "More than 1.1 times the reference's training FLOPs: “large, dropout” ×3.00;"
    )


def test_a_factor_that_changes_the_task_has_no_effect_in_nats() -> None:
    degrees, objectives = [2, 5], ["none", "bag_of_words"]
    arms = {f"{one}, {degree}": {"objective": one, "degree": degree} for degree in degrees for one in objectives}
    factors: dict[str, list[Any]] = {"objective": objectives, "degree": degrees}
    study = synthetic.study_of(arms, "none, 2", 3, factors=factors)
    losses = {name: synthetic.seed_losses(float(of["degree"]), -0.1 * place, 3) for place, (name, of) in
              enumerate(arms.items())}  # fmt: skip
    trials = synthetic.trials_of(study, losses)
    assert {effect.factor for effect in effects(study, trials)} == {"objective", "degree"}
    study = synthetic.learning(study, {name: int(of["degree"]) for name, of in arms.items()})
    found = effects(study, trials)
    assert [(effect.factor, effect.value) for effect in found] == [("objective", one) for one in objectives]
    rows = trials.set_index(["arm", "seed"])["validation_loss"]
    differences = [rows[f"bag_of_words, {degree}"] - rows[f"none, {degree}"] for degree in degrees]
    assert found[1].difference == pytest.approx(np.mean(differences))


def test_each_task_has_its_own_front_of_sizes() -> None:
    study, trials, curves = frames()
    sizes = {name: 1_000_000 + 100_000 * place for place, name in enumerate(LARGE)}
    assert figures.size_and_loss(changed(study, inference_parameters={"lonely": 9_000_000}), trials, curves) is None
    study = changed(study, inference_parameters=sizes | {"bag of words": 2_000_000})
    (axes,) = drawn(figures.size_and_loss(study, trials, curves)).axes
    shown = [line.get_xydata()[:-1] for line in axes.lines if line.get_drawstyle() == "steps-post"]
    means = trials.groupby("arm")["validation_loss"].mean()
    tasks = (study.arms[:2], study.arms[2:6])
    points = [[(arm.inference_parameters, means[arm.name]) for arm in arms] for arms in tasks]
    for line, task in zip(shown, points, strict=True):
        assert line == pytest.approx(np.asarray(front(task)), rel=1e-12)


def test_differences_by_position_and_document_are_within_a_task() -> None:
    study, _, _ = frames()
    found = shifted(study, breakdowns_of(study))
    bottom = drawn(figures.loss_by_position(study, found.positions)).axes[1]
    curves = [line for line in bottom.lines if len(line.get_xdata()) > 2]
    assert len(curves) == 4
    assert max(np.abs(line.get_ydata()).max() for line in curves) < 0.1
    by_document = document_differences_of(study, found.documents)
    assert [one.arm for one in by_document] == list(compared_with(study))
    assert max(np.abs(one.differences).max() for one in by_document) < 0.2


def shifted(study: StoredStudy, found: Breakdowns) -> Breakdowns:
    """Return the breakdowns with a loss that is higher by ten nats for each task after the first."""
    of = {arm.name: 10.0 * arm.config["data"]["task"]["degree"] for arm in study.arms}
    positions, documents = (
        frame.assign(nats=frame["nats"] + frame["arm"].map(of) * frame["tokens"])
        for frame in (found.positions, found.documents)
    )
    return Breakdowns(positions, documents, found.ahead)


def test_figures_of_sweeps_have_no_band_of_another_task() -> None:
    arms: dict[str, dict[str, Any]] = {"base": {}} | {f"n={n}": {"objective.n": n, "objective": "x"} for n in (3, 11)}
    study = synthetic.study_of(arms, "base", 3, factors={"objective.n": [3, 11]})
    trials = synthetic.trials_of(study, {name: synthetic.seed_losses(4, 0, 3) for name in arms})
    one = drawn(figures.horizon_sweep(study, trials, pd.DataFrame())).axes[0]
    several = synthetic.learning(study, {"base": 2, "n=3": 5, "n=11": 5})
    other = drawn(figures.horizon_sweep(several, trials, pd.DataFrame())).axes[0]
    assert (len(one.patches), len(other.patches)) == (1, 0)


def test_heat_maps_leave_out_what_is_not_compared() -> None:
    first, second = "objective.distance", "objective.aggregator"
    factors: dict[str, list[Any]] = {first: ["mse", "cosine"], second: ["average", "decay"]}
    arms = {
        f"{one} {other}": {first: one, second: other, "objective": "x"}
        for one, other in itertools.product(*factors.values())
    }
    study = synthetic.study_of(arms, "mse average", 3, factors=factors)
    study = synthetic.learning(study, {name: 2 if name.startswith("mse") else 5 for name in arms})
    losses = {name: synthetic.seed_losses(4, 0.1 * place, 3) for place, name in enumerate(arms)}
    figure = drawn(
        figures.factor_pair(study, synthetic.trials_of(study, losses), pd.DataFrame(), first=first, second=second)
    )
    texts = sorted(text.get_text() for text in figure.axes[0].texts if text.get_text())
    difference = np.mean(np.subtract(losses["mse decay"], losses["mse average"]))
    assert texts == [f"{difference:+.3f}", "no pair", "no pair", "reference"]


def test_two_studies_are_set_against_each_other_where_arms_have_one_reference() -> None:
    study, trials, curves = frames()
    other = changed(study, config={"large, next token": study.arm("lonely").config})
    sides = [Side(letter, letter, one, trials, curves) for letter, one in (("A", study), ("B", other))]
    table = arms_in_both(*sides)
    assert table is not None
    said = table.data.set_index("arm")["agreement"].to_dict()
    assert said["bag of words"] == "same verdict"
    assert said["large, multi-token"] == "other references"  # that of B is the arm with dropout
    assert said["lonely"] == "–"
    rows = {row[0].text: [cell.text for cell in row if cell.kind] for row in table.rows}
    assert rows["lonely"] == ["another task", "another task"]
    assert rows["large, next token"] == ["reference", "another task"]
    assert rows["large, dropout"] == ["undecided", "reference"]


def test_captions_and_panels_call_each_reference_one() -> None:
    study, trials, curves = frames(1)
    captions = {figure.name: figure.caption for figure in all_figures(study, trials, curves)}
    assert captions["differences"].startswith("Validation loss minus that of the reference of its task, seed by seed")
    assert "the final loss of the reference of its task" in captions["cost_to_reach"]
    states = {panel.name: panel.state for panel in arm_panels(study, trials, curves, Records()).panels}
    assert states["large, next token"] == states["next token"] == "reference, 1 of 1 trial done"
    assert states["lonely"] == "1 of 1 trial done"
