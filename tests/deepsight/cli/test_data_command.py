"""`deepsight data` as a person types it, and a run on a task from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepsight.plug_ins import tasks


@pytest.fixture
def deepsight(command_line: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs `deepsight WORDS` in an empty folder: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        ended = command_line(*words)
        return ended.returncode, ended.stdout, ended.stderr

    return run


def test_every_task_is_named(deepsight: Any) -> None:
    code, out, _ = deepsight("data", "show")
    assert code == 0
    for name in tasks.names():
        assert name in out


def test_a_task_is_shown_with_its_answer_its_measures_and_their_chance(deepsight: Any) -> None:
    code, out, _ = deepsight("data", "show", "path-star", "--set", "degree=3", "--count", "2")
    assert code == 0
    assert "degree=3, length=4" in out
    rows = [line.split() for line in out.splitlines() if "= [" in line]
    assert len(rows) == 2
    for row in rows:
        assert [word for word in row if word.startswith("[")] == row[-4:]
    assert next(line.split() for line in out.splitlines() if line.startswith("full path ")) == [
        "full", "path", "33.3%", "100.0%",
    ]  # fmt: skip
    again = deepsight("data", "show", "path-star", "--set", "degree=3", "--count", "2")[1]
    assert again == out
    assert deepsight("data", "show", "path-star", "--seed", "1", "--set", "degree=3", "--count", "2")[1] != out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pathstar"], "unknown task 'pathstar'; did you mean 'path_star'?"),
        (["path-star", "--set", "degree=9"], "labels: degree 9 and length 4 make 28 nodes, and there are 10 labels"),
        (["path-star", "--set", "degre=9"], "unknown key 'degre'; did you mean 'degree'?"),
        (["path-star", "--set", "degree"], "--set degree: write it as key=value"),
        (["--set", "degree=3"], "--set changes a parameter of one task; name it"),
    ],
)
def test_mistakes_are_one_sentence(deepsight: Any, words: list[str], said: str) -> None:
    code, out, err = deepsight("data", "show", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


TINY = [
    "--set", "model={architecture: baseline, width: 8, layers: 1, heads: 1, context: 24, cross_heads: null}",
    "--set", "data.task=path_star", "--set", "training={steps: 4, batch_size: 8}",
    "--set", "evaluation={every: 2, windows: 16}", "--set", "runtime={threads: 1, device: cpu}",
]  # fmt: skip


def test_a_run_on_a_task_measures_it_and_its_model_generates(deepsight: Any, tmp_path: Path) -> None:
    code, out, err = deepsight("train", "tiny", *TINY, "--out", "run")
    assert (code, err) == (0, "")
    assert "path_star: sequences of 25 tokens, 14 token ids" in out
    assert "chance 50.0%" in out
    assert "bits per byte" not in out
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    evaluations = [row for row in rows if row["kind"] == "evaluation"]
    assert [row["step"] for row in evaluations] == [0, 2, 4]
    for row in evaluations:
        columns = [column for column in row if column.startswith("task:")]
        assert columns[:2] == ["task:full_path/accuracy", "task:full_path/chance"]
        assert row["task:full_path/chance"] == 0.5
        assert 0 <= row["task:first_hop_forced/accuracy"] <= 1
        assert "bits_per_byte" not in row
    prompt = "4 7 | 1 2 | 1 4 | 2 8 | 7 9 | 8 3 / 1 3 ="
    code, out, _ = deepsight("generate", "run", "--prompt", prompt, "--tokens", "4", "--temperature", "0")
    assert code == 0
    assert len(out.split()) >= 4
    code, _, err = deepsight("generate", "run", "--prompt", "4 77", "--tokens", "4")
    assert (code, err) == (
        2,
        "Error: the task has no word '77'; did you mean '7'? known: " + err.partition("known: ")[2],
    )


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("model.context=20", "model.context: sequences of 25 tokens need a context of at least 24, not 20"),
        ("data.task={name: path_star, labels: 6}", "data.task.labels: degree 2 and length 4 make 7 nodes"),
        (
            "data.task={name: path_star, degree: 1, length: 2, training_set: 999}",
            "data.task.training_set: there are only",
        ),
        (
            "model={architecture: canonical, width: 8, layers: [1, 1], heads: 1, context: 48}",
            "model.architecture: canonical predicts from the token 25 of a sequence on (counted from 0), and this "
            "task's answers begin at the token 21",
        ),
        ("objective={name: multi_token, n: 5}", "objective.0: multi_token looks 5 tokens ahead"),
    ],
)
def test_what_cannot_be_leaves_nothing_behind(deepsight: Any, tmp_path: Path, setting: str, said: str) -> None:
    code, out, err = deepsight("train", "tiny", *TINY, "--set", setting, "--out", "run")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert list(tmp_path.iterdir()) == []
