"""`deepsight train`: one run, in one folder, that can be stopped and goes on."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepsight.cli.common import PRESETS, Plugins, Settings, load_plugins, other_measures, parsed_settings
from deepsight.cli.companions import local_rank_of_environment, rank_of_environment

if TYPE_CHECKING:
    from deepsight.config import RunConfig
    from deepsight.data.source import Source
    from deepsight.ranks import Ranks


def train(
    source: Annotated[
        str, typer.Argument(metavar="PRESET|CONFIG.yaml", help=f"A run's file, or a preset: {PRESETS}.")
    ] = "tiny",
    settings: Settings = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where to write; runs/NAME when not given.")] = None,
    plugin: Plugins = None,
) -> None:
    """Train one model. Ctrl-C stops with a checkpoint; the same command goes on from it.

    On several GPUs: torchrun --nproc-per-node GPUS -m deepsight train …
    """
    load_plugins(plugin)
    from rich.console import Console

    from deepsight.building import check_buildable
    from deepsight.cli.stopping import stop_on_signal
    from deepsight.cli.training_display import TrainingDisplay
    from deepsight.errors import UserError
    from deepsight.presets import load_run
    from deepsight.ranks import joined
    from deepsight.training.device import chosen_device
    from deepsight.training.folder import RunFolder
    from deepsight.training.loop import DivergedError

    leads = rank_of_environment() == 0
    console = Console(quiet=not leads)
    config = load_run(source, parsed_settings(settings))
    check_buildable(config)
    device = chosen_device(config.runtime.device)
    folder = RunFolder(out or Path("runs") / Path(source).stem)
    folder.check(config)
    if (result := folder.result()) is not None:
        console.print(f"{folder.path}: this run is finished: {_summary(result)}", soft_wrap=True)
        return
    with joined(device) as ranks:
        source_of_run = _source(config, ranks)
        console.print(source_of_run.describe(), highlight=False, soft_wrap=True)
        with folder.locked() if leads else nullcontext():
            trainer = folder.prepare(config, source_of_run, ranks=ranks)
            try:
                with TrainingDisplay(config, console) as display, stop_on_signal(insist=not ranks.together) as stop:
                    trainer.record.on_row = display.show
                    result = trainer.run(stop)
            except DivergedError as error:
                advice = "; try a lower training.learning_rate" if trainer.progress.step else ""
                raise UserError(f"{folder.path}: the run diverged: {error}{advice}") from None
    if result is None:
        step = trainer.progress.step
        console.print(f"Stopped at step {step}; the same command goes on from there.", soft_wrap=True)
        # One who is not 0 has torchrun end the others, who may still have something to do.
        raise typer.Exit(130 if leads else 0)
    console.print(f"{folder.path}: {_summary(result)}", soft_wrap=True, highlight=False)


def _source(config: RunConfig, ranks: Ranks) -> Source:
    """Return what a run learns from; one process of each machine packs a corpus, and the others find it packed."""
    from deepsight.data.of_run import source_for

    packs = not ranks.together or local_rank_of_environment() == 0
    if not packs:
        ranks.wait()
    source = source_for(config.data, show=packs)
    if packs:
        ranks.wait()
    return source


def _summary(result: dict[str, Any]) -> str:
    return (
        f"validation loss {result['validation_loss']:.4f} nats per token{other_measures(result)}, "
        f"training loss {result['train_loss']:.4f}, {result['tokens']:,} tokens in {result['seconds']:.1f} s"
    )
