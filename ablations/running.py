"""Running a study in its folder: what is stored first, then the corpora, then the trials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ablations.plan import Plan
from ablations.stored import PLAN_FILE, read_plan, write_plan
from ablations.supervisor import Supervisor, Watcher, is_done
from deepsight.config import RunConfig
from deepsight.data.of_run import pack_for
from deepsight.data.packed import PackedCorpus
from deepsight.errors import UserError
from deepsight.files import digest_of_json, write_text

STUDY_FILE = "study.yaml"


def finished_trials(plan: Plan, folder: Path) -> set[str]:
    """Return the ids of the plan's trials that have a result in the folder."""
    return {trial.id for trial in plan.trials if is_done(folder, trial.id)}


def check_folder(plan: Plan, folder: Path) -> None:
    """Refuse a folder that holds something else.

    Raises:
        UserError: the folder is a file, holds another study, or holds things that are no study.

    """
    if folder.is_dir() and (folder / PLAN_FILE).is_file():
        held = read_plan(folder).name
        if held != plan.study.name:
            wanted = plan.study.name
            raise UserError(f"{folder}: this folder holds the study {held!r}, not {wanted!r}; choose another --out")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: this is not empty and holds no study; choose another --out")


def prepare_study(plan: Plan, file: Path, folder: Path) -> list[PackedCorpus]:
    """Write what describes a study into its folder, and tokenise its corpora so that no trial has to.

    Args:
        plan: of the study.
        file: the study's, kept beside the trials.
        folder: where everything is written.

    Returns:
        The distinct corpora of the trials.

    Raises:
        UserError: the folder holds something else, or a corpus cannot be read.

    """
    check_folder(plan, folder)
    corpora = pack_corpora([trial.config for trial in plan.trials])
    folder.mkdir(parents=True, exist_ok=True)
    if file.resolve() != (folder / STUDY_FILE).resolve():
        write_text(folder / STUDY_FILE, file.read_text(encoding="utf-8"))
    write_plan(folder, plan.study)
    return corpora


def run_trials(
    plan: Plan,
    folder: Path,
    *,
    workers: int,
    plugins: list[Path],
    watcher: Watcher,
    stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Run the trials of a prepared study that have no result; return False where `stop` asked to end early.

    Args:
        plan: of the study.
        folder: the study's.
        workers: trials at a time.
        plugins: files every trial loads.
        watcher: told how it goes.
        stop: asked a few times a second.

    """
    absolute = [path.resolve() for path in plugins]
    return Supervisor(folder, workers, absolute, watcher).run(plan.trials, stop)


def pack_corpora(configs: list[RunConfig]) -> list[PackedCorpus]:
    """Tokenise every distinct corpus of the runs once, so that no trial has to."""
    distinct = {digest_of_json(config.data.model_dump(mode="json")): config.data for config in configs}
    return [pack_for(data) for data in distinct.values()]
