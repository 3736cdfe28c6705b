"""Path-star graphs: which of several arms leads to the goal must be known before the first step along it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from deepsight.data.player import Player, Sequences
from deepsight.data.tasks.task import Draws, Keys, Measure, Scored, Task, integers, mixed, permutations
from deepsight.errors import UserError
from deepsight.plug_ins import tasks

SYMBOLS = ("|", "/", "=", "$")


@tasks.register("path_star", source="Bachmann & Nagarajan (2024), arXiv 2403.06963")
class PathStar(Task):
    """Find the path from the centre of a star of arms to the end of one of them.

    A start has `degree` arms; each arm has `length` nodes, the start included. The prompt lists all edges outward, in
    random order, then start and goal; the answer is the path: ``a b | c d | … / start goal = start v2 … goal``. Every
    later step of the answer can be read off the edges, so a model that is shown the answer's beginning learns to copy
    instead of to plan, and then fails at the one step that needs a plan, the first. The layout is the published one,
    with a token for each label and each of | / =.

    Graphs, arms and order drawn at random, without their edges' order and their goal, tell training from held-out ones.

    Measures: `full_path` by free greedy decoding, `first_hop`, each later token of it (`token_3` …) and `rest_of_path`,
    all tokens after the first hop; their chance is 1/degree, since a wrong arm is wrong to its end. The same of single
    tokens and of `rest_of_path` under teacher forcing, `first_hop_forced`, …, where a later token's chance is that of
    any node of the graph but the start. The last token stands in the prompt, so it has no chance. A rest of the path
    that is right when the arm is shown, and wrong when it is not, is the Clever-Hans cheat. (A full path that is right
    token by token under teacher forcing is found by free decoding too, so it is not measured twice.)

    Args:
        degree: number of arms, d.
        length: nodes on an arm with the start, l.
        labels: number of node labels, N.
        target: `forward` is the path as it is; `reversed` goes from the goal to the start and needs no plan, since each
            of its steps is one look at the edges; `teacherless` shows $ in place of the answer, in training and when it
            is measured, so that nothing can be copied.
        training_set: graphs to train on; None draws new ones for every batch. Published: 200,000.

    Raises:
        UserError: a graph has more nodes than there are labels.

    """

    def __init__(
        self,
        degree: Annotated[int, Field(ge=1)] = 2,
        length: Annotated[int, Field(ge=2)] = 4,
        labels: Annotated[int, Field(ge=2)] = 10,
        target: Literal["forward", "reversed", "teacherless"] = "forward",
        training_set: Annotated[int, Field(ge=1)] | None = None,
    ) -> None:
        self.degree, self.path_length, self.labels, self.target = degree, length, labels, target
        self.training_set = training_set
        self.nodes = 1 + degree * (length - 1)
        if self.nodes > labels:
            raise UserError(
                f"degree {degree} and length {length} make {self.nodes} nodes, and there are {labels} labels; "
                f"give at least {self.nodes}",
                ("labels",),
            )
        self.words = (*map(str, range(labels)), *SYMBOLS)
        self.bar, self.slash, self.equals, self.dollar = range(labels, labels + len(SYMBOLS))
        self.edges = degree * (length - 1)
        self.prompt_length = 3 * self.edges - 1 + 4
        self.answer_length = length
        self.length = self.prompt_length + length

    def draw(self, random: Draws, count: int) -> Sequences:
        """Return sequences, (count, length)."""
        nodes = permutations(random, count, self.labels)[:, : self.nodes]
        start, arms = nodes[:, :1], nodes[:, 1:].reshape(count, self.degree, -1)
        paths = np.concatenate([np.repeat(start[:, None], self.degree, axis=1), arms], axis=2)
        edges = np.stack([paths[:, :, :-1], paths[:, :, 1:]], axis=-1).reshape(count, self.edges, 2)
        edges = np.take_along_axis(edges, permutations(random, count, self.edges)[..., None], axis=1)
        path = paths[np.arange(count), integers(random, count, self.degree)]
        listed = np.full((count, self.edges, 3), self.bar, dtype=np.int64)
        listed[..., :2] = edges
        ending = np.stack([np.full(count, self.slash), path[:, 0], path[:, -1], np.full(count, self.equals)], axis=1)
        answer = path[:, ::-1] if self.target == "reversed" else path
        return np.concatenate([listed.reshape(count, -1)[:, :-1], ending, answer], axis=1)

    def scored(self, sequences: Sequences) -> Scored:
        """Return which tokens are the path."""
        inside = np.arange(sequences.shape[1]) >= self.prompt_length
        return np.broadcast_to(inside, sequences.shape)

    def keys(self, sequences: Sequences) -> Keys:
        """Return a number for each graph, whatever its order of edges and its goal."""
        return mixed(self._predecessors(sequences))

    def read(self, sequences: Sequences) -> Sequences:
        """Return the sequences, their answers hidden where training is teacherless."""
        if self.target != "teacherless":
            return sequences
        hidden = np.array(sequences)
        hidden[:, self.prompt_length :] = self.dollar
        return hidden

    def next_tokens(self, prefixes: Sequences, random: Draws) -> npt.NDArray[np.int64]:
        """Return the next node of the path, found by walking back from the goal."""
        rows = np.arange(len(prefixes))
        predecessors = self._predecessors(prefixes)
        goal = self._start_and_goal(prefixes)[:, 1]
        path = [goal]
        for _ in range(self.path_length - 1):
            path.append(predecessors[rows, path[-1]])
        step = prefixes.shape[1] - self.prompt_length
        chosen = step if self.target == "reversed" else self.path_length - 1 - step
        return np.asarray(path[chosen], dtype=np.int64)

    def measure(self, player: Player, examples: Sequences) -> Mapping[str, Measure]:
        """Return how many paths, and which of their tokens, are right."""
        answers = examples[:, self.prompt_length :]
        read = self.read(examples)
        forced = player.predicted(read[:, :-1])[:, self.prompt_length - 1 :] == answers
        if self.target == "teacherless":
            # Nothing of the answer is shown, so one pass gives all of it.
            return self._free(forced)
        free = player.continued(examples[:, : self.prompt_length], self.path_length) == answers
        return {**self._free(free), **self._forced(forced)}

    def rendered(self, sequence: Sequences) -> str:
        """Return a sequence as it is published, such as ``3,7|3,1/3,7=3,7``, with the spaces that help reading."""
        words = [self.words[token] for token in sequence]
        listed = [f"{words[place]}→{words[place + 1]}" for place in range(0, 3 * self.edges, 3)]
        start, goal = words[self.prompt_length - 3 : self.prompt_length - 1]
        return f"{' | '.join(listed)} / {start} {goal} = {' '.join(words[self.prompt_length :])}"

    def _free(self, right: npt.NDArray[np.bool_]) -> dict[str, Measure]:
        chance = 1 / self.degree
        full = Measure(float(right.all(axis=1).mean()), chance)
        return {"full_path": full, **self._tokens(right, "", chance), **self._rest(right, "", chance)}

    def _forced(self, right: npt.NDArray[np.bool_]) -> dict[str, Measure]:
        node = 1 / (self.nodes - 1)
        rest = self._rest(right, "_forced", node ** (self.path_length - 3))
        return {**self._tokens(right, "_forced", node), **rest}

    def _tokens(self, right: npt.NDArray[np.bool_], ending: str, later: float) -> dict[str, Measure]:
        found = {}
        for place in range(1, self.path_length):
            # Backwards, the first token after the goal is the first hop.
            name, chance = ("first_hop", 1 / self.degree) if place == 1 else (f"token_{place + 1}", later)
            known = place == self.path_length - 1
            found[f"{name}{ending}"] = Measure(float(right[:, place].mean()), None if known else chance)
        return found

    def _rest(self, right: npt.NDArray[np.bool_], ending: str, chance: float) -> dict[str, Measure]:
        if self.path_length < 4:
            # Without a token between the first hop and the goal there is nothing to follow.
            return {}
        return {f"rest_of_path{ending}": Measure(float(right[:, 2:].all(axis=1).mean()), chance)}

    def _start_and_goal(self, sequences: Sequences) -> Sequences:
        return sequences[:, self.prompt_length - 3 : self.prompt_length - 1]

    def _predecessors(self, sequences: Sequences) -> Sequences:
        """Return the node before each label, the number of labels where there is none, (sequences, labels)."""
        found = np.full((len(sequences), self.labels), self.labels, dtype=np.int64)
        rows = np.arange(len(sequences))[:, None]
        places = 3 * np.arange(self.edges)
        found[rows, sequences[:, places + 1]] = sequences[:, places]
        return found
