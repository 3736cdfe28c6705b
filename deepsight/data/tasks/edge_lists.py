"""What circle and line construction share: directed edges in any order that join vertices, one after the other."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from deepsight.data.player import Sequences
from deepsight.data.tasks.creative import Creative, in_pairs, weighted
from deepsight.data.tasks.task import Draws, permutations
from deepsight.errors import UserError


class EdgeLists(Creative):
    """A prompt, then directed edges: ``circle: a b, c d, …`` without the commas, which say nothing.

    Args:
        word: the prompt.
        vertices: number of vertices, V.
        chosen_vertices: vertices that are joined, n.
        edges: that join them.
        routes: ways to join n vertices that are given.
        training_set: different sequences to train on.
        samples: sequences that are made up to measure.

    Raises:
        UserError: more vertices are chosen than there are, or the training set is larger than the number of different
            sequences.

    """

    closed: ClassVar[bool]
    """Whether the last edge leads back to where the first one starts."""

    def __init__(
        self, word: str, vertices: int, chosen_vertices: int, edges: int, routes: int, training_set: int, samples: int
    ) -> None:
        if chosen_vertices > vertices:
            raise UserError(
                f"{chosen_vertices} vertices cannot be chosen of {vertices}; give at most {vertices}", ("chosen",)
            )
        self.vertices, self.chosen, self.edges = vertices, chosen_vertices, edges
        self.training_set, self.samples = training_set, samples
        self.words = (*map(str, range(vertices)), word)
        self.prompt = vertices
        self.answer_length = 2 * edges
        self.length = 1 + self.answer_length
        self.forms = math.comb(vertices, chosen_vertices) * routes
        self.listings = math.factorial(edges)
        self._check_training_set(f"vertices {vertices} and chosen {chosen_vertices}")

    @abstractmethod
    def _whole(self, edges: Sequences, steps: Sequences) -> npt.NDArray[np.bool_]:
        """Return whether a walk along all edges is what was asked for, (sequences,).

        Args:
            edges: (sequences, edges, 2).
            steps: the vertex after each step along them, the vertex itself first, (sequences, edges + 1); `prompt`
                where no edge led on.

        """

    def draw(self, random: Draws, count: int) -> Sequences:
        """Return sequences, (count, length)."""
        route = permutations(random, count, self.vertices)[:, : self.chosen]
        edges = np.stack([route, np.roll(route, -1, axis=1)], axis=-1)[:, : self.edges]
        edges = np.take_along_axis(edges, permutations(random, count, self.edges)[..., None], axis=1)
        return np.concatenate([np.full((count, 1), self.prompt, dtype=np.int64), edges.reshape(count, -1)], axis=1)

    def coherent(self, sequences: Sequences) -> npt.NDArray[np.bool_]:
        """Return which sequences join vertices as asked."""
        edges = self._edges(sequences)
        leading = self._table(edges[..., 0], edges[..., 1])
        steps = [self._first(edges)]
        for _ in range(self.edges):
            steps.append(np.take_along_axis(leading, steps[-1][:, None], axis=1)[:, 0])
        # Once each edge has its own source and its own target, a walk cannot run into itself but at its start.
        own = (np.diff(np.sort(edges, axis=1), axis=1) > 0).all(axis=(1, 2))
        known = (edges < self.vertices).all(axis=(1, 2))
        return known & own & self._whole(edges, np.stack(steps, axis=1))

    def canonical(self, sequences: Sequences) -> Sequences:
        """Return the edges, each as one number, in rising order, (sequences, edges)."""
        edges = self._edges(sequences)
        return np.sort(edges[..., 0] * len(self.words) + edges[..., 1], axis=1)

    def next_tokens(self, prefixes: Sequences, random: Draws) -> npt.NDArray[np.int64]:
        """Return a vertex with which the edges can still be completed; all coherent sequences come out equally often.

        With u vertices touched, in c paths, k of n vertices' edges listed, there are C(V - u, n - u) choices of the
        others, and the ways to join and to list what there is then depend on n - k alone. So a vertex counts in
        proportion to the sum of C(V - u', n - u') over the edges that it may be part of.
        """
        listed = self._edges(prefixes[:, : prefixes.shape[1] - 1 + prefixes.shape[1] % 2])
        touched, ends, starts = self._touched(listed)
        fresh = ~touched
        if self.closed and listed.shape[1] == self.edges - 1:
            return weighted(random, (starts if prefixes.shape[1] % 2 == 0 else ends).astype(np.float64))
        free = fresh.sum(axis=1, keepdims=True)
        paths = ends.sum(axis=1, keepdims=True)
        # C(V - u - 1, n - u - 1) and C(V - u - 2, n - u - 2), as shares of C(V - u, n - u).
        wanted = self.chosen - (self.vertices - free)
        one = wanted / np.maximum(free, 1)
        two = one * np.maximum(wanted - 1, 0) / np.maximum(free - 1, 1)
        if prefixes.shape[1] % 2 == 1:
            return weighted(random, ends * (paths - 1 + free * one) + fresh * (paths * one + (free - 1) * two))
        source = prefixes[:, -1:]
        extends = np.take_along_axis(touched, source, axis=1)
        starts = starts & (np.arange(self.vertices) != self._start_of(listed, source))
        fresh = fresh & (np.arange(self.vertices) != source)
        return weighted(random, starts * np.where(extends, 1.0, one) + fresh * np.where(extends, one, two))

    def rendered(self, sequence: Sequences) -> str:
        """Return a sequence as it is published, such as ``circle: 3 7, 1 3, 7 1``."""
        return in_pairs([self.words[token] for token in sequence])

    def _edges(self, sequences: Sequences) -> Sequences:
        """Return the edges after the prompt, (sequences, edges, 2)."""
        return sequences[:, 1:].reshape(len(sequences), -1, 2)

    def _table(self, places: Sequences, values: Sequences) -> Sequences:
        """Return a value for each token, (sequences, tokens); `prompt` where there is none."""
        found = np.full((len(places), len(self.words)), self.prompt, dtype=np.int64)
        np.put_along_axis(found, places, values, axis=1)
        # No edge leads on from the token that stands for nowhere.
        found[:, self.prompt] = self.prompt
        return found

    def _first(self, edges: Sequences) -> npt.NDArray[np.int64]:
        """Return a source to which no edge leads, or any source where there is none, (sequences,)."""
        led_to = (edges[:, :, None, 0] == edges[:, None, :, 1]).any(axis=2)
        return np.take_along_axis(edges[..., 0], np.argmin(led_to, axis=1)[:, None], axis=1)[:, 0]

    def _touched(self, edges: Sequences) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return which vertices the edges touch, which of them end paths, and which start them, (sequences, V) each."""
        left = self._table(edges[..., 0], edges[..., 1])[:, : self.vertices] != self.prompt
        reached = self._table(edges[..., 1], edges[..., 0])[:, : self.vertices] != self.prompt
        return left | reached, reached & ~left, left & ~reached

    def _start_of(self, edges: Sequences, vertices: Sequences) -> Sequences:
        """Return where the path starts that ends in a vertex, (sequences, 1) → (sequences, 1)."""
        before = self._table(edges[..., 1], edges[..., 0])
        for _ in range(edges.shape[1]):
            earlier = np.take_along_axis(before, vertices, axis=1)
            vertices = np.where(earlier == self.prompt, vertices, earlier)
        return vertices
