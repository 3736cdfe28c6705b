"""Subjects of probes that were never trained: lively weights, which no part of the network is idle in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from deepsight.building import build_model, build_objectives
from deepsight.evaluation.probes.probe import Subject, Tables
from tests.models import lively
from tests.runs import run_of, source_of

TASK = {"corpus": None, "tokenizer": None, "validation_fraction": None, "task": {"name": "path_star", "length": 3}}
PATH_STAR = {"data": TASK, "model__context": 20}


def untrained_subject(text: Path, **changes: Any) -> Subject:
    """Return a subject of a small run; `changes` as for `tests.runs.run_of`, and no objective where none is named."""
    config = run_of(text, **{"objective": "none", **changes})
    model = lively(build_model(config)).eval()
    objectives = build_objectives(config, model.shape).eval()
    return Subject(config, model, objectives, source_of(config), torch.device("cpu"))


def rows_where(tables: Tables, table: str, **wanted: Any) -> list[dict[str, Any]]:
    """Return the rows of a table in which columns have these values."""
    return [row for row in tables[table] if all(row[column] == value for column, value in wanted.items())]
