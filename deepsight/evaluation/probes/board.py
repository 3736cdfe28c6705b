"""Whether states hold the board of a game whose moves alone are read, and the board to come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from pydantic import Field
from torch import Tensor

from deepsight.architecture import Architecture
from deepsight.data.tasks.board_moves import BoardMoves
from deepsight.data.tasks.source import TaskSource
from deepsight.errors import UserError
from deepsight.evaluation.probes.board_positions import CONTENTS, BoardPositions, board_positions
from deepsight.evaluation.probes.board_reading import most_frequent, read_cells
from deepsight.evaluation.probes.examples import SELECT, TEST, TRAIN
from deepsight.evaluation.probes.places import ProbedPlace, by_place, check_places, place_label
from deepsight.evaluation.probes.probe import Probe, Subject, Tables
from deepsight.plug_ins import probes
from deepsight.random_streams import derive
from deepsight.trace import IGNORED

CONSTANT = 0.99
"""A cell that holds the same at this share of the training positions is left out."""
FAIR = ("majority", "ply", "untrained")
"""Controls that do not see the present board."""

Row = dict[str, Any]
Contents = Int[Tensor, "positions cells"]
Read = dict[int, Contents]
"""k → what is said of each cell of the test positions."""


@probes.register(
    "board",
    formula="argmax (W h_t + b)_cell = content of the cell after k further moves: empty, mine, theirs",
    source="Li et al. (2023), arXiv 2210.13382; mine and theirs: Nanda et al. (2023), arXiv 2309.00941",
)
class Board(Probe):
    """Read the board of a game off single states: now, and some moves later.

    At each place linear probes learn from the state after t moves what each cell holds after t + k: nothing, a piece of
    who is to move at t, or one of the other side's, for k = 0 … n. They learn on some held-out games and are measured
    on others. Accuracies are means over positions and cells, without cells that hold the same almost always.

    Controls: `majority`, the most frequent content of a cell; `ply`, the most frequent one after as many moves;
    `untrained`, the same probe on the network with its initial weights, whose states hold the moves read, and so a part
    of the board. For k > 0 two more are told the true present board: `unchanged` says that it stays as it is, `present`
    is the same probe on it. Only what lies above these is knowledge of moves to come.

    Tables: `states`, one row a place and k: `accuracy`, `above_…` each control, `gain` above the best one of majority,
    ply and untrained, and `accuracy_changed`, on cells alone whose content changes until then; `controls`, the same of
    the controls; `cells`, accuracy cell by cell; `examples`, what was measured on.

    Args:
        n: moves ahead.
        places: encoder, bridge, decoder or {layer: k}; all where it is null.
        games: held out, at most; equal ones count once.

    """

    version = 1

    def __init__(
        self,
        n: Annotated[int, Field(ge=0, le=100)] = 3,
        places: list[ProbedPlace] | None = None,
        games: Annotated[int, Field(ge=3, le=10**6)] = 400,
    ) -> None:
        self.n, self.places, self.games = n, places, games

    def check(self, subject: Subject) -> None:
        """Refuse a run that learned no board game, and places that the network does not have."""
        _task(subject)
        if self.places is not None:
            check_places(self.places, subject.model)

    def run(self, subject: Subject, alive: Callable[[], None]) -> Tables:
        """Return the tables `states`, `controls`, `cells` and `examples`."""
        task = _task(subject)
        positions = board_positions(subject, task, self.n, self.games)
        reading = _Reading(subject, positions, alive)
        states: list[Row] = []
        controls: list[Row] = []
        cells: list[Row] = []
        for name, read in reading.controls.items():
            controls += [{"control": name, "place": None, **row} for row in reading.rows(read)]
        for label, (trained, untrained) in by_place(subject.model, self.places, reading.at):
            states += [{"place": label, **row} for row in reading.compared(trained, untrained)]
            controls += [{"control": "untrained", "place": label, **row} for row in reading.rows(untrained)]
            cells += [{"place": label, **row} for row in reading.by_cell(trained, task.board_shape)]
        parts = {"train": TRAIN, "select": SELECT, "test": TEST}
        about = {
            f"{name}_{what}": count for name, part in parts.items() for what, count in positions.count(part).items()
        }
        return {"states": states, "controls": controls, "cells": cells, "examples": [about]}


class _Reading:
    """Reads boards at one set of positions.

    Args:
        subject: the trained model.
        positions: of held-out games.
        alive: called again and again.

    Attributes:
        truth: k → what each cell of the test positions holds; of the k for which games go on long enough.
        controls: name → what those say that need no network.

    """

    def __init__(self, subject: Subject, positions: BoardPositions, alive: Callable[[], None]) -> None:
        self.subject, self.positions, self.alive = subject, positions, alive
        self.untrained = subject.untrained()
        test = positions.parts == TEST
        self.truth = {ahead: of[test] for ahead, of in enumerate(positions.contents) if self._in_all_parts(of)}
        self.varying = {ahead: self._varying(positions.contents[ahead]) for ahead in self.truth}
        self.controls = {"majority": self._majority(), "ply": self._by_ply()}
        if later := [ahead for ahead in self.truth if ahead > 0]:
            board = F.one_hot(positions.contents[0], CONTENTS).flatten(1).float()
            self.controls["unchanged"] = dict.fromkeys(later, self.truth[0])
            self.controls["present"] = self._read(board, later, "present")

    def at(self, place: ProbedPlace) -> tuple[Read, Read]:
        """Return what is read at a place of the trained network, and of the one before training."""
        return self._at(self.subject.model, place), self._at(self.untrained, place)

    def rows(self, read: Read) -> list[Row]:
        """Return how right something is, one row a k."""
        return [{"ahead": ahead, **self._accuracies(ahead, said)} for ahead, said in read.items()]

    def compared(self, trained: Read, untrained: Read) -> Iterator[Row]:
        """Yield how right a probe is beside every control, one row a k."""
        controls = {**self.controls, "untrained": untrained}
        for ahead, said in trained.items():
            own = self._accuracies(ahead, said)
            above = {
                name: own["accuracy"] - self._accuracies(ahead, read[ahead])["accuracy"] if ahead in read else None
                for name, read in controls.items()
            }
            yield {
                "ahead": ahead,
                "positions": int((self.truth[ahead] != IGNORED).any(dim=1).sum()),
                "cells": int(self.varying[ahead].sum()),
                **own,
                "gain": min(value for name in FAIR if (value := above[name]) is not None),
                **{f"above_{name}": value for name, value in above.items()},
            }

    def by_cell(self, trained: Read, shape: Sequence[int]) -> Iterator[Row]:
        """Yield how right a probe is of every cell, and how right the most frequent content is."""
        for ahead, said in trained.items():
            truth = self.truth[ahead]
            counts = (truth != IGNORED).sum(dim=0)
            probe, majority = ((read == truth).sum(dim=0) / counts for read in (said, self.controls["majority"][ahead]))
            for cell in range(truth.shape[1]):
                row, column = divmod(cell, shape[1])
                found = {"accuracy": float(probe[cell]), "majority": float(majority[cell])}
                counted = bool(self.varying[ahead][cell])
                yield {"ahead": ahead, "row": row, "column": column, "counted": counted, **found}

    def _accuracies(self, ahead: int, said: Contents) -> dict[str, Any]:
        truth = self.truth[ahead]
        counts = (truth != IGNORED) & self.varying[ahead]
        changed = counts & (truth != self.truth[0])
        return {"accuracy": _share(said == truth, counts), "accuracy_changed": _share(said == truth, changed)}

    def _at(self, model: Architecture, place: ProbedPlace) -> Read:
        states = self.positions.states(model, place, self.alive)
        return self._read(states, list(self.truth), place_label(place))

    def _read(self, states: Tensor, offsets: Sequence[int], name: str) -> Read:
        """Read the boards of all these k at once, each cell of each by itself."""
        contents = torch.cat([self.positions.contents[ahead] for ahead in offsets], dim=1)
        seed = derive(self.subject.seed, "board", name)
        said = read_cells(states, contents, self.positions.parts, CONTENTS, seed, self.alive)
        return dict(zip(offsets, said.chunk(len(offsets), dim=1), strict=True))

    def _majority(self) -> Read:
        training = self.positions.parts == TRAIN
        found = {ahead: most_frequent(self.positions.contents[ahead][training], CONTENTS) for ahead in self.truth}
        return {ahead: cells.expand_as(self.truth[ahead]) for ahead, cells in found.items()}

    def _by_ply(self) -> Read:
        """Say what a cell holds most often after as many moves; where no training game has so many, as the majority."""
        plies, training = self.positions.plies, self.positions.parts == TRAIN
        asked = plies[self.positions.parts == TEST]
        found = {ahead: cells.clone() for ahead, cells in self._majority().items()}
        for ply in set(asked.tolist()):
            chosen = training & (plies == ply)
            for ahead, cells in found.items():
                contents = self.positions.contents[ahead][chosen]
                if (contents != IGNORED).any():
                    cells[asked == ply] = most_frequent(contents, CONTENTS)
        return found

    def _in_all_parts(self, contents: Contents) -> bool:
        return all(bool((contents[self.positions.parts == part] != IGNORED).any()) for part in (TRAIN, SELECT, TEST))

    def _varying(self, contents: Contents) -> Bool[Tensor, " cells"]:
        """Return which cells do not hold the same almost always."""
        of_training = contents[self.positions.parts == TRAIN]
        shares = (of_training == most_frequent(of_training, CONTENTS)).sum(dim=0) / (of_training != IGNORED).sum(dim=0)
        return shares < CONSTANT


def _task(subject: Subject) -> BoardMoves:
    source = subject.source
    if not isinstance(source, TaskSource) or not isinstance(source.task, BoardMoves):
        raise UserError(
            "this run did not learn the task board_moves, and only such a run has a board that could be read"
        )
    return source.task


def _share(right: Bool[Tensor, "positions cells"], counts: Bool[Tensor, "positions cells"]) -> float | None:
    """Return the share of what counts that is right; None where nothing counts."""
    return float(right[counts].double().mean()) if counts.any() else None
