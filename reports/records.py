"""What the trials' folders hold beside their numbers: the configuration to repeat each, and what it ran on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablations.breakdowns import Breakdowns, read_breakdowns
from ablations.layer_gradients import LayerGradients, read_layer_gradients
from ablations.probed import Probed, read_probes
from ablations.stored import StoredStudy, trial_folder
from deepsight.training.names import CONFIG_FILE, METRICS_FILE, PROVENANCE_FILE
from reports.wording import setting_text

MOST_VALUES = 4


@dataclass(frozen=True)
class Records:
    """The records of a study's trials.

    Attributes:
        configured: trials whose folder holds a configuration.
        provenance: trial → commit, versions, device and the like, as the trial wrote it.
        measured: trials whose folder holds metrics.
        breakdowns: where in the validation text the losses lie.
        probed: what probes found.
        gradients: how much each objective pulled at each layer.

    """

    configured: frozenset[str] = frozenset()
    provenance: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    measured: frozenset[str] = frozenset()
    breakdowns: Breakdowns = field(default_factory=Breakdowns)
    probed: Probed = field(default_factory=Probed)
    gradients: LayerGradients = field(default_factory=LayerGradients)


def read_records(folder: Path, study: StoredStudy) -> Records:
    """Read the records of the planned trials; a missing or broken file is left out, as from a trial cut short."""
    configured, measured, provenance = set(), set(), {}
    for trial in dict.fromkeys(trial for arm in study.arms for trial in arm.trials.values()):
        place = trial_folder(folder, trial)
        if (place / CONFIG_FILE).is_file():
            configured.add(trial)
        if (place / METRICS_FILE).is_file():
            measured.add(trial)
        try:
            record = json.loads((place / PROVENANCE_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(record, dict):
            provenance[trial] = record
    return Records(
        frozenset(configured),
        provenance,
        frozenset(measured),
        read_breakdowns(folder, study),
        read_probes(folder, study),
        read_layer_gradients(folder, study),
    )


def summary(records: Records) -> list[tuple[str, str]]:
    """Return (dotted key, value) of the provenance; where trials differ, each value with its number of trials."""
    values: dict[str, dict[str, int]] = {}
    for record in records.provenance.values():
        for key, value in _flat(record):
            counts = values.setdefault(key, {})
            text = setting_text(value)
            counts[text] = counts.get(text, 0) + 1
    return [(key, _told(counts, len(records.provenance))) for key, counts in values.items()]


def _told(counts: Mapping[str, int], trials: int) -> str:
    if len(counts) == 1 and sum(counts.values()) == trials:
        return next(iter(counts))
    if len(counts) > MOST_VALUES:
        return f"{len(counts)} different values; see the trials"
    return "; ".join(f"{text} ({count} of {trials} trials)" for text, count in counts.items())


def _flat(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    items: list[tuple[str, Any]] = []
    for key, value in record.items():
        items += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [(f"{prefix}{key}", value)]
    return items
