"""A study's files as pandas: one row a trial, one row an evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from ablations.attempts import read_history, result_of, status_of
from ablations.stored import StoredStudy, read_plan, trial_folder
from deepsight.merging import with_dotted_keys
from deepsight.training.metrics import read_metrics
from deepsight.training.names import INITIAL_WEIGHTS_FILE, METRICS_FILE

LOSSES = ("train_loss", "validation_loss", "bits_per_byte")
SIZES = ("inference_parameters", "training_parameters", "flops_per_token")
EFFORT = ("tokens", "seconds", "peak_memory")
DIGESTS = ("initial_digest", "batch_digest")
STATE = ("status", "attempts", "failure", "failure_message")
TASK = "task:"
"""How a column begins that is a planning task's, which no objective's label can."""


def load(folder: str | Path) -> pd.DataFrame:
    """Return one row for each arm and trial of a study.

    Columns: `trial` (id), `arm`, `seed`, `status` (done, running, failed, pending), `attempts` (their number),
    `failure` (the way to end) and `failure_message`, `train_loss` (next-token, mean over the steps since the last
    evaluation), `validation_loss` (nats per token), `bits_per_byte`, `parameters` (those that run at inference; also as
    `inference_parameters`), `training_parameters`, `flops_per_token`, `tokens`, `seconds`, `peak_memory` (bytes),
    `step` (the last), `initial_digest`, `batch_digest`, `initial_weights` (parameter → ``shape:digest``), and every
    configuration key that differs between arms.

    Raises:
        UserError: the folder holds no study.

    """
    folder = Path(folder)
    study = read_plan(folder)
    different = differing_keys(study)
    rows = []
    for arm in study.arms:
        for seed, trial in arm.trials.items():
            rows.append(
                {
                    "trial": trial,
                    "arm": arm.name,
                    "seed": seed,
                    **_state(trial_folder(folder, trial)),
                    "parameters": arm.inference_parameters,
                    "inference_parameters": arm.inference_parameters,
                    "training_parameters": arm.training_parameters,
                    "flops_per_token": arm.flops_per_token,
                    **{key: flat_config(arm.config).get(key) for key in different},
                }
            )
    frame = pd.DataFrame(rows)
    measured = [*STATE, *LOSSES, "parameters", *SIZES, *EFFORT, "step", *DIGESTS, "initial_weights"]
    first = ["trial", "arm", "seed", *measured]
    return frame.reindex(columns=[*first, *different])


def curves(folder: str | Path) -> pd.DataFrame:
    """Return one row for each trial and evaluation.

    Columns: `trial`, `arm`, `seed`, `step`, `tokens`, `seconds`, `train_loss`, `validation_loss`, `bits_per_byte`, the
    objectives' metrics as ``objective/metric`` in alphabetical order, and those of planning tasks as
    ``task:name/metric`` in the order in which trials wrote them: the first accuracy is what the task is about.

    Raises:
        UserError: the folder holds no study.

    """
    folder = Path(folder)
    first = ["trial", "arm", "seed", "step", "tokens", "seconds", *LOSSES]
    rows = []
    for arm in read_plan(folder).arms:
        for seed, trial in arm.trials.items():
            for row in read_metrics(trial_folder(folder, trial) / METRICS_FILE):
                if row.pop("kind") == "evaluation":
                    rows.append({"trial": trial, "arm": arm.name, "seed": seed, **row})
    frame = pd.DataFrame(rows)
    others = [str(column) for column in frame.columns if column not in first]
    tasks = [column for column in others if column.startswith(TASK)]
    objectives = sorted(set(others) - set(tasks))
    whole = frame.reindex(columns=[*first, *objectives, *tasks])
    return whole.astype({"train_loss": "float64", "validation_loss": "float64"})


def differing_keys(study: StoredStudy) -> list[str]:
    """Return the dotted configuration keys that are not the same in every arm."""
    configs = [flat_config(arm.config) for arm in study.arms]
    keys = {key: None for config in configs for key in config}
    missing = object()
    return [key for key in keys if any(config.get(key, missing) != configs[0].get(key, missing) for config in configs)]


def flat_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return an arm's configuration by dotted key: `objective.n` of one objective, `objective.0.n` of several."""
    content = {key: value for key, value in config.items() if key not in ("objective", "runtime")}
    flat = with_dotted_keys(content)
    listed = config.get("objective", [])
    flat["objective"] = " + ".join(str(spec["name"]) for spec in listed) or "none"
    for position, spec in enumerate(listed):
        prefix = "objective" if len(listed) == 1 else f"objective.{position}"
        flat.update({f"{prefix}.{key}": value for key, value in spec.items() if key != "name"})
    return {key: _component(value) for key, value in flat.items()}


def _component(value: Any) -> Any:
    """Return a component without parameters as its name."""
    return value["name"] if isinstance(value, dict) and set(value) == {"name"} else value


def _state(folder: Path) -> dict[str, Any]:
    history = read_history(folder)
    status = status_of(folder, history)
    known: dict[str, Any] = {"status": status, "attempts": len(history.attempts)}
    result = result_of(folder)
    if result is not None:
        known |= {key: result.get(key) for key in (*LOSSES, *EFFORT, "step", *DIGESTS)}
        known["initial_weights"] = _read(folder / INITIAL_WEIGHTS_FILE)
    if status == "failed" and history.last is not None:
        known |= {"failure": str(history.last.ending), "failure_message": history.last.message}
    return known


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
