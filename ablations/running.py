"""Running a study in its folder: what is stored first, then the corpora, then the trials."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from ablations.attempts import Ending, read_history, record_retry, result_of
from ablations.places import Need, Places
from ablations.plan import Plan, Trial
from ablations.stored import PLAN_FILE, STUDY_FILE, StoredStudy, read_plan, trial_folder, write_plan
from ablations.study_files import kept_text
from ablations.supervisor import Supervisor
from ablations.trial_queue import Rules, Watcher
from deepsight.config import RunConfig
from deepsight.data.of_run import pack_for
from deepsight.data.packed import PackedCorpus
from deepsight.errors import UserError
from deepsight.files import digest_of_json, remove_leftovers, write_text
from deepsight.training.lock import LockedError, locked

PLUGIN_FOLDER = "plugins"

RETRIED = {
    "failed": frozenset(Ending) - {Ending.DIVERGED},
    "oom": frozenset({Ending.OUT_OF_MEMORY}),
    "all": frozenset(Ending),
}
"""What `--retry` runs again; a divergence would only repeat itself, so it must be asked for."""


def finished_trials(plan: Plan, folder: Path) -> set[str]:
    """Return the ids of the plan's trials that have a result in the folder."""
    return {trial.id for trial in plan.trials if result_of(trial_folder(folder, trial.id)) is not None}


def stored_study(folder: Path) -> StoredStudy | None:
    """Return the plan that a folder holds, None where it holds none.

    Raises:
        UserError: it is damaged.

    """
    return read_plan(folder) if (folder / PLAN_FILE).is_file() else None


def check_folder(plan: Plan, folder: Path) -> None:
    """Refuse a folder that holds something else.

    Raises:
        UserError: the folder is a file, holds another study, or holds things that are no study.

    """
    held = stored_study(folder)
    if held is not None:
        if held.name != plan.study.name:
            wanted = plan.study.name
            raise UserError(
                f"{folder}: this folder holds the study {held.name!r}, not {wanted!r}; choose another --out"
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: this is not empty and holds no study; choose another --out")


def prepare_study(
    plan: Plan, file: Path, folder: Path, plugins: Iterable[Path] = (), preset: str | None = None
) -> dict[str, PackedCorpus]:
    """Write what describes a study into its folder, and tokenise its corpora so that no trial has to.

    Args:
        plan: of the study.
        file: the study's; what it means is kept beside the trials.
        folder: where everything is written.
        plugins: files that the trials load; kept too.
        preset: that the study's base stands on instead of its own.

    Returns:
        `data_key` → the corpora of the trials.

    Raises:
        UserError: the folder holds something else or cannot be written, or a corpus cannot be read.

    """
    check_folder(plan, folder)
    corpora = pack_corpora([trial.config for trial in plan.trials])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in (folder, *(path for path in (folder / "report").rglob("*") if path.is_dir())):
            remove_leftovers(place)
        if file.resolve() != (folder / STUDY_FILE).resolve():
            write_text(folder / STUDY_FILE, kept_text(file, preset))
        for plugin in plugins:
            kept = folder / PLUGIN_FOLDER / plugin.name
            if plugin.resolve() != kept.resolve():
                write_text(kept, plugin.read_text(encoding="utf-8"))
        write_plan(folder, plan.study)
    except OSError as error:
        raise UserError(f"{folder}: a study cannot be written here: {error.strerror or error}") from None
    return corpora


def run_trials(
    plan: Plan,
    folder: Path,
    *,
    places: Places,
    plugins: Iterable[Path],
    watcher: Watcher,
    rules: Rules | None = None,
    need: Callable[[Trial], Need] = lambda trial: Need(),
    stop: Callable[[], bool] = lambda: False,
) -> str | None:
    """Run the trials of a prepared study that are to run, on this machine; return why it ended early, None if not.

    Args:
        plan: of the study.
        folder: the study's.
        places: where trials run, and how many at once.
        plugins: files every trial loads.
        watcher: told how it goes.
        rules: for failures.
        need: gives what a trial holds at its peak.
        stop: asked a few times a second; "asked" is then the reason.

    """
    absolute = tuple(path.resolve() for path in plugins)
    supervisor = Supervisor(folder, places, absolute, watcher, rules or Rules(), need)
    supervisor.run(plan.trials, stop)
    return supervisor.stopped


def failed_trials(plan: Plan, folder: Path) -> dict[str, Ending]:
    """Return trial → the way it ended, for the plan's trials that have failed."""
    failed = {}
    for trial in plan.trials:
        place = trial_folder(folder, trial.id)
        last = read_history(place).last
        if last is not None and last.failed and last.recorded and last.ending and result_of(place) is None:
            failed[trial.id] = last.ending
    return failed


def retry(plan: Plan, folder: Path, what: str) -> int:
    """Have failed trials run again; return how many.

    Args:
        plan: of the study.
        folder: the study's.
        what: a key of `RETRIED`.

    """
    count = 0
    for trial, ending in failed_trials(plan, folder).items():
        place = trial_folder(folder, trial)
        try:
            with locked(place):
                if ending in RETRIED[what]:
                    record_retry(place)
                    count += 1
        except LockedError:
            continue
    return count


def pack_corpora(configs: list[RunConfig]) -> dict[str, PackedCorpus]:
    """Tokenise every distinct corpus of the runs once, so that no trial has to; return `data_key` → corpus."""
    distinct = {data_key(config): config.data for config in configs}
    packed = {key: pack_for(data) for key, data in distinct.items()}
    return {key: corpus for key, corpus in packed.items() if corpus is not None}


def data_key(config: RunConfig) -> str:
    """Return a digest that runs on one text, tokenised in one way, share."""
    return digest_of_json(config.data.model_dump(mode="json"))


def free_space_sentence(folder: Path, plan: Plan) -> str | None:
    """Warn where the disk may not hold the checkpoints of a study; None where it does."""
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(existing).free
    # A checkpoint holds weights and two moments, four bytes each, and the next one beside it while it is written.
    missing = [t for t in plan.trials if result_of(trial_folder(folder, t.id)) is None]
    wanted = sum(4 * plan.costs[trial.arm].total for trial in missing)
    wanted += max((24 * plan.costs[trial.arm].total for trial in missing), default=0)
    if wanted <= free:
        return None
    return (
        f"The checkpoints of this study need about {wanted / 1e9:.1f} GB, and {existing} has {free / 1e9:.1f} GB left."
    )
