"""What a study leaves on disk, as types: the plan that says which trial belongs to which arm.

Read by the report and by anyone's notebook; imports nothing heavy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from ablations.published import Published
from deepsight.errors import DamagedError, UserError
from deepsight.files import read_json, write_text

PLAN_FILE = "plan.json"
STUDY_FILE = "study.yaml"
"""The study as it is run, kept beside its plan."""


class Candidate(BaseModel):
    """One point of the grid that an arm's tuned values are chosen from.

    Attributes:
        settings: dotted key → value.
        trials: seed → trial id; these seeds are not used to compare.
        chosen: whether the arm took these values; False for all candidates until each has ended.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    settings: dict[str, Any]
    trials: dict[int, str]
    chosen: bool = False


class StoredArm(BaseModel):
    """One setting of the factors, with its trials.

    Attributes:
        name: unique in the study.
        settings: what this arm changes in the base, by dotted key, as written in the study.
        trials: seed → trial id (64 hexadecimal digits); two arms that mean the same run share ids. Empty until the
            arm's tuned values are known.
        group: of the study's named groups, the one that this arm comes from; None for one outside them.
        control: whether this is the A/A arm: the reference with something inert added.
        candidates: the grid that tuned values are chosen from, empty where nothing is tuned.
        inference_parameters: what runs when the model predicts, positions included.
        training_parameters: the objectives' own, dropped after training.
        flops_per_token: training FLOPs (forward and backward) for one token.
        notes: sentences a reader should know, such as the residual of a solved width.
        config: the complete configuration of a run of this arm, its seed left out.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    settings: dict[str, Any]
    trials: dict[int, str]
    group: str | None = None
    control: bool = False
    candidates: list[Candidate] = []
    inference_parameters: int
    training_parameters: int
    flops_per_token: int
    notes: list[str] = []
    config: dict[str, Any] = {}


class SkippedCell(BaseModel):
    """A cell of the factors that a constraint leaves out."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    reason: str


class StoredStudy(BaseModel):
    """A study as it was planned.

    Attributes:
        title: the question in one line, or the name again.
        reference: the arm that all others are compared with, as far as they learn what it learns.
        factors: dotted key → the values that were swept; empty for a study of explicit arms only.
        equivalence_margin: δ in nats per token; a difference known to lie inside ±δ counts as equivalent.
        skipped: the cells that the study's constraints leave out.
        base: the resolved configuration that the arms change.
        command: how to repeat the study.
        published: the published numbers that it repeats, if any.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    title: str
    reference: str
    design: str
    seeds: list[int]
    equivalence_margin: float
    factors: dict[str, list[Any]]
    arms: list[StoredArm]
    skipped: list[SkippedCell] = []
    base: dict[str, Any]
    command: str
    published: Published | None = None

    def arm(self, name: str) -> StoredArm:
        """Return the arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)


def trial_folder(study: Path, trial: str) -> Path:
    """Return the folder of a trial inside a study's folder."""
    return Path(study) / "trials" / trial


def write_plan(folder: Path, study: StoredStudy) -> None:
    """Store the plan of a study in its folder."""
    write_text(Path(folder) / PLAN_FILE, study.model_dump_json(indent=2) + "\n")


def read_plan(folder: Path) -> StoredStudy:
    """Read the plan of a study.

    Raises:
        UserError: the folder holds no study, or its plan cannot be read.

    """
    file = Path(folder) / PLAN_FILE
    if not file.is_file():
        raise UserError(f"{folder}: there is no study here (no {PLAN_FILE})")
    try:
        return StoredStudy.model_validate(read_json(file))
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise DamagedError(f"{file}: this is not a whole plan of a study: {reason}") from None
