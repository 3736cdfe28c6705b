import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepsight.data.tasks.solver import Solver
from deepsight.data.tasks.triangle_discovery import TriangleDiscovery
from deepsight.data.tasks.triangle_graph import triangle_graph


@given(st.integers(4, 25), st.integers(2, 3), st.integers(1, 4), st.integers(0, 50))
def test_the_graph_has_its_neighbours_and_all_its_triangles(
    vertices: int, degree: int, closures: int, seed: int
) -> None:
    graph = triangle_graph(np.random.RandomState(seed), vertices, degree, closures)
    joined = {(int(one), int(other)) for one, other in graph.edges}
    assert all((other, one) in joined and one != other for one, other in joined)
    assert {pair for pair in itertools.product(range(vertices), repeat=2) if graph.adjacent[pair]} == joined
    assert graph.adjacent.sum(axis=1).min() >= degree
    triangles = [
        corners
        for corners in itertools.combinations(range(vertices), 3)
        if all(pair in joined for pair in itertools.combinations(corners, 2))
    ]
    assert list(map(tuple, graph.triangles.tolist())) == triangles
    assert set(itertools.chain(*triangles)) == set(range(vertices))
    for one, other in itertools.product(range(vertices), repeat=2):
        both = sum(one in corners and other in corners and one != other for corners in triangles)
        assert graph.shared[one, other] == both


def test_closures_close_triangles() -> None:
    edges = [
        len(triangle_graph(np.random.RandomState(1), vertices=40, degree=3, closures=closures).triangles)
        for closures in (1, 4, 10)
    ]
    assert edges == sorted(edges)
    assert edges[2] > 3 * edges[0]


def test_the_graph_is_its_seed_s_alone() -> None:
    one, same, other = (TriangleDiscovery(vertices=30, graph_seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.graph.edges, same.graph.edges)
    assert one.known == same.known
    assert one.graph.edges.shape != other.graph.edges.shape or (one.graph.edges != other.graph.edges).any()
    more = TriangleDiscovery(vertices=30, graph_seed=1, trained=0.7)
    np.testing.assert_array_equal(one.graph.edges, more.graph.edges)
    assert one.known < more.known


@pytest.mark.parametrize("trained", [0.1, 1 / 3, 0.5, 0.999])
def test_edges_are_trained_on_and_so_is_a_share_of_the_triangles(trained: float) -> None:
    task = TriangleDiscovery(vertices=30, closures=4, trained=trained)
    sequences = np.unique(task.draw(np.random.RandomState(3), 40_000), axis=0)
    edge = sequences[:, 0] == task.edge
    held_out = task.keys(sequences) % np.uint64(task.held_out) == 0
    assert not held_out[edge].any()
    assert edge.sum() == task.graph.adjacent.sum()
    triangles = len(task.graph.triangles)
    assert (~edge).sum() == 6 * triangles
    assert (~held_out[~edge]).sum() == 6 * min(max(round(trained * triangles), 1), triangles - 1)
    assert len(np.unique(task.keys(sequences))) == triangles + task.graph.adjacent.sum() // 2


def test_edges_are_said_both_ways_and_their_padding_never_counts() -> None:
    task = TriangleDiscovery(vertices=30)
    sequences = task.draw(np.random.RandomState(4), 2000)
    edges = sequences[sequences[:, 0] == task.edge]
    first, second = edges[:, 1], edges[:, 2]
    assert task.graph.adjacent[first, second].all()
    np.testing.assert_array_equal(edges[:, 3:], np.stack([second, first, *[np.full(len(edges), task.pad)] * 2], axis=1))
    assert task.scored(edges).tolist() == [[False, True, True, True, True, False, False]] * len(edges)
    assert not task.coherent(edges).any()
    assert task.rendered(edges[0]) == f"edge: {first[0]} {second[0]}, {second[0]} {first[0]}"


def test_the_solver_says_edges_and_triangles_together() -> None:
    task = TriangleDiscovery(vertices=30)
    sequences = task.draw(np.random.RandomState(5), 500)
    answers = Solver(task).predicted(sequences[:, :-1])
    scored = task.scored(sequences)[:, 1:]
    # What is said before is given back; only the first mentions of a vertex are free.
    forced = np.array([False, False, True, True, True, True])
    triangle = sequences[:, 0] == task.prompt
    forced = np.where(triangle[:, None], forced & (np.arange(6) != 3), forced) & scored
    np.testing.assert_array_equal(answers[forced], sequences[:, 1:][forced])
    assert (answers[~triangle, 4:] == task.pad).all()
    assert task.graph.adjacent[sequences[:, 1], answers[:, 1]].all()
