"""`deepsight evaluate`: a run and a study, end to end, and the sentences of what cannot be done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ablations.finished import FinishedRun
from ablations.probed import probed, read_probes
from ablations.running import prepare_study
from ablations.stored import trial_folder
from deepsight.evaluation.probes import plan_use, token_losses
from deepsight.training.folder import RunFolder
from tests.ablations.quick import plan_quickly
from tests.ablations.studies import planned, study_data, write_study
from tests.deepsight.evaluation.probes.plugin import write_probe
from tests.runs import run_of, source_of, write_text

BRIEF = "places=[decoder]"
# Named here, so that their modules are imported and they are known.
OF_LOSSES = {"plan_use": plan_use.PlanUse, "token_losses": token_losses.TokenLosses}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def finished(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run, and with a study of which three of four trials are finished."""
    folder = tmp_path_factory.mktemp("finished")
    config = run_of(text)
    RunFolder(folder / "run").prepare(config, source_of(config)).run()
    with pytest.MonkeyPatch.context() as patch:
        plan_quickly(patch)
        file = write_study(folder / "study.yaml", study_data(text, base__training__steps=4))
        plan = planned(file)
        prepare_study(plan, file, folder / "study")
    for trial in (trial for trial in plan.trials if (trial.arm, trial.config.seed) != ("plain", 1)):
        place = trial_folder(folder / "study", trial.id)
        place.mkdir(parents=True)
        RunFolder(place).prepare(trial.config, source_of(trial.config)).run()
    return folder


@pytest.fixture
def runs(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with copies of them and a plug-in, which is the working folder."""
    shutil.copytree(finished, tmp_path / "runs")
    write_probe(tmp_path / "runs")
    monkeypatch.chdir(tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def evaluate(command_line: Any) -> Any:
    def run(*words: str) -> Any:
        return command_line("evaluate", *words, "--plugin", "sizes.py")

    return run


def test_a_run_is_asked_once_and_leaves_tables(evaluate: Any, runs: Path) -> None:
    answer = evaluate("run", "--probes", "sizes", "--set", "sizes.power=1")
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert lines[0].startswith("sizes: ")
    assert lines[0].endswith(" s")
    assert "What the probe sizes found (sizes)." in answer.stdout
    stored = json.loads((runs / "run" / "probes" / "sizes.json").read_text(encoding="utf-8"))
    assert stored["spec"]["power"] == 1
    table = pd.read_csv(runs / "run" / "probes" / "sizes_sizes.csv")
    assert table[["weights", "name", "size"]].to_dict("records") == stored["tables"]["sizes"]
    assert "1 file of tables and figures is in run/probes" in answer.stdout.replace("\n", " ")
    small = [f"--set={name}.{setting}" for name in ("future", "future_bag") for setting in ("positions=300", BRIEF)]
    again = evaluate("run", "--probes", "all", "--set", "sizes.power=1", *small, "--out", "elsewhere")
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1].count("elsewhere") == 1
    assert "s, from before" in next(line for line in again.stdout.splitlines() if line.startswith("sizes: "))
    assert (runs / "elsewhere" / "sizes_sizes.csv").is_file()


def test_without_names_it_lists_what_can_be_asked(evaluate: Any, runs: Path) -> None:
    answer = evaluate("run")
    assert answer.returncode == 0, answer.stderr
    (row,) = [line for line in answer.stdout.splitlines() if line.strip().startswith("sizes")]
    assert "How large the weights are." in row
    assert row.rstrip().endswith("can be asked")
    assert not (runs / "run" / "probes").exists()
    of_study = evaluate("study").stdout
    assert "can be asked of 1 of 2 arms; else: this run has no objective" in " ".join(of_study.split())


def test_every_finished_trial_of_a_study_is_asked(evaluate: Any, runs: Path) -> None:
    answer = evaluate("study", "--probes", "sizes")
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    needs = "sizes: left out: this run has no objective, and the probe needs one"
    assert lines[0] == f"plain (seed 0): {needs}"
    assert [line.startswith(f"future (seed {seed}): sizes: ") for seed, line in enumerate(lines[1:3])] == [True, True]
    found = read_probes(runs / "study")
    assert found.asked["arm"].tolist() == ["future", "future"]
    assert found.asked["seed"].tolist() == [0, 1]
    frame = found.frames["sizes", "sizes"]
    assert list(frame.columns) == ["arm", "seed", "trial", "weights", "name", "size"]
    assert set(frame["trial"]) == set(found.asked["trial"])
    assert (runs / "study" / "probes" / "sizes_sizes.csv").is_file()
    assert not (runs / "study" / "probes" / "sizes.json").exists()
    assert "future (seed 0): sizes: " in evaluate("study", "--probes", "sizes").stdout
    place = FinishedRun(trial_folder(runs / "study", frame["trial"][0]), "mine", 7)
    alone = probed([place]).frames["sizes", "sizes"]
    assert set(alone["arm"]) == {"mine"}
    assert alone["size"].tolist() == frame.loc[frame["seed"] == 0, "size"].tolist()
    assert probed([place], ["other"]).frames == {}


SMALL = ("future.n=2", "future.positions=400", f"future.{BRIEF}", "future.hidden=null")


def test_a_built_in_probe_of_a_run_and_of_a_study(evaluate: Any, runs: Path) -> None:
    settings = [word for setting in SMALL for word in ("--set", setting)]
    answer = evaluate("run", "--probes", "future", *settings)
    assert answer.returncode == 0, answer.stderr
    assert "Bits of the tokens ahead that linear probes read off single states" in " ".join(answer.stdout.split())
    stored = json.loads((runs / "run" / "probes" / "future.json").read_text(encoding="utf-8"))
    table = pd.read_csv(runs / "run" / "probes" / "future_states.csv")
    assert table["bits"].tolist() == pytest.approx([row["bits"] for row in stored["tables"]["states"]])
    assert set(table["arm"]) == {"run"}
    written = {file.name for file in (runs / "run" / "probes").iterdir()}
    assert {"probe_future_linear.png", "probe_future_linear.svg", "probe_future_losses.png"} <= written
    of_study = evaluate("study", "--probes", "future", *settings, "--out", "there")
    assert of_study.returncode == 0, of_study.stderr
    assert pd.read_csv("there/future_states.csv").groupby(["arm", "seed"]).size().to_dict() == {
        ("future", 0): 2,
        ("future", 1): 2,
        ("plain", 0): 2,
    }
    assert not (runs / "study" / "probes").exists()
    refused = evaluate("run", "--probes", "future", "--set", "future.places=[{layer: 3}]")
    assert refused.returncode == 2
    assert "places.0: there is no layer 3; the network has 2" in refused.stderr


def test_probes_of_losses_print_their_tables_and_leave_figures(evaluate: Any, runs: Path) -> None:
    settings = [f"--set={name}.windows=6" for name in OF_LOSSES]
    answer = evaluate("run", "--probes", ",".join(OF_LOSSES), *settings)
    assert answer.returncode == 0, answer.stderr
    printed = " ".join(answer.stdout.split())
    assert "Loss added where something else than its own encoder output is read (nats per token)." in printed
    assert "± is the standard error over documents." in printed
    assert "Next-token loss by the fewest last tokens from which a token is inferable (nats per token)." in printed
    assert "n-gram" in printed
    written = {file.name for file in (runs / "run" / "probes").iterdir()}
    figures = ["plan_use_positions", "plan_use_readers", "attention_distance", "token_losses"]
    assert {f"probe_{name}.{ending}" for name in figures for ending in ("png", "svg")} <= written
    stored = json.loads((runs / "run" / "probes" / "plan_use.json").read_text(encoding="utf-8"))["tables"]
    for name, rows in stored.items():
        table = pd.read_csv(runs / "run" / "probes" / f"plan_use_{name}.csv")
        assert len(table) == len(rows)
    of_study = evaluate("study", "--probes", "plan_use", settings[0])
    assert of_study.returncode == 0, of_study.stderr
    assert read_probes(runs / "study").asked["arm"].value_counts().to_dict() == {"future": 2, "plain": 1}


def test_a_probe_that_fails_in_a_study_is_told_and_the_rest_goes_on(evaluate: Any, runs: Path) -> None:
    answer = evaluate("study", "--probes", "sizes", "--set", "sizes.way=at times")
    assert answer.returncode == 1
    assert "future (seed 0): sizes: failed: " in answer.stdout
    assert read_probes(runs / "study").asked["seed"].tolist() == [1]
    assert evaluate("study", "--probes", "sizes", "--set", "sizes.way=badly").returncode == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--probes", "sizs"], "unknown probe 'sizs'; did you mean 'sizes'?"),
        (["run", "--probes", ","], "--probes names none; known: "),
        (["run", "--probes", "sizes", "--set", "sizes.powr=1"], "sizes: unknown key 'powr'; did you mean 'power'?"),
        (["run", "--probes", "sizes", "--set", "size.power=1"], "did you mean 'sizes'? known: sizes"),
        (["run", "--probes", "sizes", "--set", "power=1"], "--set power: write it as NAME.PARAMETER=VALUE"),
        (["run", "--probes", "sizes", "--set", "sizes.power=many"], "sizes.power: this should be a valid integer"),
        (["run", "--probes", "sizes", "--set", "sizes.way=badly"], "the probe 'sizes' fails: ValueError: no such"),
        (["gone", "--probes", "sizes"], "gone: there is neither a run nor a study here"),
        (["gone"], "gone: there is neither a run nor a study here"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(evaluate: Any, runs: Path, words: list[str], said: str) -> None:
    before = sorted(runs.rglob("*"))
    answer = evaluate(*words)
    assert answer.returncode == 2, answer.stdout
    assert said in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert sorted(runs.rglob("*")) == before


def test_nothing_that_can_be_asked_is_a_sentence(evaluate: Any, runs: Path) -> None:
    for place in (runs / "study" / "trials").iterdir():
        if RunFolder(place).config().objective:
            (place / "result.json").unlink(missing_ok=True)
    answer = evaluate("study", "--probes", "sizes")
    assert answer.returncode == 2
    assert answer.stderr == "Error: this run has no objective, and the probe needs one\n"
    for place in (runs / "study" / "trials").iterdir():
        (place / "result.json").unlink(missing_ok=True)
    assert "study: no trial of this study has finished" in evaluate("study", "--probes", "sizes").stderr
