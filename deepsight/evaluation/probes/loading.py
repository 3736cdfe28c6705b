"""The subject of probes from a finished run's folder."""

from __future__ import annotations

from pathlib import Path

from deepsight.building import build_model, build_objectives
from deepsight.config import RunConfig
from deepsight.data.of_run import source_for
from deepsight.data.source import Source
from deepsight.errors import UserError
from deepsight.evaluation.probes.probe import Subject
from deepsight.objective import Preparation
from deepsight.training.checkpoint import Checkpoint, read_checkpoint
from deepsight.training.device import prepare
from deepsight.training.folder import RunFolder
from deepsight.training.names import CHECKPOINT_FILE


def load_subject(folder: Path, source: Source | None = None, *, show: bool = False) -> Subject:
    """Return the trained model of a finished run: of `deepsight train`, or a trial of a study.

    Threads and device are those that the run's configuration names, as in training.

    Args:
        folder: of the run.
        source: what the run learned from, where it is open already.
        show: a bar on a terminal where its text must be packed first.

    Raises:
        UserError: there is no finished run, its checkpoint does not say which objectives it had, or what it learned
            from is no longer what it was.

    """
    folder = Path(folder)
    run = RunFolder(folder)
    config, result = run.config(), run.result()
    if result is None:
        raise UserError(
            f"{folder}: this run is not finished, and only a finished one can be asked; train it to its end"
        )
    checkpoint = read_checkpoint(folder / CHECKPOINT_FILE)
    if "objective" not in checkpoint.about:
        raise UserError(
            f"{folder}: this checkpoint does not say which objectives its run had, as those of earlier versions and "
            "converted ones do not; train again to ask it"
        )
    source = source_for(config.data, show=show) if source is None else source
    if result.get("data_digest", source.digest) != source.digest:
        raise UserError(f"{folder}: this run learned from other tokens than its configuration gives here and now")
    return _subject(config, checkpoint, source)


def _subject(config: RunConfig, checkpoint: Checkpoint, source: Source) -> Subject:
    device = prepare(config)
    model = build_model(config).to(device)
    objectives = build_objectives(config, model.shape).to(device)
    # As training does it: some objectives have parameters only once they have seen the network and the corpus.
    objectives.prepare(Preparation(model, lambda: source.token_counts().to(device), config.seed))
    model.load_state_dict(checkpoint.part("model"))
    objectives.load_state_dict(checkpoint.part("objective"))
    objectives.progress((config.training.steps - 1) / config.training.steps)
    return Subject(config, model.eval(), objectives.eval(), source, device)
