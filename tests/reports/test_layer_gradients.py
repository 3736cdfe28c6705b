"""Gradients by layer: from trials' files to the maps of a report, and what the probe of gradients shows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ablations.layer_gradients import WHOLE, LayerGradients, read_layer_gradients
from ablations.stored import trial_folder
from deepsight.evaluation import gradients
from deepsight.training.names import GRADIENTS_FILE, RESULT_FILE
from reports import figures
from reports.figures.catalogue import all_figures
from reports.figures.layer_gradients import MOST_ARMS, layer_gradient_parts, pulling_objectives
from reports.figures.layer_maps import layer_places, shown_layers
from reports.frames import diagnostic_columns
from reports.probe_tables import MAIN
from tests.reports import synthetic
from tests.reports.drawings import drawn, small_grid, text_problems
from tests.reports.probed_models import DEEP, HOSTILE, SMALL, gradient_evidence_of, layer_gradients_of, of_probe


def test_the_whole_has_one_name_everywhere() -> None:
    assert gradients.WHOLE == WHOLE


def write_trials(folder: Path, rows: pd.DataFrame, finished: int) -> None:
    for place, (trial, part) in enumerate(rows.groupby("trial", sort=False)):
        own = part.drop(columns=["trial", "arm", "seed"]).astype(object)
        lines = [json.dumps(row) for row in own.where(own.notna(), None).to_dict("records")]
        where = trial_folder(folder, str(trial))
        where.mkdir(parents=True)
        (where / GRADIENTS_FILE).write_text("\n".join(lines) + '\n{"step"', encoding="utf-8")
        if place < finished:
            (where / RESULT_FILE).write_text('{"status": "done"}', encoding="utf-8")


def test_rows_of_finished_trials_are_read(tmp_path: Path) -> None:
    study = synthetic.four_arms(2)[0]
    rows = layer_gradients_of(study, steps=(0, 100))
    write_trials(tmp_path, rows, finished=3)
    found = read_layer_gradients(tmp_path, study).rows
    expected = rows[rows["trial"].isin(list(dict.fromkeys(rows["trial"]))[:3])].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected[list(found.columns)])
    assert LayerGradients(found) == read_layer_gradients(tmp_path, study) != LayerGradients()


def test_other_files_are_left_out(tmp_path: Path) -> None:
    study = synthetic.four_arms(1)[0]
    rows = layer_gradients_of(study, steps=(0,))
    write_trials(tmp_path, rows, finished=2)
    for trial, content in zip(dict.fromkeys(rows["trial"]), ('[1]\n{"step": 3}\n', "no JSON\n"), strict=True):
        (trial_folder(tmp_path, trial) / GRADIENTS_FILE).write_text(content, encoding="utf-8")
    assert read_layer_gradients(tmp_path, study) == LayerGradients()


def test_maps_show_means_over_seeds_layer_by_layer() -> None:
    study = synthetic.four_arms()[0]
    rows = layer_gradients_of(study)
    figure = drawn(figures.layer_gradients(study, rows))
    maps = [axes for axes in figure.axes if axes.images]
    arms = [arm.name for arm in study.arms[2:]]
    assert [axes.get_title(loc="left") for axes in maps[::2]] == arms
    for axes, (arm, side) in zip(maps, [(arm, side) for arm in arms for side in ("share", "cosine")], strict=True):
        image = np.ma.filled(axes.images[0].get_array(), np.nan)
        assert image.shape == (len(SMALL) + 2, 7)
        own = rows[rows["arm"] == arm]
        for place, layer in zip(layer_places((*SMALL, WHOLE)), (*SMALL, WHOLE), strict=True):
            expected = own[own["layer"] == layer].groupby("step")[side].mean().to_numpy()
            np.testing.assert_allclose(image[place], expected, rtol=1e-12)
        missing = [patch for patch in axes.patches if patch.get_hatch()]
        assert len(missing) == (0 if side == "share" else np.isnan(image[: len(SMALL)]).all(axis=1).sum())
        assert axes.images[0].get_clim() == {"share": (0.0, 1.0), "cosine": (-1.0, 1.0)}[side]
    assert [label.get_text() for label in maps[0].get_yticklabels()] == [
        "embedding", "encoder 1", "encoder 2", "bridge", "decoder 1", "decoder 2", "final norm", "all layers"
    ]  # fmt: skip
    assert [label.get_text().replace("\u202f", "") for label in maps[-1].get_xticklabels()][-1] == "600"


def test_small_numbers_have_a_scale_of_their_own() -> None:
    study = synthetic.four_arms()[0]
    rows = layer_gradients_of(study)
    figure = drawn(figures.layer_gradients(study, rows.assign(share=rows["share"] / 2, cosine=rows["cosine"] / 2)))
    assert [axes.images[0].get_clim() for axes in figure.axes if axes.images][:2] == [(0.0, 0.5), (-0.5, 0.5)]


def test_names_of_layers_are_thinned_where_there_is_no_room() -> None:
    assert list(shown_layers((*SMALL, WHOLE)).values())[-2:] == ["final norm", "all layers"]
    shown = shown_layers((*DEEP, WHOLE))
    assert next(iter(shown.values())) == "embedding"
    assert list(shown.values())[-2:] == ["final norm", "all layers"]
    places = layer_places((*DEEP, WHOLE))
    assert all(DEEP[place] == name for place, name in list(shown.items())[:-1])
    assert min(np.diff(list(shown))) >= 2
    assert places[-1] > len(DEEP)
    assert shown_layers(("layer 1",)) == {0: "layer 1"}
    assert shown_layers((WHOLE,)) == {0: WHOLE}


def test_many_arms_take_several_figures_and_controls_none() -> None:
    study, *_ = small_grid()
    rows = layer_gradients_of(study)
    parts = layer_gradient_parts(study, rows, "future_context")
    assert parts == -(-18 // MOST_ARMS)
    titles = [
        axes.get_title(loc="left")
        for part in range(parts)
        for axes in drawn(figures.layer_gradients(study, rows, "future_context", part)).axes
        if axes.get_title(loc="left")
    ]
    assert len(titles) == 18
    assert figures.layer_gradients(study, rows, "future_context", parts) is None
    assert figures.layer_gradients(study, rows, "other") is None
    controlled = study.model_copy(
        update={"arms": [arm.model_copy(update={"control": place > 3}) for place, arm in enumerate(study.arms)]}
    )
    assert layer_gradient_parts(controlled, rows, "future_context") == 1
    assert pulling_objectives(controlled, rows[rows["arm"].isin([arm.name for arm in study.arms[4:]])]) == []


def test_the_catalogue_has_them_and_diagnostics_do_not() -> None:
    study, trials, curves = synthetic.four_arms()
    rows = pd.concat([layer_gradients_of(study), layer_gradients_of(study, objective=HOSTILE)])
    without = [one.name for one in all_figures(study, trials, curves.iloc[:0])]
    found = {one.name: one for one in all_figures(study, trials, curves.iloc[:0], gradients=LayerGradients(rows))}
    added = [name for name in found if name not in without]
    assert added == ["layer_gradients__i_plug_in_x_i_x_1_", "layer_gradients_future_context"]
    assert [name for name in found if name not in added] == without
    assert "hatched" in found[added[1]].caption
    assert not [column for column in diagnostic_columns(curves) if "layer" in column]


@pytest.mark.parametrize("make", [synthetic.four_arms, synthetic.hostile])
@pytest.mark.parametrize("layers", [SMALL, DEEP, ("embedding",)])
def test_every_text_can_be_read(make, layers) -> None:  # type: ignore[no-untyped-def]
    study = make()[0]
    rows = layer_gradients_of(study, layers, objective=HOSTILE, arms=slice(0, None))
    assert text_problems(drawn(figures.layer_gradients(study, rows))) == []
    tables = gradient_evidence_of(study, layers, objective=HOSTILE, arms=slice(0, None))
    assert text_problems(drawn(of_probe("gradient_evidence", study, tables))) == []


def test_the_probe_is_drawn_before_and_after_training() -> None:
    study = synthetic.four_arms()[0]
    rows = gradient_evidence_of(study)["gradients"]
    figure = drawn(of_probe("gradient_evidence", study, {"gradients": rows}))
    assert len(figure.axes) == 4
    for place, (arm, side) in enumerate((arm.name, side) for arm in study.arms[2:] for side in ("share", "cosine")):
        dots = [line for line in figure.axes[place].lines if line.get_marker() == "o"]
        for line, weights in zip(dots, ("untrained", "trained"), strict=True):
            own = rows[(rows["arm"] == arm) & (rows["weights"] == weights)]
            expected = own.groupby("layer")[side].mean()
            np.testing.assert_allclose(line.get_xdata(), [expected[layer] for layer in (*SMALL, WHOLE)], rtol=1e-12)
        seeds = [line for line in figure.axes[place].lines if line.get_marker() == "|"]
        assert len(seeds) == 5


def test_numbers_that_are_missing_everywhere_are_drawn_too() -> None:
    study = synthetic.four_arms(1)[0]
    rows = gradient_evidence_of(study)["gradients"]
    nothing = rows.assign(share=None, cosine=None, depth=rows["depth"].astype(object))
    drawn(of_probe("gradient_evidence", study, {"gradients": nothing}))
    assert len(MAIN["gradient_evidence"]({"gradients": nothing.assign(cosine_of_means=None)}).rows) == 4
    empty = layer_gradients_of(study).assign(share=np.nan, cosine=np.nan)
    drawn(figures.layer_gradients(study, empty))


def test_the_table_says_what_the_whole_network_has_and_which_layers_stand_out() -> None:
    study = synthetic.four_arms()[0]
    rows = gradient_evidence_of(study)["gradients"]
    table = MAIN["gradient_evidence"]({"gradients": rows})
    assert [column.title for column in table.columns] == [
        "arm", "objective", "weights", "share", "cosine", "cosine of means", "largest share", "lowest cosine"
    ]  # fmt: skip
    arm = study.arms[2].name
    own = rows[(rows["arm"] == arm) & (rows["weights"] == "trained")].groupby("layer")[["share", "cosine"]].mean()
    cells = next(row for row in table.rows if [cell.text for cell in row[:3]] == [arm, "future_context", "trained"])
    assert cells[3].key == pytest.approx(own.loc[WHOLE, "share"])
    layers = own.drop(index=WHOLE)
    assert cells[6].text.endswith(f"({layers['share'].idxmax()})")
    assert cells[7].text.endswith(f"({layers['cosine'].idxmin()})")
    assert cells[7].key == pytest.approx(layers["cosine"].min())
    one = rows[(rows["arm"] == arm) & (rows["seed"] == 0)]
    assert next(column.title for column in MAIN["gradient_evidence"]({"gradients": one}).columns) == "objective"
