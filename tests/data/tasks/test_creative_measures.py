"""Open-ended tasks: what a player is worth, beside counts one by one and simulations."""

import itertools
import math

import numpy as np
import pytest

from deepsight.data.player import Sequences
from deepsight.data.tasks.creative import Creative
from deepsight.data.tasks.sequences import distinct
from deepsight.data.tasks.sibling_discovery import SiblingDiscovery
from deepsight.data.tasks.solver import Solver
from deepsight.data.tasks.triangle_discovery import TriangleDiscovery
from deepsight.evaluation.player import NetworkPlayer
from deepsight.plug_ins import tasks
from tests.models import small_model
from tests.open_ended import NAMES, TINY, every_coherent, form, random_state, spoiled, training_forms, words_of


@pytest.fixture(params=TINY)
def tiny(request: pytest.FixtureRequest) -> Creative:
    return TINY[request.param]()


@pytest.mark.parametrize("name", NAMES)
def test_the_solver_is_as_creative_as_the_ceiling_says(name: str) -> None:
    task = tasks.build({"name": name, "samples": 400})
    assert isinstance(task, Creative)
    found = [task.measure(Solver(task, seed), np.empty((0, task.length), dtype=np.int64)) for seed in range(30)]
    assert all(measures["coherence"].value == 1.0 for measures in found)
    creativity = [measures["creativity"].value for measures in found]
    assert list(found[0]) == ["creativity", "coherence", "memorisation", "uniqueness"]
    # At most that of independent samples: those that repeat make it vary less.
    error = math.sqrt(task.ceiling * (1 - task.ceiling) / 400 / 30)
    assert np.mean(creativity) == pytest.approx(task.ceiling, abs=4 * error + 1e-3)
    share = len(task.known) / task.forms
    assert np.mean([measures["memorisation"].value for measures in found]) == pytest.approx(share, abs=0.02)


def test_the_ceiling_is_that_of_a_simulation(tiny: Creative) -> None:
    listed = every_coherent(tiny)
    forms = [form(tiny, [tiny.words[token] for token in sequence]) for sequence in listed]
    known = {row.tobytes() for row in training_forms(tiny)}
    rows = [row.tobytes() for row in tiny.canonical(np.array(listed))]
    unseen = {found for found, row in zip(forms, rows, strict=True) if row not in known}
    random = random_state(5)
    creativity = []
    for _ in range(1000):
        picked = {forms[place] for place in random.randint(0, len(forms), tiny.samples)}
        creativity.append(len(picked & unseen) / tiny.samples)
    assert tiny.ceiling == pytest.approx(np.mean(creativity), abs=5 * np.std(creativity) / math.sqrt(1000))


def test_a_perfect_sampler_of_siblings_is_worth_about_what_a_prototype_found() -> None:
    task = SiblingDiscovery(parents=20, children=50, training_set=5000, samples=2000)
    pairs = 20 * 50 * 49 // 2
    known = len(np.unique(task.canonical(distinct(task, 5000, 0)), axis=0))
    assert 0.79 < 1 - known / pairs < 0.82
    expected = sum((1 - (1 - 1 / pairs) ** 2000) / 2000 for _ in range(pairs - known))
    assert task.ceiling == pytest.approx(expected)
    assert task.ceiling == pytest.approx(0.76, abs=0.02)


class Blind:
    """Says any token."""

    def __init__(self, tokens: int, seed: int) -> None:
        self.tokens, self.seed = tokens, seed

    def continued(self, prompts: Sequences, count: int, *, temperature: float = 0.0, seed: int = 0) -> Sequences:
        assert temperature == 1.0
        return random_state(self.seed).randint(0, self.tokens, (len(prompts), count))


@pytest.mark.parametrize("name", ["sibling", "parent_first", "circle", "line", "one_edge"])
def test_chance_is_that_of_any_tokens(name: str) -> None:
    task = TINY[name]()
    for samples, times in ((20_000, 1), (30, 700)):
        task.samples = samples
        found = [task.measure(Blind(len(task.words), seed), None) for seed in range(times)]  # type: ignore[arg-type]
        for column in ("creativity", "coherence", "memorisation"):
            values = [measures[column].value for measures in found]
            chance = found[0][column].chance
            assert chance is not None
            assert 0 < chance < 1
            error = math.sqrt(chance * (1 - chance) / samples / times)
            assert np.mean(values) == pytest.approx(chance, abs=5 * error), (column, samples)


def test_chance_of_triangles_counts_those_of_the_graph() -> None:
    task = TriangleDiscovery(vertices=6, degree=2, closures=1)
    triangles = [
        corners
        for corners in itertools.combinations(range(6), 3)
        if all(task.graph.adjacent[pair] for pair in itertools.combinations(corners, 2))
    ]
    measures = task.judged(task.draw(random_state(), 10))
    assert measures["coherence"].chance == pytest.approx(6 * len(triangles) / 9**6)
    assert measures["memorisation"].chance == pytest.approx(6 * round(len(triangles) / 3) / 9**6)


class Told:
    """Says what it is told."""

    def __init__(self, answers: Sequences) -> None:
        self.answers = answers

    def continued(self, prompts: Sequences, count: int, *, temperature: float = 0.0, seed: int = 0) -> Sequences:
        assert prompts.shape == (len(self.answers), 1)
        assert count == self.answers.shape[1]
        return self.answers


def test_measures_are_those_counted_one_by_one(tiny: Creative) -> None:
    made = (tiny.draw(random_state(11), 60), spoiled(tiny.draw(random_state(13), 100), len(tiny.words), 14))
    sequences = np.concatenate(made)
    sequences = np.concatenate([sequences[sequences[:, 0] == tiny.prompt]] * 2)
    tiny.samples = len(sequences)
    measures = tiny.measure(Told(sequences[:, 1:]), sequences)  # type: ignore[arg-type]
    known = set(map(tuple, training_forms(tiny).tolist()))
    new, seen, coherent, different = set(), 0, 0, set()
    for sequence in sequences:
        said = tuple(tiny.canonical(sequence[None])[0].tolist())
        different.add(said)
        if form(tiny, words_of(tiny, sequence)) is not None:
            coherent += 1
            seen += said in known
            if said not in known:
                new.add(said)
    counted = {
        "creativity": len(new),
        "coherence": coherent,
        "memorisation": seen,
        "uniqueness": len(different),
    }
    assert {name: measure.value for name, measure in measures.items()} == {
        name: pytest.approx(count / len(sequences)) for name, count in counted.items()
    }
    assert all(measure.share for measure in measures.values())
    assert 0 < counted["creativity"] < counted["coherence"]
    assert counted["memorisation"] > 0


def test_a_network_can_be_measured() -> None:
    task = SiblingDiscovery(parents=2, children=4, training_set=6, samples=50)
    player = NetworkPlayer(small_model(vocabulary=len(task.words)), batch_size=16)
    measures = task.measure(player, task.draw(random_state(0), 4))
    assert 0 <= measures["coherence"].value < 0.5
    assert measures["uniqueness"].value > 0.5
    assert measures == task.measure(player, task.draw(random_state(1), 4))
