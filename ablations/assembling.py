"""From runs to arms: the trials of each, its tuned values as far as they are known, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ablations.costs import known_cost
from ablations.design import CONTROL_ARM, Cell
from ablations.identities import Identities
from ablations.resolving import Resolved
from ablations.stored import Candidate, StoredArm
from ablations.study import Study
from ablations.tuning import Outcome, choose, edge_notes, grid
from ablations.values import in_words
from deepsight.config import RunConfig
from deepsight.counting import Cost
from deepsight.errors import UserError
from deepsight.objective_specs import resolved_objective
from deepsight.plug_ins import architectures

INERT = "inert"
CONTROL_NOTE = "the reference with an objective that does nothing; a difference would be the comparison's fault"


@dataclass(frozen=True)
class Trial:
    """One arm with one seed: the unit that runs, fails and resumes.

    Attributes:
        id: a digest of the run.
        arm: the first that it serves.
        config: of the run.
        candidate: the values that a trial for tuning tries, in words; empty for one that is compared.

    """

    id: str
    arm: str
    config: RunConfig
    candidate: str = ""


class Assembly:
    """The arms of a study and their distinct trials, arm by arm.

    Args:
        study: whose arms they are.
        first: the first position of a window that every arm predicts; those before it do not count.
        outcomes: trial id → what became of it.

    Attributes:
        arms: so far.
        costs: of each arm.
        tuning, compared: trial id → trial.
        waiting: the arms whose tuned values are not known yet.
        to_come: how many trials will follow once they are.

    """

    def __init__(self, study: Study, first: int, outcomes: Callable[[str], Outcome]) -> None:
        self.study, self.first, self.outcomes = study, first, outcomes
        self.arms: list[StoredArm] = []
        self.costs: dict[str, Cost] = {}
        self.tuning: dict[str, Trial] = {}
        self.compared: dict[str, Trial] = {}
        self.to_come = 0
        self.waiting: set[str] = set()
        self._identities = Identities()
        self._runs: dict[str, RunConfig] = {}
        self._served: dict[tuple[str, ...], str] = {}

    def add(self, cell: Cell, run: Resolved, tried: Sequence[Resolved]) -> None:
        """Add the arm of a cell.

        Args:
            cell: of the study.
            run: as it is without tuned values.
            tried: the same with each point of the grid.

        Raises:
            UserError: its text cannot be found, or no position is left that all arms predict.

        """
        points = grid(self.study.tune)
        candidates = [self._candidate(cell, point, one) for point, one in zip(points, tried, strict=True)]
        outcomes = [[self.outcomes(trial) for trial in one.trials.values()] for one in candidates]
        choice = choose(outcomes) if candidates else None
        notes = []
        if isinstance(choice, int):
            run = tried[choice]
            candidates[choice] = candidates[choice].model_copy(update={"chosen": True})
            notes = edge_notes(self.study.tune, points[choice])
        elif candidates and choice is None:
            notes = ["has no trials: each candidate for its tuned values failed"]
        config, own_notes = self._evaluated(run, cell)
        ids: dict[int, str] = {}
        if not candidates or isinstance(choice, int):
            ids = self._trials(self.compared, cell, config, self.study.seeds)
        tried_ids = tuple(trial for one in candidates for trial in one.trials.values())
        same = self._served.setdefault(tried_ids or tuple(ids.values()), cell.name)
        if choice == "pending":
            self.waiting.add(cell.name)
            self.to_come += len(self.study.seeds) if same == cell.name else 0
        if same != cell.name:
            notes.append(f"means the same run as {same!r} and shares its trials")
        self.costs[cell.name] = self.costs[same] if same != cell.name else known_cost(config)
        self._store(
            cell.name, cell.settings, config, ids, [*own_notes, *notes], group=cell.group, candidates=candidates
        )

    def add_control(self, reference: str) -> None:
        """Add the A/A control of the reference, which must be there."""
        arm = next(arm for arm in self.arms if arm.name == reference)
        beside = self._runs[reference].objective
        config = self._runs[reference].model_copy(update={"objective": [*beside, resolved_objective(INERT)]})
        written: Any = [*beside, {"name": INERT}] if beside else INERT
        cell = Cell(CONTROL_ARM, {"objective": written}, ("control",))
        ids = self._trials(self.compared, cell, config, self.study.seeds) if arm.trials else {}
        if reference in self.waiting:
            self.waiting.add(CONTROL_ARM)
            self.to_come += len(self.study.seeds)
        self.costs[CONTROL_ARM] = known_cost(config)
        kept = {key: value for key, value in arm.settings.items() if not key.startswith("objective.")}
        self._store(CONTROL_ARM, {**kept, **cell.settings}, config, ids, [CONTROL_NOTE], control=True)

    def _candidate(self, cell: Cell, point: dict[str, Any], one: Resolved) -> Candidate:
        said = ", ".join(f"{key} {in_words(value, str)}" for key, value in point.items())
        config, _ = self._evaluated(one, cell)
        ids = self._trials(self.tuning, cell, config, self.study.seeds_of_tuning, said)
        return Candidate(settings=point, trials=ids)

    def _trials(
        self, known: dict[str, Trial], cell: Cell, config: RunConfig, seeds: list[int], candidate: str = ""
    ) -> dict[int, str]:
        ids = {}
        for seed in seeds:
            seeded = config.model_copy(update={"seed": seed})
            try:
                identity = self._identities.of(seeded)
            except UserError as error:
                raise error.within(*(cell.place_of(("data", "corpus")) or ("base",))) from None
            known.setdefault(identity, Trial(identity, cell.name, seeded, candidate))
            ids[seed] = identity
        return ids

    def _evaluated(self, run: Resolved, cell: Cell) -> tuple[RunConfig, list[str]]:
        """Return a run as trials have it: with a thread of its own, and evaluated where every arm predicts."""
        notes = list(run.notes)
        return _evaluated_from(self.first, _with_own_thread(run.config), notes, cell), notes

    def _store(
        self, name: str, settings: dict[str, Any], config: RunConfig, ids: dict[int, str], notes: list[str], **more: Any
    ) -> None:
        cost = self.costs[name]
        self._runs[name] = config
        arm = StoredArm(
            name=name,
            settings=settings,
            trials=ids,
            inference_parameters=cost.inference,
            training_parameters=cost.training_only,
            flops_per_token=cost.training_flops_per_token,
            notes=notes,
            config={key: value for key, value in config.complete().items() if key != "seed"},
            **more,
        )
        self.arms.append(arm)


def first_predicted(config: RunConfig) -> int:
    """Return the first position of a window whose next token a run's architecture predicts."""
    architecture: Any = architectures[config.model.architecture_name].factory
    return int(architecture.first_predicted(config.model))


def _evaluated_from(first: int, config: RunConfig, notes: list[str], cell: Cell) -> RunConfig:
    """Return the run with positions before the first that every arm predicts left out of its evaluation.

    Raises:
        UserError: none is left.

    """
    if first <= config.evaluation.first_position:
        return config
    if first >= config.model.context:
        reason = (
            f"another arm predicts from position {first} on only, and a context of {config.model.context} ends there"
        )
        raise UserError(f"{reason}: choose equal contexts, or a shorter prefix", (*cell.place, "model", "context"))
    notes.append(f"evaluated from position {first} of each window on, the first that every arm predicts")
    evaluation = config.evaluation.model_copy(update={"first_position": first})
    return config.model_copy(update={"evaluation": evaluation})


def _with_own_thread(config: RunConfig) -> RunConfig:
    """Return the run with one thread unless it names a number: trials share a machine, and one thread repeats bits."""
    runtime = config.runtime.model_copy(update={"threads": config.runtime.threads or 1})
    return config.model_copy(update={"runtime": runtime})
