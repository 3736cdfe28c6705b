"""Positions of held-out games, and what stands on the board there and some plies later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from deepsight.architecture import Architecture
from deepsight.data.player import Sequences
from deepsight.data.tasks.board_moves import BoardMoves
from deepsight.errors import UserError
from deepsight.evaluation.probes.examples import split_by_document
from deepsight.evaluation.probes.places import ProbedPlace, state_at
from deepsight.evaluation.probes.probe import Subject
from deepsight.trace import IGNORED

EMPTY, MINE, THEIRS = range(3)
"""What a cell holds, as seen by who is to move."""
CONTENTS = 3
AT_ONCE = 128
"""Games that go through the network together."""

Contents = Int[Tensor, "positions cells"]


@dataclass(frozen=True)
class BoardPositions:
    """Every place of some games at which at least one move has been read, in a fixed order.

    Attributes:
        plies: how many moves have been read.
        contents: k → what each cell holds after k further moves, as who is to move now sees it; `IGNORED` where the
            game has ended by then.
        parts: `TRAIN`, `SELECT` or `TEST`; a game lies in one part as a whole.
        games: the number of the game.

    """

    plies: Int[Tensor, " positions"]
    contents: tuple[Contents, ...]
    parts: Int[Tensor, " positions"]
    games: Int[Tensor, " positions"]
    _sequences: Sequences
    _chosen: Bool[Tensor, "games time"]

    @torch.no_grad()
    def states(
        self, model: Architecture, place: ProbedPlace, alive: Callable[[], None]
    ) -> Float[Tensor, "positions width"]:
        """Return a network's states at a place, of these positions."""
        inputs = torch.from_numpy(self._sequences[:, :-1]).to(model.unembedding.device)
        found = []
        for tokens, chosen in zip(torch.split(inputs, AT_ONCE), torch.split(self._chosen, AT_ONCE), strict=True):
            alive()
            states = state_at(model, model(tokens, tokens), place)
            found.append(states[chosen.to(states.device)].float())
        return torch.cat(found)

    def count(self, part: int) -> dict[str, int]:
        """Return how many positions and games a part has."""
        chosen = self.parts == part
        return {"positions": int(chosen.sum()), "games": len(torch.unique(self.games[chosen]))}


def board_positions(subject: Subject, task: BoardMoves, plies: int, games: int) -> BoardPositions:
    """Return the positions of some held-out games, each once, with the boards up to so many plies later.

    Which games they are, and how they are split, depends on nothing but the task and `subject.seed`.

    Raises:
        UserError: there are too few games to split.

    """
    windows = subject.source.windows(context=subject.config.model.context, count=games)
    drawn: Sequences = windows.examples  # type: ignore[attr-defined]  # of a task, all windows have them
    _, first = np.unique(drawn, axis=0, return_index=True)
    sequences = drawn[np.sort(first)]
    moves = sequences < task.rules.actions
    # Nothing is read after the last token; before the first move all games are alike.
    chosen = torch.from_numpy(moves[:, :-1])
    seen = contents_ahead(task.boards(sequences), moves, plies)[:, :-1]
    number, time = torch.nonzero(chosen, as_tuple=True)
    try:
        parts = split_by_document(number, subject.seed)
    except UserError:
        raise UserError(
            f"there are {len(sequences)} held-out games, and a probe is trained and measured on different ones; it "
            "needs at least 3",
            ("games",),
        ) from None
    contents = torch.from_numpy(seen)[chosen]
    return BoardPositions(time, tuple(contents.unbind(dim=1)), parts, number, sequences, chosen)


def contents_ahead(boards: npt.NDArray[np.int8], moves: npt.NDArray[np.bool_], plies: int) -> npt.NDArray[np.int64]:
    """Return what each cell holds now and up to so many plies later, as who is to move now sees it.

    Args:
        boards: after each token, (games, time, cells): 0 empty, 1 of who moves first, 2 of who moves second.
        moves: which tokens are moves, (games, time); the first token, the beginning, is none, and each is one turn.
        plies: the furthest.

    Returns:
        `EMPTY`, `MINE` or `THEIRS`, (games, time, plies + 1, cells); `IGNORED` where the token so far ahead is no move.

    """
    games, length, cells = boards.shape
    found = np.full((games, length, plies + 1, cells), IGNORED, dtype=np.int64)
    # Who moves first is to move after the beginning, token 0, and after every second one.
    mine = np.where(np.arange(length) % 2 == 0, 1, 2)[None, :, None]
    for ahead in range(min(plies + 1, length)):
        later = boards[:, ahead:]
        seen = np.where(later == 0, EMPTY, np.where(later == mine[:, : length - ahead], MINE, THEIRS))
        there = moves[:, ahead:, None]
        found[:, : length - ahead, ahead] = np.where(there, seen, IGNORED)
    return found
