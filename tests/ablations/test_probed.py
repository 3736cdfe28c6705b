"""What probes leave in the trials of a study, and how it is read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import ablations
from ablations.finished import FinishedRun, finished_runs
from ablations.places import Places
from ablations.probed import Probed, probed, read_probes
from ablations.running import prepare_study, run_trials
from ablations.sharing import take_over
from ablations.stored import trial_folder
from deepsight import plug_ins
from deepsight.evaluation.probes.answers import Answer, read_answer, write_answer
from deepsight.plug_ins import load_plugins, probes
from tests.ablations.quick import plan_quickly
from tests.ablations.studies import Record, planned, study_data, write_study
from tests.deepsight.evaluation.probes.plugin import write_probe
from tests.reports import synthetic
from tests.runs import write_text


def answer(name: str, rows: list[dict[str, object]], **more: object) -> Answer:
    return Answer({"name": name, "n": 3}, "key", 1.25, {"table": rows, "other": []}, **more)  # type: ignore[arg-type]


def test_answers_of_finished_trials_become_frames(tmp_path: Path) -> None:
    study = synthetic.four_arms()[0]
    trials = [(arm.name, seed, trial) for arm in study.arms for seed, trial in arm.trials.items()][:4]
    for place, (_, seed, trial) in enumerate(trials):
        folder = trial_folder(tmp_path, trial)
        folder.mkdir(parents=True)
        write_answer(folder, answer("asked", [{"k": k, "bits": k + seed, "place": None} for k in (1, 2)]))
        if place != 3:
            (folder / "result.json").write_text('{"status": "done"}')
    write_answer(trial_folder(tmp_path, trials[1][2]), Answer({"name": "failing"}, "key", 0.5, error="it fails"))
    (trial_folder(tmp_path, trials[2][2]) / "probes" / "asked.json").write_text("{")
    found = read_probes(tmp_path, study)
    assert found.asked[["arm", "seed", "probe", "seconds"]].to_dict("records") == [
        {"arm": trials[0][0], "seed": 0, "probe": "asked", "seconds": 1.25},
        {"arm": trials[1][0], "seed": 1, "probe": "asked", "seconds": 1.25},
        {"arm": trials[1][0], "seed": 1, "probe": "failing", "seconds": 0.5},
    ]
    assert found.asked["error"].isna().tolist() == [True, True, False]
    assert found.asked["error"][2] == "it fails"
    assert found.asked["spec"][0] == {"name": "asked", "n": 3}
    assert found.probes == ["asked"]
    assert list(found.tables("asked")) == ["table", "other"]
    frame = found.frames["asked", "table"]
    assert list(frame.columns) == ["arm", "seed", "trial", "k", "bits", "place"]
    assert frame["bits"].tolist() == [1, 2, 2, 3]
    assert found.frames["asked", "other"].empty
    assert found == read_probes(tmp_path, study)
    assert found != Probed()
    assert [place.trial for place in finished_runs(tmp_path, study)] == [trial for _, _, trial in trials[:3]]
    alone = probed([FinishedRun(trial_folder(tmp_path, trials[0][2]), "alone", 9)], ["asked"])
    assert alone.frames["asked", "table"][["arm", "seed"]].drop_duplicates().values.tolist() == [["alone", 9]]


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(probes, "_components", dict(probes._components))
    monkeypatch.setattr(plug_ins, "_loaded", {})
    file = write_probe(tmp_path)
    load_plugins([file])
    return file


@pytest.mark.usefixtures("plugin")
def test_a_probe_that_fails_does_not_lose_its_trial(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_quickly(monkeypatch)
    changes = {"base__training__steps": 2, "base__runtime__probes": [{"name": "sizes", "way": "at times"}]}
    arms = {"future": {}, "longer": {"objective": {"name": "future_context", "n": 4}}}
    data = {**study_data(write_text(tmp_path / "text"), **changes), "arms": arms, "reference": "future"}
    file = write_study(tmp_path / "study.yaml", data)
    plan = planned(file)
    prepare_study(plan, file, tmp_path / "studies" / "one")
    run_trials(plan, tmp_path / "studies" / "one", places=Places(2), plugins=[plugin], watcher=Record())
    assert ablations.load(tmp_path / "studies" / "one")["status"].tolist() == ["done"] * 4
    asked = read_probes(tmp_path / "studies" / "one").asked
    assert asked["seed"].tolist() == [0, 1, 0, 1]
    assert asked["error"].isna().tolist() == [False, True, False, True]
    assert asked["error"].dropna().str.contains("the probe 'sizes' fails: ValueError: no such size").all()
    # A study beside it takes over what was found together with its trials.
    prepare_study(plan, file, tmp_path / "studies" / "two")
    trials = [trial.id for trial in plan.trials]
    assert set(take_over(tmp_path / "studies" / "two", trials)) == set(trials)
    assert read_probes(tmp_path / "studies" / "two") == read_probes(tmp_path / "studies" / "one")
    (place,) = [one for one in finished_runs(tmp_path / "studies" / "two") if (one.arm, one.seed) == ("future", 1)]
    first = read_answer(place.folder, "sizes")
    write_answer(place.folder, answer("sizes", []))
    assert read_answer(trial_folder(tmp_path / "studies" / "one", place.trial), "sizes") == first
    shutil.rmtree(tmp_path / "studies")
