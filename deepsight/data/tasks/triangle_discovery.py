"""Triangle discovery: name three vertices of a graph that are all joined and were never named together."""

from __future__ import annotations

import functools
from itertools import permutations as orders
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from deepsight.data.player import Sequences
from deepsight.data.tasks.creative import Creative, in_pairs, rows_of, weighted
from deepsight.data.tasks.task import Draws, Keys, Scored, integers, mixed, permutations
from deepsight.data.tasks.triangle_graph import triangle_graph
from deepsight.errors import UserError
from deepsight.plug_ins import tasks
from deepsight.random_streams import derive

EDGES = 2 / 3
"""Share of the sequences to train on that say one edge."""
SYMBOLS = ("tri:", "edge:", "pad")
ORDERS = np.array(list(orders(range(3))), dtype=np.int64)
AROUND = [0, 1, 1, 2, 2, 0]


@tasks.register("triangle_discovery", source="Nagarajan et al. (2025), arXiv 2504.15266")
class TriangleDiscovery(Creative):
    """Name the three edges of a triangle of a graph: ``tri: a b, b c, c a``, its vertices in any order.

    The graph is in no sequence: it must be learned by heart, from edges, ``edge: a b, b a``, which are 2/3 of what
    is trained on, and from a share of its triangles. The others are in the edges, for who puts three of them together.
    Commas are left out. An edge is filled up with `pad`, which is never scored: the first word says where a sequence
    ends.

    The graph: each vertex in turn is joined to random ones until it has `degree` neighbours; then, `closures` times,
    each vertex in turn has two random neighbours joined, unless they are. With the defaults it has 1,851 edges and
    2,934 triangles. Three edges are coherent if each begins where the one before ends, and all are in the graph.

    A triangle is the same from wherever and whichever way round; edges are always trained on, never held out. New
    sequences are drawn at every step from those to train on, so the training set that samples are compared with is all
    of their triangles. Measures: `creativity`, `coherence`, `memorisation`, `uniqueness`, as `Creative` defines them,
    of what follows ``tri:``. Chance of coherence is 6·triangles/(V + 3)⁶. Who draws uniformly from all coherent
    sequences has creativity 0.56 on average with the defaults (`ceiling`). Published: 999 vertices, the rest as here,
    which makes 9,362 edges and 11,489 triangles.

    Args:
        vertices: number of vertices, V.
        degree: neighbours of each vertex at least, before triangles are closed.
        closures: tries to close a triangle at each vertex.
        trained: share of the triangles to train on.
        graph_seed: another number gives another graph, and another choice of triangles to train on.
        samples: sequences that are made up to measure.

    Raises:
        UserError: the degree is not below the number of vertices.

    """

    held_out_told = "the triangles outside that share"

    def __init__(
        self,
        vertices: Annotated[int, Field(ge=4)] = 200,
        degree: Annotated[int, Field(ge=2)] = 3,
        closures: Annotated[int, Field(ge=1)] = 10,
        trained: Annotated[float, Field(gt=0, lt=1)] = 1 / 3,
        graph_seed: int = 0,
        samples: Annotated[int, Field(ge=1)] = 1024,
    ) -> None:
        if degree >= vertices:
            raise UserError(
                f"a vertex of {vertices} cannot have {degree} neighbours; give at most {vertices - 1}", ("degree",)
            )
        self.vertices, self.samples = vertices, samples
        self.words = (*map(str, range(vertices)), *SYMBOLS)
        self.prompt, self.edge, self.pad = range(vertices, vertices + len(SYMBOLS))
        self.length, self.answer_length = 7, 6
        random = np.random.RandomState(np.random.MT19937(derive(graph_seed, "triangle discovery")))
        self.graph = triangle_graph(random, vertices, degree, closures)
        self.forms, self.listings = len(self.graph.triangles), len(ORDERS)
        # At least one to train on and one to hold out: with four vertices there are two triangles or more.
        kept = min(max(round(trained * self.forms), 1), self.forms - 1)
        self._trained = np.sort(permutations(random, 1, self.forms)[0, :kept])
        # Of what is drawn, the other triangles are then left out, which makes the share of edges what it should be.
        self._edges_drawn = EDGES * kept / (self.forms * (1 - EDGES) + EDGES * kept)

    @functools.cached_property
    def known(self) -> frozenset[bytes]:
        """The triangles that are trained on, each as the bytes of its canonical row."""
        return frozenset(rows_of(self.canonical(self._listed(self.graph.triangles[self._trained]))))

    def draw(self, random: Draws, count: int) -> Sequences:
        """Return sequences, (count, 7): edges, and all triangles."""
        triangles = self.graph.triangles[integers(random, count, self.forms)]
        triangles = np.take_along_axis(triangles, ORDERS[integers(random, count, len(ORDERS))], axis=1)
        sequences = self._listed(triangles)
        edge = random.random_sample(count) < self._edges_drawn
        ends = self.graph.edges[integers(random, count, len(self.graph.edges))][edge]
        sequences[edge] = np.array([self.edge, 0, 0, 0, 0, self.pad, self.pad])
        sequences[edge, 1:5] = np.concatenate([ends, ends[:, ::-1]], axis=1)
        return sequences

    def scored(self, sequences: Sequences) -> Scored:
        """Return which tokens name vertices."""
        named: Scored = super().scored(sequences) & (sequences != self.pad)
        return named

    def coherent(self, sequences: Sequences) -> npt.NDArray[np.bool_]:
        """Return which sequences are triangles of the graph."""
        corners = np.minimum(sequences[:, [1, 3, 5]], self.vertices - 1)
        joined = self.graph.adjacent[corners, np.roll(corners, -1, axis=1)]
        found: npt.NDArray[np.bool_] = joined.all(axis=1) & (sequences == self._listed(corners)).all(axis=1)
        return found

    def canonical(self, sequences: Sequences) -> Sequences:
        """Return the edges, each as one number whatever its direction, in rising order, (sequences, 3)."""
        ends = np.sort(sequences[:, 1:].reshape(len(sequences), -1, 2), axis=2)
        return np.sort(ends[..., 0] * len(self.words) + ends[..., 1], axis=1)

    def keys(self, sequences: Sequences) -> Keys:
        """Return a number for each triangle or edge, a multiple of `held_out` for triangles that are not trained on."""
        forms = self.canonical(sequences)
        keys = mixed(forms)
        seen = np.array([form in self.known for form in rows_of(forms)], dtype=np.bool_)
        trained = seen | (sequences[:, 0] == self.edge)
        told: Keys = keys - keys % np.uint64(self.held_out) + trained.astype(np.uint64)
        return told

    def next_tokens(self, prefixes: Sequences, random: Draws) -> npt.NDArray[np.int64]:
        """Return a vertex that goes on with the edge or the triangle; all of a kind come out equally often."""
        place = prefixes.shape[1]
        triangle = prefixes[:, 0] == self.prompt
        if place in (3, 5):
            # What an edge leads to, the next one comes from; and after the two of an edge nothing is to say.
            return np.where(triangle | (place == 3), prefixes[:, place - 1], self.pad)
        if place == 6:
            return np.where(triangle, prefixes[:, 1], self.pad)
        if place == 4:
            ends = prefixes[:, 1:3].T
            third = weighted(random, self.graph.adjacent[ends[0]] & self.graph.adjacent[ends[1]])
            return np.where(triangle, third, prefixes[:, 1])
        joined, shared = self.graph.adjacent, self.graph.shared
        if place == 1:
            return weighted(random, np.where(triangle[:, None], shared.sum(axis=1), joined.sum(axis=1)))
        return weighted(random, np.where(triangle[:, None], shared[prefixes[:, 1]], joined[prefixes[:, 1]]))

    def rendered(self, sequence: Sequences) -> str:
        """Return a sequence as it is published, such as ``tri: 3 7, 7 1, 1 3``."""
        return in_pairs([self.words[token] for token in sequence if token != self.pad])

    def _listed(self, triangles: Sequences) -> Sequences:
        """Return triangles as sequences, (triangles, 3) → (triangles, 7)."""
        prompts = np.full((len(triangles), 1), self.prompt, dtype=np.int64)
        return np.concatenate([prompts, triangles[:, AROUND]], axis=1)
