"""From a study to trials: every arm resolved, checked, counted, and named by what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablations.constraints import check_keys, constraints_of, refused
from ablations.design import Cell, cells, reference_name
from ablations.matching import matched
from ablations.stored import SkippedCell, StoredArm, StoredStudy
from ablations.study import Study
from deepsight.building import check_buildable
from deepsight.config import RunConfig, run_config
from deepsight.counting import Cost, cost_of
from deepsight.data.of_run import fingerprint_of
from deepsight.errors import UserError, suggestion
from deepsight.merging import Data, merged, with_dotted_keys
from deepsight.plug_ins import REGISTRIES, architectures, corpora, loaded_plugins, objectives
from deepsight.presets import expanded
from deepsight.registry import Registry
from deepsight.training.device import chosen_device

MATCHES = ("parameters",)


@dataclass(frozen=True)
class Trial:
    """One arm with one seed: the unit that runs, fails and resumes."""

    id: str
    arm: str
    config: RunConfig


@dataclass(frozen=True)
class Plan:
    """A study ready to run: what is stored of it, its distinct trials in running order, and each arm's cost."""

    study: StoredStudy
    trials: list[Trial]
    costs: dict[str, Cost]


def plan_study(study: Study, file: Path, command: str) -> Plan:
    """Resolve every arm and seed of a study.

    Trials are ordered seed by seed, so that a study stopped early has whole seeds. Arms that mean the same run
    share it.

    Raises:
        UserError: naming the file and the key of the first thing that does not fit.

    """
    try:
        return _planned(study, command)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None


def _planned(study: Study, command: str) -> Plan:
    found = cells(study)
    reference = reference_name(study, found)
    try:
        base_data = expanded(study.base)
        base = _checked(run_config(base_data))
    except UserError as error:
        raise error.within("base") from None
    fingerprints: dict[str, str] = {}
    arms: list[StoredArm] = []
    trials: dict[str, Trial] = {}
    costs: dict[str, Cost] = {}
    resolved, skipped = _chosen(study, found, base_data, base)
    if reference not in (cell.name for cell, _ in resolved):
        reason = next(cell.reason for cell in skipped if cell.name == reference)
        raise UserError(f"the reference {reference!r} is left out: {reason}", ("where",))
    first = max(_first_predicted(config) for _, (config, _) in resolved)
    for cell, (config, notes) in resolved:
        config = _evaluated_from(first, _with_own_thread(config), notes, cell)
        try:
            fingerprint = _fingerprint(config, fingerprints)
        except UserError as error:
            raise error.within(*(cell.place if "data" in cell.changes else ("base",))) from None
        ids = {}
        for seed in study.seeds:
            seeded = config.model_copy(update={"seed": seed})
            identity = seeded.identity(fingerprint, _plugins_used(seeded))
            trials.setdefault(identity, Trial(identity, cell.name, seeded))
            ids[seed] = identity
        same = next((arm for arm in arms if arm.trials == ids), None)
        if same is not None:
            notes.append(f"means the same run as {same.name!r} and shares its trials")
        costs[cell.name] = cost = costs[same.name] if same is not None else cost_of(config)
        arms.append(
            StoredArm(
                name=cell.name,
                settings=with_dotted_keys(cell.changes),
                trials=ids,
                inference_parameters=cost.inference,
                training_parameters=cost.training_only,
                flops_per_token=cost.training_flops_per_token,
                notes=notes,
                config={key: value for key, value in config.complete().items() if key != "seed"},
            )
        )
    stored = StoredStudy(
        name=study.name,
        title=study.title or study.name,
        reference=reference,
        design=study.design,
        seeds=study.seeds,
        equivalence_margin=study.equivalence_margin,
        factors=study.factors,
        arms=arms,
        skipped=skipped,
        base=base.complete(),
        command=command,
    )
    order = {seed: position for position, seed in enumerate(study.seeds)}
    return Plan(stored, sorted(trials.values(), key=lambda trial: order[trial.config.seed]), costs)


Resolved = tuple[RunConfig, list[str]]
"""An arm's run, and what a reader should know of it."""


def _chosen(
    study: Study, found: list[Cell], base_data: Data, base: RunConfig
) -> tuple[list[tuple[Cell, Resolved]], list[SkippedCell]]:
    """Return the runs of the cells that fulfil the study's constraints, and the others with the reason.

    A constraint may leave out what would be no run at all, so a cell's own error counts only where it stays in.
    """
    constraints = constraints_of(study.where)
    chosen: list[tuple[Cell, Resolved]] = []
    skipped: list[SkippedCell] = []
    seen: list[Mapping[str, Any]] = []
    for cell in found:
        own = [] if cell.place[0] == "arms" else constraints
        failure: UserError | None = None
        try:
            resolved = _resolved(cell, base_data, base)
            seen.append(resolved[0].complete())
        except UserError as error:
            if not own:
                raise
            failure = error
            seen.append(merged(base_data, cell.changes))
        reason = refused(own, seen[-1])
        if reason is not None:
            skipped.append(SkippedCell(name=cell.name, reason=reason))
        elif failure is not None:
            raise failure
        else:
            chosen.append((cell, resolved))
    check_keys(constraints, seen)
    return chosen, skipped


def _resolved(cell: Cell, base_data: Data, base: RunConfig) -> Resolved:
    """Return an arm's run and what a reader should know of it."""
    try:
        data = merged(base_data, cell.changes)
        wanted = _taken_match(data, cell)
        config = run_config(data)
        notes = []
        if wanted is not None:
            match = matched(config, base)
            config = config.model_copy(update={"model": match.model})
            notes.append(match.note())
        return _checked(config), notes
    except UserError as error:
        raise error.within(*cell.place) from None


def _first_predicted(config: RunConfig) -> int:
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


def _taken_match(data: Data, cell: Cell) -> str | None:
    """Take the key `model.match` out of an arm's data; it belongs to the study, not to the run."""
    model = data.get("model")
    if not isinstance(model, dict) or "match" not in model:
        return None
    wanted = model.pop("match")
    if wanted not in MATCHES:
        raise UserError(f"unknown value {wanted!r}{suggestion(str(wanted), MATCHES)}", ("model", "match"))
    if "model.width" in with_dotted_keys(cell.changes):
        raise UserError("match solves the width: leave it out here", ("model", "width"))
    return str(wanted)


def _checked(config: RunConfig) -> RunConfig:
    check_buildable(config)
    chosen_device(config.runtime.device)
    return config


def _fingerprint(config: RunConfig, known: dict[str, str]) -> str:
    key = repr(config.data.corpus_spec())
    if key not in known:
        known[key] = fingerprint_of(config.data)
    return known[key]


def _plugins_used(config: RunConfig) -> dict[str, str]:
    """Return component → digest of its plug-in file, for every component of the run that a plug-in file defines."""
    digests = {str(path): digest for path, digest in loaded_plugins().items()}
    used: dict[str, str] = {}

    def look(registry: Registry[Any], name: str) -> None:
        if name in registry and (digest := digests.get(registry[name].file)):
            used[f"{registry.kind} {name}"] = digest

    look(architectures, config.model.architecture_name)
    look(corpora, config.data.corpus_spec()["name"])
    for spec in config.objective:
        look(objectives, spec["name"])
        for part in spec.values():
            if isinstance(part, Mapping) and "name" in part:
                # Which kind a parameter holds is the objective's business; a part is looked for in all of them.
                for registry in REGISTRIES:
                    look(registry, str(part["name"]))
    return used
