"""The graph of triangle discovery: few random edges, then many that close a triangle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deepsight.data.tasks.task import Draws, integers, permutations


@dataclass(frozen=True)
class TriangleGraph:
    """An undirected graph and its triangles.

    Attributes:
        adjacent: which vertices are joined, (vertices, vertices); no vertex to itself.
        edges: each edge in both directions, (edges, 2).
        triangles: the vertices of each triangle in rising order, (triangles, 3), the triangles sorted.
        shared: triangles of which two vertices are both part, (vertices, vertices).

    """

    adjacent: npt.NDArray[np.bool_]
    edges: npt.NDArray[np.int64]
    triangles: npt.NDArray[np.int64]
    shared: npt.NDArray[np.int64]


def triangle_graph(random: Draws, vertices: int, degree: int, closures: int) -> TriangleGraph:
    """Return a graph in which every vertex is part of a triangle.

    Each vertex in turn is joined to random ones until it has `degree` neighbours. Then, `closures` times, each vertex
    in turn has two random neighbours joined, if they are not joined already.
    """
    adjacent = np.zeros((vertices, vertices), dtype=np.bool_)
    neighbours: list[list[int]] = [[] for _ in range(vertices)]

    def join(one: int, other: int) -> None:
        adjacent[one, other] = adjacent[other, one] = True
        neighbours[one].append(other)
        neighbours[other].append(one)

    for vertex in range(vertices):
        apart = np.flatnonzero(~adjacent[vertex])
        apart = apart[apart != vertex]
        for other in apart[permutations(random, 1, len(apart))[0, : max(0, degree - len(neighbours[vertex]))]]:
            join(vertex, int(other))
    for _ in range(closures):
        for vertex in range(vertices):
            near = neighbours[vertex]
            first = int(integers(random, 1, len(near))[0])
            second = (first + 1 + int(integers(random, 1, len(near) - 1)[0])) % len(near)
            if not adjacent[near[first], near[second]]:
                join(near[first], near[second])
    triangles = triangles_of(adjacent)
    shared = np.zeros((vertices, vertices), dtype=np.int64)
    for one, other in ((0, 1), (1, 2), (2, 0)):
        np.add.at(shared, (triangles[:, one], triangles[:, other]), 1)
    return TriangleGraph(adjacent, np.argwhere(adjacent), triangles, shared + shared.T)


def triangles_of(adjacent: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the vertices of each triangle in rising order, (triangles, 3)."""
    found = []
    for vertex in range(len(adjacent)):
        later = vertex + 1 + np.flatnonzero(adjacent[vertex, vertex + 1 :])
        pairs = later[np.argwhere(np.triu(adjacent[np.ix_(later, later)]))]
        found.append(np.concatenate([np.full((len(pairs), 1), vertex, dtype=np.int64), pairs], axis=1))
    return np.concatenate(found)
