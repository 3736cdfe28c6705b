"""The figures of where the loss lies: by position, by document, by look-ahead."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablations.breakdowns import Breakdowns, read_breakdowns
from ablations.stored import StoredStudy, trial_folder
from reports import figures
from reports.figures.catalogue import all_figures
from reports.figures.documents import document_differences_of
from reports.figures.look_ahead import losses_by_look_ahead
from reports.figures.positions import losses_by_position
from reports.statistics import t_interval
from tests.reports import synthetic
from tests.reports.breakdowns import CONTEXT, breakdowns_of
from tests.reports.drawings import drawn


def example(seeds: int = 5) -> tuple[StoredStudy, Breakdowns]:
    study = synthetic.four_arms()[0]
    return study, breakdowns_of(study, seeds)


@given(context=st.integers(1, 300), seed=st.integers(0, 99))
def test_ranges_of_positions_double_and_hold_every_token_once(context: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    losses, tokens = generator.uniform(1, 9, context), generator.integers(1, 50, context)
    frame = pd.DataFrame({"arm": "a", "seed": 0, "position": range(context), "nats": losses * tokens, "tokens": tokens})
    found = losses_by_position(frame).loc[("a", 0)]
    first, expected = 1, {}
    while first <= context:
        last = min(context, first if first == 1 else 2 * (first - 1))
        inside = slice(first - 1, last)
        expected[(first * last) ** 0.5] = (losses * tokens)[inside].sum() / tokens[inside].sum()
        first = last + 1
    assert list(found.index) == pytest.approx(list(expected))
    assert found.to_numpy() == pytest.approx(list(expected.values()))


def test_the_figure_of_positions_shows_means_and_paired_differences() -> None:
    study, found = example()
    top, bottom = drawn(figures.loss_by_position(study, found.positions)).axes
    losses = losses_by_position(found.positions)
    assert len(top.lines) == len(study.arms)
    for arm, line in zip(study.arms, top.lines, strict=True):
        assert np.asarray(line.get_ydata()) == pytest.approx(losses.loc[arm.name].mean().to_numpy())
    zero, *differences = bottom.lines
    assert zero.get_ydata() == [0, 0]
    assert len(differences) == len(bottom.collections) == len(study.arms) - 1
    pairs = losses.loc[study.arms[1].name] - losses.loc[study.reference]
    assert np.asarray(differences[0].get_ydata()) == pytest.approx(pairs.mean().to_numpy())
    band = bottom.collections[0].get_paths()[0].vertices[:, 1]
    lows, highs = np.transpose([t_interval(pairs[place]) for place in pairs.columns])
    assert {round(float(y), 9) for y in band} == {round(float(y), 9) for y in (*lows, *highs)}


def test_two_seeds_have_no_band_and_one_arm_no_figure() -> None:
    study, found = example(2)
    bottom = drawn(figures.loss_by_position(study, found.positions)).axes[1]
    assert all(np.isnan(part.get_paths()[0].vertices).any() for part in bottom.collections if part.get_paths())
    alone = found.positions[found.positions["arm"] == study.reference]
    assert figures.loss_by_position(study, alone) is None


def test_documents_are_paired_by_seed_and_short_ones_left_out() -> None:
    study, found = example()
    said = document_differences_of(study, found.documents)
    assert [one.arm for one in said] == [arm.name for arm in study.arms[1:]]
    for place, one in enumerate(said, start=2):
        gain = 0.01 * place
        assert one.differences == pytest.approx([gain if document % 3 == 0 else -gain for document in range(11)])
        assert one.better == pytest.approx(7 / 11)
    axes = drawn(figures.document_differences(study, found.documents)).axes[0]
    assert [text.get_text() for text in axes.texts] == ["64\N{NARROW NO-BREAK SPACE}%"] * 3 + ["better on"]
    lines = axes.lines[1:4]
    assert [list(line.get_xdata()) for line in lines] == [
        pytest.approx(np.quantile(said[0].differences, share)) for share in ([0.05, 0.95], [0.25, 0.75], [0.5])
    ]


def test_few_documents_make_no_figure() -> None:
    study, found = example()
    few = found.documents[found.documents["document"] < 7]
    assert figures.document_differences(study, few) is None


def test_heads_are_shown_beside_the_networks_own_prediction() -> None:
    study, found = example()
    axes = drawn(figures.loss_by_look_ahead(study, found.positions, found.ahead)).axes[0]
    arms = [arm.name for arm in study.arms if arm.name != study.reference]
    assert len(axes.lines) == len(arms)
    losses = losses_by_look_ahead(found.positions, found.ahead)
    for arm, line in zip(arms, axes.lines, strict=True):
        own = found.positions[found.positions["arm"] == arm]
        first = own.groupby("seed")["nats"].sum() / own.groupby("seed")["tokens"].sum()
        heads = found.ahead[found.ahead["arm"] == arm].groupby("distance")["loss"].mean()
        assert list(line.get_xdata()) == [1, 2, 3, 4]
        assert np.asarray(line.get_ydata()) == pytest.approx([first.mean(), *heads])
        assert losses.loc[arm].shape == (5, 4)


def test_the_catalogue_has_them_where_a_study_has_breakdowns_only() -> None:
    study, trials, curves = synthetic.four_arms()
    names = {"loss_by_position", "document_differences", "loss_by_look_ahead"}
    without = {one.name for one in all_figures(study, trials, curves.iloc[:0])}
    found = {one.name: one for one in all_figures(study, trials, curves.iloc[:0], breakdowns_of(study))}
    assert found.keys() - without == names
    headless = {one.name for one in all_figures(study, trials, curves.iloc[:0], breakdowns_of(study, heads=0))}
    assert headless - without == names - {"loss_by_look_ahead"}


def test_files_are_read_of_finished_trials_and_broken_ones_left_out(tmp_path: Path) -> None:
    study = synthetic.four_arms()[0]
    content = {
        "positions": {"position": [0, 2], "nats": [3.0, 4.5], "tokens": [1, 2]},
        "documents": {"document": [4], "nats": [7.5], "tokens": [3]},
        "ahead": {"multi_token": {"2": 3.5}},
    }
    trials = [(arm.name, seed, trial) for arm in study.arms for seed, trial in arm.trials.items()][:4]
    texts = [json.dumps(content), json.dumps(content)[:-9], json.dumps({**content, "ahead": 3}), json.dumps(content)]
    for (_, _, trial), text in zip(trials, texts, strict=True):
        folder = trial_folder(tmp_path, trial)
        folder.mkdir(parents=True)
        (folder / "breakdown.json").write_text(text)
        if trial != trials[3][2]:
            (folder / "result.json").write_text('{"status": "done", "validation_loss": 2.5}')
    found = read_breakdowns(tmp_path, study)
    arm, seed, trial = trials[0]
    known = {"trial": trial, "arm": arm, "seed": seed}
    assert found.positions.to_dict("records") == [
        {**known, "position": 0, "nats": 3.0, "tokens": 1},
        {**known, "position": 2, "nats": 4.5, "tokens": 2},
    ]
    assert found.documents.to_dict("records") == [{**known, "document": 4, "nats": 7.5, "tokens": 3}]
    assert found.ahead.to_dict("records") == [{**known, "objective": "multi_token", "distance": 2, "loss": 3.5}]


def test_positions_that_are_one_range_are_no_figure() -> None:
    study, found = example()
    late = found.positions[found.positions["position"] >= CONTEXT - 3]
    assert figures.loss_by_position(study, late) is None
