"""What a person sees of probes: which can be asked, how far the asking is, and what was found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from ablations.finished import FinishedRun
from ablations.probed import probed
from ablations.stored import StoredStudy
from deepsight.cli.table_display import print_table
from deepsight.data.source import Source
from deepsight.errors import UserError
from deepsight.evaluation.probes.asking import ask, obstacle, stored_answer
from deepsight.evaluation.probes.loading import load_subject
from deepsight.evaluation.probes.probe import Subject
from deepsight.plug_ins import probes
from deepsight.registry import Spec
from deepsight.terminal import printable
from deepsight.training.folder import RunFolder
from deepsight.training.names import PROBES_FOLDER


@dataclass
class Subjects:
    """Loads trained models, one at a time; runs that learn from the same share what is open of it."""

    show: bool = False
    _sources: dict[str, Source] = field(default_factory=dict)
    _last: tuple[Path, Subject] | None = None

    def of(self, place: FinishedRun) -> Subject:
        """Return the model of a run."""
        if self._last is None or self._last[0] != place.folder:
            key = json.dumps(RunFolder(place.folder).config().data.model_dump(mode="json"), sort_keys=True)
            subject = load_subject(place.folder, self._sources.get(key), show=self.show)
            self._sources[key] = subject.source
            self._last = (place.folder, subject)
        return self._last[1]


@dataclass
class Asking:
    """Asks probes of runs, one after another, with a bar on a terminal and a line for each run.

    Args:
        console: where to show it.
        specs: of the probes.
        skip: leave a run that cannot be asked out, with a sentence, if another one, or another probe, can.
        failed: set where a probe failed that could be asked.

    """

    console: Console
    specs: Sequence[Spec]
    skip: bool
    failed: bool = False

    def ask(self, places: Sequence[FinishedRun]) -> None:
        """Ask all runs all probes.

        Raises:
            UserError: nothing at all could be asked, or a probe that must not be left out.

        """
        runs = list({place.folder: place for place in places}.values())
        subjects, refused, answers = Subjects(show=len(runs) == 1), "", 0
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as bar:
            task = bar.add_task("", total=len(runs) * len(self.specs))
            for place in runs:
                said = []
                for spec in self.specs:
                    bar.update(task, description=escape(printable(f"{_named(place)}: {spec['name']}")))
                    said.append(self._asked(place, spec, subjects))
                    answers += said[-1].answered
                    refused = refused or said[-1].reason
                    bar.advance(task)
                self._say(place, said, alone=len(runs) == 1)
        if not answers:
            raise UserError(refused)

    def _asked(self, place: FinishedRun, spec: Spec, subjects: Subjects) -> _Said:
        name = str(spec["name"])
        if stored_answer(place.folder, spec) is None:
            reason = obstacle(spec, subjects.of(place))
            if reason is not None and not self.skip:
                raise UserError(reason)
            if reason is not None:
                return _Said(name, f"left out: {reason}", reason)
        try:
            answer, fresh = ask(place.folder, spec, lambda: subjects.of(place), lambda: None)
        except UserError as error:
            if not self.skip:
                raise
            self.failed = True
            return _Said(name, f"failed: {error}", str(error))
        return _Said(name, f"{answer.seconds:.1f} s{'' if fresh else ', from before'}", answered=True)

    def _say(self, place: FinishedRun, said: Sequence[_Said], *, alone: bool) -> None:
        lines = [f"{one.probe}: {one.text}" for one in said]
        if alone:
            for line in lines:
                self.console.print(printable(line), soft_wrap=True, markup=False)
        else:
            self.console.print(printable(f"{_named(place)}: {'; '.join(lines)}"), soft_wrap=True, markup=False)


@dataclass(frozen=True)
class _Said:
    probe: str
    text: str
    reason: str = ""
    answered: bool = False


def print_probes(places: Sequence[FinishedRun], console: Console) -> None:
    """Print every probe: what it is, and whether these runs can be asked it."""
    arms = list({place.arm: place for place in places}.values())
    subjects, obstacles = Subjects(show=True), dict[str, list[str]]()
    names = probes.names()
    for subject in map(subjects.of, arms):
        for name in names:
            reason = _obstacle(name, subject)
            if reason is not None:
                obstacles.setdefault(name, []).append(reason)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("probe", style="cyan", no_wrap=True)
    table.add_column("what it asks", overflow="fold")
    table.add_column("of this run" if len(arms) == 1 else "of this study", overflow="fold")
    for name in names:
        table.add_row(name, Text(_summary(name)), Text(printable(_possible(obstacles.get(name, []), len(arms)))))
    console.print(table)
    first = names[0] if names else "NAME"
    console.print(f"Ask with --probes NAME,… or --probes all; a probe's parameters: deepsight objectives probe/{first}")


def print_found(
    places: Sequence[FinishedRun], study: StoredStudy | None, names: Sequence[str], out: Path, console: Console
) -> None:
    """Write the tables and figures of what was found, print the main table of each probe, and say where they are."""
    from reports.probe_tables import main_table
    from reports.probes import write_probes
    from reports.wording import counted, is_or_are

    found = probed(places, names)
    files = write_probes(found, out, study)
    for name in (name for name in names if name in found.probes):
        table = main_table(name, found)
        if table is not None:
            console.print()
            print_table(table, console)
    answers = "the folder of each trial" if study is not None else "the run's folder"
    told = f"{counted(len(files), 'file')} of tables and figures {is_or_are(len(files))}"
    console.print(
        printable(f"{told} in {out}; the answers themselves are in {answers}, under {PROBES_FOLDER}/."),
        soft_wrap=True,
        markup=False,
    )


def _named(place: FinishedRun) -> str:
    return f"{place.arm} (seed {place.seed})" if place.trial else place.arm


def _summary(name: str) -> str:
    try:
        return probes[name].summary
    except UserError as error:
        return str(error)


def _obstacle(name: str, subject: Subject) -> str | None:
    try:
        return obstacle(probes.resolve(name), subject)
    except UserError as error:
        return str(error)


def _possible(obstacles: Sequence[str], arms: int) -> str:
    if not obstacles:
        return "can be asked"
    if len(obstacles) == arms:
        return obstacles[0]
    return f"can be asked of {arms - len(obstacles)} of {arms} arms; else: {obstacles[0]}"
