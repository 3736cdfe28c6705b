"""What `--dry-run` prints of a plan: everything that it holds, and nothing that a terminal would obey."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from ablations.plan import plan_study
from ablations.plan_display import show_plan
from ablations.study_files import read_study
from tests.ablations.quick import plan_quickly
from tests.ablations.studies import study_data, write_study
from tests.runs import write_text


@pytest.fixture(autouse=True)
def _quick_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    plan_quickly(monkeypatch)


def test_it_shows_groups_what_is_left_out_matches_tuning_and_control(tmp_path: Path) -> None:
    data = study_data(write_text(tmp_path / "text", documents=8), arms__small={"model.match": "parameters"})
    data |= {
        "title": "Does [red]it[/] help?",
        "groups": {"horizons": {"factors": {"objective.n": [3, 5, 7]}, "where": "objective.n != 7"}},
        "tune": {"training.learning_rate": [0.001, 0.003], "training.weight_decay": [0.1]},
        "tuning_seeds": [8, 9],
        "control": True,
    }
    file = write_study(tmp_path / "study.yaml", data)

    def shown(outcome: float | None) -> list[str]:
        study = read_study(file)
        plan = plan_study(study, file, "", lambda _: "pending" if outcome is None else outcome)
        console = Console(file=io.StringIO(), width=140)
        show_plan(plan, console)
        written = console.file.getvalue()  # type: ignore[attr-defined]
        return [" ".join(line.split()) for line in written.splitlines()]

    lines = shown(None)
    assert lines[0] == "Does [red]it[/] help?"
    rows = [line for line in lines if line.startswith("│") and "parameters" not in line]
    size = f"{plan_size(file):,}"
    assert rows == [
        f"│ plain (reference) │ {size} │ 0 │ 0 │ 2, once tuned │",
        f"│ future │ {size} │ 0 │ 0 │ 2, once tuned │",
        f"│ small │ {size} │ 0 │ 0 │ 2, once tuned │",
        "│ horizons │ │ │ │ │",
        f"│ n=3 │ {size} │ 0 │ 0 │ 2, once tuned │",
        f"│ n=5 │ {size} │ 0 │ 0 │ 2, once tuned │",
        f"│ A/A control │ {size} │ 0 │ 0 │ 2, once tuned │",
    ]
    said = lines[lines.index(next(line for line in lines if line.startswith("└"))) + 1 :]
    parts = f"{plan_size(file):,} inference parameters of 'plain': {plan_size(file):,} (+0.00%)"
    assert said == [
        f"small: as it is written, it matches the {parts}",
        "small: means the same run as 'future' and shares its trials",
        "n=3: means the same run as 'future' and shares its trials",
        "A/A control: the reference with an objective that does nothing; a difference would be the comparison's fault",
        "n=7: left out, not objective.n != 7: objective.n is 7",
        "Tuned in every arm: training.learning_rate in 0.001, 0.003; training.weight_decay in 0.1. 2 candidates on the "
        "seeds 8, 9 add 12 trials; each arm takes the candidate with the lowest validation loss, and is compared on "
        "the other seeds.",
        "8 trials follow once the values of their arms are known.",
    ]
    after = shown(2.5)
    assert "│ n=5 │ " + size + " │ 0 │ 0 │ 2 │" in after
    assert "n=5: takes training.learning_rate 0.001, training.weight_decay 0.1" in after
    assert not any("trials follow" in line for line in after)
    edge = "training.learning_rate 0.001 is the smallest value of the grid; a wider one may do better"
    assert f"plain: {edge}" in after


def plan_size(file: Path) -> int:
    """Return the inference parameters of the reference."""
    study = plan_study(read_study(file), file, "").study
    return study.arm("plain").inference_parameters
