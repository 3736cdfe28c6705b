"""Small open-ended tasks, and what their sequences say by rules that are written plainly."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from deepsight.data.player import Sequences
from deepsight.data.tasks.circle_construction import CircleConstruction
from deepsight.data.tasks.creative import Creative
from deepsight.data.tasks.line_construction import LineConstruction
from deepsight.data.tasks.sequences import distinct, drawn
from deepsight.data.tasks.sibling_discovery import SiblingDiscovery
from deepsight.data.tasks.triangle_discovery import TriangleDiscovery

NAMES = ["sibling_discovery", "triangle_discovery", "circle_construction", "line_construction"]

TINY: dict[str, Callable[[], Creative]] = {
    "sibling": lambda: SiblingDiscovery(parents=2, children=4, training_set=6, samples=40),
    "parent_first": lambda: SiblingDiscovery(parents=3, children=3, training_set=6, parent_first=True, samples=40),
    "triangle": lambda: TriangleDiscovery(vertices=4, degree=2, closures=1, samples=4),
    "graph": lambda: TriangleDiscovery(vertices=6, degree=2, closures=1, samples=4),
    "circle": lambda: CircleConstruction(vertices=4, chosen=3, training_set=12, samples=40),
    "whole_circle": lambda: CircleConstruction(vertices=4, chosen=4, training_set=4, samples=40),
    "line": lambda: LineConstruction(vertices=5, chosen=3, training_set=15, samples=40),
    "whole_line": lambda: LineConstruction(vertices=4, chosen=4, training_set=30, samples=40),
    "one_edge": lambda: LineConstruction(vertices=5, chosen=2, training_set=5, samples=40),
}

LARGE = ("graph", "whole_circle", "whole_line")
"""Those of which there are too many sequences to list, coherent and not."""


def random_state(seed: int = 0) -> np.random.RandomState:
    return np.random.RandomState(np.random.MT19937(seed))


def form(task: Creative, words: list[str]) -> Any:
    """What a sequence of words says, by plain rules; None where it breaks them."""
    answer = words[1:]
    if isinstance(task, SiblingDiscovery):
        named = answer[1:] + answer[:1] if task.parent_first else answer
        one, other, parent = named
        if one == other or not (one.isdigit() and other.isdigit()):
            return None
        parents = {f"p{int(child) // task.children}" for child in (one, other)}
        return frozenset((one, other)) if parents == {parent} else None
    edges = list(zip(answer[::2], answer[1::2], strict=True))
    if not all(word.isdigit() for word in answer):
        return None
    if isinstance(task, TriangleDiscovery):
        (a, b), (c, d), (e, f) = edges
        there = all(task.graph.adjacent[int(start), int(end)] for start, end in edges)
        return frozenset(answer) if there and b == c and d == e and f == a else None
    vertices = {vertex for edge in edges for vertex in edge}
    if len(vertices) != task.chosen:
        return None
    for start in vertices:
        left, place = dict(edges), start
        while place in left:
            place = left.pop(place)
        # Two edges from one vertex are one in the dictionary.
        if len(dict(edges)) == len(edges) and not left and (place == start) == isinstance(task, CircleConstruction):
            return frozenset(edges)
    return None


def words_of(task: Creative, sequence: Sequences) -> list[str]:
    return [task.words[token] for token in sequence]


def every_sequence(task: Creative) -> Sequences:
    answers = itertools.product(range(len(task.words)), repeat=task.answer_length)
    return np.array([(task.prompt, *answer) for answer in answers], dtype=np.int64)


def every_coherent(task: Creative) -> list[tuple[int, ...]]:
    """All sequences that fit the rules, of a task with few enough (vertices only, where there are many)."""
    vertices = range(len(task.words) if isinstance(task, SiblingDiscovery) else task.vertices)
    answers = itertools.product(vertices, repeat=task.answer_length)
    sequences = ((task.prompt, *answer) for answer in answers)
    return [sequence for sequence in sequences if form(task, [task.words[token] for token in sequence]) is not None]


def spoiled(sequences: Sequences, tokens: int, seed: int) -> Sequences:
    """Return sequences with one token or more of some of them replaced, and some of their tokens exchanged."""
    random = random_state(seed)
    found = sequences.copy()
    places = random.randint(1, found.shape[1], (2, len(found)))
    rows = np.arange(len(found))
    exchanged = random.random_sample(len(found)) < 0.5
    found[rows[exchanged], places[0, exchanged]] = sequences[rows[exchanged], places[1, exchanged]]
    found[rows[exchanged], places[1, exchanged]] = sequences[rows[exchanged], places[0, exchanged]]
    replaced = random.random_sample(len(found)) < 0.3
    found[rows[replaced], places[0, replaced]] = random.randint(0, tokens, replaced.sum())
    return found


def training_forms(task: Creative) -> Sequences:
    """The canonical rows of what a run is trained on."""
    if task.training_set is not None:
        return task.canonical(distinct(task, task.training_set, 0))
    sequences = drawn(task, 5000, 7)
    return task.canonical(sequences[sequences[:, 0] == task.prompt])
