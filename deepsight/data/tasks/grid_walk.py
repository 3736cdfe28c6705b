"""Walks to a goal on a grid: where one stands is never written down, and has to be kept in mind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import Field

from deepsight.data.player import Player, Sequences
from deepsight.data.tasks.equivalence import compression, distinction
from deepsight.data.tasks.readouts import effective_rank, probed
from deepsight.data.tasks.task import Draws, Keys, Measure, Scored, Task, integers, mixed
from deepsight.errors import UserError
from deepsight.plug_ins import tasks

MOVES = ("N", "E", "S", "W")
STEPS = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)])
"""Row and column of each move."""
ARROWS = ("↑", "→", "↓", "←")
ALLOWED = 0.01
"""The chance from which on a player allows a token, as in the code of Vafa et al. (2024)."""

Cells: TypeAlias = npt.NDArray[np.int64]
"""Row and column, (…, 2)."""
Flags: TypeAlias = npt.NDArray[np.bool_]


@tasks.register(
    "grid_walk",
    source="Vafa, Chen, Rambachan, Kleinberg & Mullainathan (2024), arXiv 2406.03689; Teoh et al. (2025), NextLat, "
    "arXiv 2511.05963, Table 1: the same measures on the streets of Manhattan",
)
class GridWalk(Task):
    """Walk to a goal on a grid and stay on it.

    The prompt is the cell of the start and that of the goal, another one; then come the moves N, E, S and W, an end
    where the goal is first reached, and padding that does not count: ``2,0 2,3 E S E N E end _ …``. Each move is, with
    probability `detour`, any move that stays on the grid, all equally likely, else one of those that come nearer to the
    goal; once no move is left to lose it is always one of these, so that every walk arrives. What may follow depends on
    the position and the goal alone, and of the position only the moves tell.

    Legal is a move that stays on the grid, anywhere but at the goal, and at the goal the end and nothing else. Start
    and goal tell training from held-out walks.

    Measures, the first two over walks drawn at temperature 1 from held-out starts and goals; a walk is over with its
    end, its first illegal token, which counts, or the `longest` + 1 tokens that it may have:

    - `legal_moves`: share of legal tokens among all tokens of all walks; chance is that of tokens drawn evenly from the
      four moves and the end, exactly;
    - `valid_walks`: share of walks that are legal and end at the goal; chance likewise;
    - `compression`: of two different prefixes of held-out walks that lead to the same position with the same goal, how
      often the same tokens are allowed after both, each with a chance of at least 0.01: the mean over these states of
      the share of pairs. Prefixes after which no move is left to lose are left out. No chance is given: who allows the
      same everywhere gets 1, and is found out by the next measure;
    - `distinction`: of two prefixes after which the walks themselves allow different tokens, how often the player does;
      0 for who allows the same everywhere, below 1 for who knows one way only. Both compare the next token where Vafa
      et al. compare whole continuations, so the numbers are not theirs;
    - `effective_rank` of the states at the decoder's output, (Σλ)² / Σλ² of their covariance, no share;
    - `probe`: how often a linear probe reads the position from these states, fitted on one half of the held-out walks,
      tested on the other; chance is the share of the most frequent position. These two need a player with states.

    Args:
        rows: of the grid.
        columns: of the grid.
        longest: most moves of a walk.
        detour: probability that a move need not come nearer to the goal.
        training_set: walks to train on; None draws new ones for every batch.

    Raises:
        UserError: the grid has one cell, or its corners are further apart than a walk may be long.

    """

    def __init__(
        self,
        rows: Annotated[int, Field(ge=1)] = 6,
        columns: Annotated[int, Field(ge=1)] = 6,
        longest: Annotated[int, Field(ge=1)] = 20,
        detour: Annotated[float, Field(ge=0, le=1)] = 0.5,
        training_set: Annotated[int, Field(ge=1)] | None = None,
    ) -> None:
        self.size = np.array([rows, columns])
        self.longest, self.detour, self.training_set = longest, detour, training_set
        self.cells, needed = rows * columns, rows + columns - 2
        if self.cells == 1:
            raise UserError("on a grid of one cell there is nowhere to go; give at least 2 columns", ("columns",))
        if longest < needed:
            raise UserError(
                f"from corner to corner it takes {needed} moves, and a walk has at most {longest}; "
                f"give at least {needed}",
                ("longest",),
            )
        cells = tuple(f"{row},{column}" for row in range(rows) for column in range(columns))
        self.words = (*cells, *MOVES, "end", "_")
        self.end, self.padding = self.cells + len(MOVES), self.cells + len(MOVES) + 1
        self.steps = np.zeros((len(self.words), 2), dtype=np.int64)
        self.steps[self.cells : self.end] = STEPS
        self.answer_length = longest + 1
        self.length = 2 + self.answer_length

    def draw(self, random: Draws, count: int) -> Sequences:
        """Return sequences, (count, length)."""
        walks = np.full((count, self.length), self.padding, dtype=np.int64)
        walks[:, 0] = integers(random, count, self.cells)
        walks[:, 1] = (walks[:, 0] + 1 + integers(random, count, self.cells - 1)) % self.cells
        walking = np.arange(count)
        places, goals = self._cell(walks[:, 0]), self._cell(walks[:, 1])
        for time in range(2, self.length):
            arrived = (places == goals).all(axis=1)
            walks[walking[arrived], time] = self.end
            walking, places, goals = walking[~arrived], places[~arrived], goals[~arrived]
            free = self._may_stray(places, goals, time) & (random.random_sample(len(walking)) < self.detour)
            possible = np.where(free[:, None], self._staying(places), nearing(places, goals))
            # Never 0 where a move is possible, as random numbers are below 1.
            drawn = ((1 - random.random_sample(possible.shape)) * possible).argmax(axis=1)
            walks[walking, time] = self.cells + drawn
            places = places + STEPS[drawn]
        return walks

    def scored(self, sequences: Sequences) -> Scored:
        """Return which tokens are moves or the end."""
        counts: Scored = (np.arange(sequences.shape[1]) >= 2) & (sequences != self.padding)
        return counts

    def keys(self, sequences: Sequences) -> Keys:
        """Return a number for each start and goal."""
        return mixed(sequences[:, :2])

    def next_tokens(self, prefixes: Sequences, random: Draws) -> npt.NDArray[np.int64]:
        """Return the first of N, E, S, W that comes nearer to the goal; at the goal the end, then padding."""
        places, goals = self._places(prefixes)[:, -1], self._cell(prefixes[:, 1])
        ended = (prefixes == self.end).any(axis=1)
        arrived = np.where(ended, self.padding, self.end)
        move = self.cells + nearing(places, goals).argmax(axis=1)
        return np.where((places == goals).all(axis=1), arrived, move)

    def measure(self, player: Player, examples: Sequences) -> Mapping[str, Measure]:
        """Return how legal walks are, and what of the position the player knows."""
        prompts = examples[:, :2]
        walks = np.concatenate([prompts, player.continued(prompts, self.longest + 1, temperature=1.0)], axis=1)
        legal, judged = self._judged(walks)
        valid = (legal & judged & (walks[:, 2:] == self.end)).any(axis=1)
        legal_chance, valid_chance = self.chances(prompts)
        return {
            "legal_moves": Measure(float(legal[judged].mean()), legal_chance),
            "valid_walks": Measure(float(valid.mean()), valid_chance),
            **self._allowed_alike(player, examples),
            **self._read_out(player, examples),
        }

    def chances(self, prompts: Sequences) -> tuple[float, float]:
        """Return `legal_moves` and `valid_walks` of one who draws moves and ends evenly, exactly, from prompts (n, 2).

        The share of legal tokens is the ratio of both expected numbers.
        """
        rows = np.arange(len(prompts))
        starts, goals = self._cell(prompts[:, 0]), self._cell(prompts[:, 1])
        standing = np.zeros((len(prompts), *self.size))
        standing[rows, starts[:, 0], starts[:, 1]] = 1.0
        judged = legal = ended = 0.0
        for _ in range(self.longest + 1):
            judged += standing.sum()
            ended += standing[rows, goals[:, 0], goals[:, 1]].sum() / (len(MOVES) + 1)
            standing[rows, goals[:, 0], goals[:, 1]] = 0.0
            moved = np.zeros_like(standing)
            moved[:, 1:] += standing[:, :-1]
            moved[:, :-1] += standing[:, 1:]
            moved[:, :, 1:] += standing[:, :, :-1]
            moved[:, :, :-1] += standing[:, :, 1:]
            standing = moved / (len(MOVES) + 1)
            legal += standing.sum()
        return float((legal + ended) / judged), float(ended / len(prompts))

    def rendered(self, sequence: Sequences) -> str:
        """Return a walk such as ``2,0 to 2,2: 2,0 → 2,1 → 2,2 end``."""
        start, goal = (self.words[token] for token in sequence[:2])
        shown = [f"{start} to {goal}: {start}"]
        for token, (row, column) in zip(sequence[2:], self._places(sequence[None])[0, 1:], strict=True):
            if self.cells <= token < self.end:
                shown.append(f"{ARROWS[token - self.cells]} {row},{column}")
            elif token != self.padding:
                shown.append(self.words[token])
        return " ".join(shown)

    def _cell(self, tokens: Sequences) -> Cells:
        return np.stack(np.divmod(tokens, self.size[1]), axis=-1)

    def _places(self, sequences: Sequences) -> Cells:
        """Return where one stands after the goal and after each later token, (sequences, time - 1, 2)."""
        steps = np.where(np.arange(1, sequences.shape[1])[:, None] >= 2, self.steps[sequences[:, 1:]], 0)
        places: Cells = self._cell(sequences[:, :1]) + np.cumsum(steps, axis=1)
        return places

    def _staying(self, places: Cells) -> Flags:
        """Return which moves stay on the grid, (…, 4)."""
        return self._on_grid(places[..., None, :] + STEPS)

    def _on_grid(self, places: Cells) -> Flags:
        return np.asarray(((places >= 0) & (places < self.size)).all(axis=-1))

    def _may_stray(self, places: Cells, goals: Cells, time: int | npt.NDArray[np.int64]) -> Flags:
        """Return whether there are moves to lose before the token at `time`: a step away costs two."""
        return np.asarray(self.length - 1 - time >= np.abs(places - goals).sum(axis=-1) + 2)

    def _judged(self, walks: Sequences) -> tuple[Flags, Flags]:
        """Return which tokens after the prompt are legal, and which are judged: up to the end or the first illegal."""
        places, goals, tokens = self._places(walks), self._cell(walks[:, None, 1]), walks[:, 2:]
        arrived = (places[:, :-1] == goals).all(axis=-1)
        moves = self._on_grid(places[:, 1:]) & (tokens >= self.cells) & (tokens < self.end)
        legal = np.where(arrived, tokens == self.end, moves)
        last = ~legal | (tokens == self.end)
        return legal, np.cumsum(last, axis=1) - last == 0

    def _allowed_alike(self, player: Player, examples: Sequences) -> dict[str, Measure]:
        """Return compression and distinction; a measure without a single pair is left out."""
        read = examples[:, :-1]
        places, goals = self._places(read), self._cell(read[:, None, 1])
        arrived = (places == goals).all(axis=-1)
        counts = self.scored(examples)[:, 2:] & (arrived | self._may_stray(places, goals, np.arange(2, self.length)))
        prefixes = np.stack([mixed(read[:, : time + 1]) for time in range(1, read.shape[1])], axis=1)
        _, different = np.unique(prefixes[counts], return_index=True)
        allowed = (player.probabilities(read)[:, 1:] >= ALLOWED)[counts][different]
        states = np.concatenate([places, np.broadcast_to(goals, places.shape)], axis=-1)[counts][different]
        possible = np.append(self._likely(places, goals) >= ALLOWED, arrived[..., None], axis=-1)[counts][different]
        state, tokens, truth = (numbered(rows) for rows in (states, allowed, possible))
        found = {}
        if (alike := compression(state, tokens)) is not None:
            found["compression"] = Measure(alike)
        if (apart := distinction(truth, tokens)) is not None:
            found["distinction"] = Measure(apart, 0.0)
        return found

    def _likely(self, places: Cells, goals: Cells) -> npt.NDArray[np.float64]:
        """Return the chance of each move in walks that have moves to lose, (…, 4); 0 at the goal."""
        nearer, staying = nearing(places, goals), self._staying(places)
        straight = nearer / np.maximum(nearer.sum(axis=-1, keepdims=True), 1)
        any_move = staying / staying.sum(axis=-1, keepdims=True)
        walking = (places != goals).any(axis=-1, keepdims=True)
        return np.where(walking, (1 - self.detour) * straight + self.detour * any_move, 0.0)

    def _read_out(self, player: Player, examples: Sequences) -> dict[str, Measure]:
        """Return effective rank and probe; nothing of a player without states."""
        states = player.states(examples[:, :-1], "decoder")
        if states is None:
            return {}
        # Some networks have states of later positions alone.
        time = min(states.shape[1], examples.shape[1] - 2)
        states, counts = states[:, -time:], self.scored(examples)[:, -time:]
        position = (self._places(examples[:, :-1]) @ np.array([self.size[1], 1]))[:, -time:]
        half = len(examples) // 2
        found = {"effective_rank": Measure(effective_rank(states[counts]), share=False)}
        fitted, tested = counts[:half], counts[half:]
        if fitted.any() and tested.any():
            truth = position[half:][tested]
            read = probed(states[:half][fitted], position[:half][fitted], states[half:][tested], self.cells)
            chance = float(np.bincount(truth).max() / len(truth))
            found["probe"] = Measure(float((read == truth).mean()), chance)
        return found


def nearing(places: Cells, goals: Cells) -> Flags:
    """Return which of the moves come nearer to the goal, (…, 4)."""
    nearer: Flags = (goals - places) @ STEPS.T > 0
    return nearer


def numbered(rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return a number from 0 on for each row, (rows, …) → (rows,): equal rows, equal numbers."""
    return np.unique(mixed(rows.astype(np.int64)), return_inverse=True)[1]
