"""Stories read back word by word, and their measures against names that are looked up by hand."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepsight.data.player import Sequences
from deepsight.data.tasks import two_token_names
from deepsight.data.tasks.sequences import drawn
from deepsight.data.tasks.solver import Solver
from deepsight.data.tasks.two_token_names import OPENINGS, SENTENCES, TwoTokenNames
from deepsight.errors import UserError
from tests.data.tasks.made_up_players import MadeUp, always

NAME = r"([A-Z][a-z]+ -[a-z]+)"

stories = given(
    pieces=st.integers(2, 90), characters=st.integers(2, 5), sentences=st.integers(2, 6), seed=st.integers(0, 99)
)


def words_of(task: TwoTokenNames, story: npt.NDArray[np.int64]) -> list[str]:
    return [task.words[token] for token in story]


def read_back(task: TwoTokenNames, story: npt.NDArray[np.int64]) -> list[tuple[int, list[str]]]:
    """Return the template of each sentence and the names that it says, in the order of their places."""
    text, _, padding = " ".join(words_of(task, story)).partition(" _")
    assert set(padding.split()) <= {"_"}
    found = []
    for sentence in re.findall(r"[^.]+\.", text):
        for number, template in enumerate((*OPENINGS, *SENTENCES)):
            pattern = re.escape(template).replace(r"\{0\}", NAME).replace(r"\{1\}", NAME)
            if match := re.fullmatch(pattern, sentence.strip()):
                found.append((number, list(match.groups())))
                break
        else:
            pytest.fail(f"no template: {sentence}")
    return found


def check_story(task: TwoTokenNames, story: npt.NDArray[np.int64]) -> None:
    told = read_back(task, story)
    assert len(told) == task.sentences
    assert [number < len(OPENINGS) for number, _ in told] == [True] + [False] * (task.sentences - 1)
    names = {name for _, said in told for name in said}
    assert len(names) <= task.characters
    assert len({name.split()[0] for name in names}) == len(names)
    assert all(len(set(said)) == len(said) for _, said in told)


@stories
def test_every_story_is_told_as_it_should_be(pieces: int, characters: int, sentences: int, seed: int) -> None:
    task = TwoTokenNames(max(pieces, characters), characters, sentences)
    drawn_ones = task.draw(np.random.RandomState(seed), 10)
    assert drawn_ones.shape == (10, task.length)
    for story in drawn_ones:
        check_story(task, story)
    counts = (drawn_ones != task.padding)[:, 1:]
    assert np.array_equal(task.scored(drawn_ones), np.pad(counts, ((0, 0), (1, 0))))


@stories
def test_the_solver_tells_such_stories_and_remembers_their_names(
    pieces: int, characters: int, sentences: int, seed: int
) -> None:
    task = TwoTokenNames(max(pieces, characters), characters, sentences)
    examples = task.draw(np.random.RandomState(seed), 10)
    for begun in (1, 7):
        told = Solver(task, seed).continued(examples[:, :begun], task.length - begun)
        for story in np.concatenate([examples[:, :begun], told], axis=1):
            check_story(task, story)
    found = task.measure(Solver(task), task.draw(np.random.RandomState(seed), 30))
    assert next(iter(found)) == "second_token"
    assert found["second_token"].value == 1.0


def test_every_template_and_every_name_is_used_alike() -> None:
    task = TwoTokenNames(pieces=4, characters=2)
    told = [read_back(task, story) for story in task.draw(np.random.RandomState(0), 1000)]
    counts = np.bincount([number for story in told for number, _ in story])
    assert counts[: len(OPENINGS)] == pytest.approx(1000 / len(OPENINGS), rel=0.2)
    assert counts[len(OPENINGS) :] == pytest.approx(7000 / len(SENTENCES), rel=0.2)
    first_said = [story[0][1][0] for story in told]
    each = np.unique(first_said, return_counts=True)[1]
    assert len(each) == 16
    assert each == pytest.approx(1000 / 16, rel=0.45)


@stories
def test_second_tokens_are_looked_up_by_the_first(pieces: int, characters: int, sentences: int, seed: int) -> None:
    task = TwoTokenNames(max(pieces, characters), characters, sentences)
    for story in task.draw(np.random.RandomState(seed), 5):
        words = words_of(task, story)
        due, known = task.second_tokens(story[None])
        for time in range(len(words) + 1):
            after_first = time > 0 and words[time - 1][0].isupper()
            assert due[0, time] == after_first
            earlier = words[: time - 1].index(words[time - 1]) if words[time - 1] in words[: time - 1] else -1
            expected = story[earlier + 1] if after_first and earlier >= 0 else -1
            assert known[0, time] == expected


def guess(task: TwoTokenNames, seed: int = 1) -> MadeUp:
    random = np.random.RandomState(seed)

    def say(prefixes: Sequences) -> npt.NDArray[Any]:
        chances = random.random_sample((len(prefixes), len(task.words)))
        chances[:, : task.second] = chances[:, task.padding] = 0
        return chances

    return MadeUp(say)


def test_chance_is_what_one_gets_who_says_any_second_token() -> None:
    task = TwoTokenNames(pieces=5)
    found = task.measure(guess(task), task.draw(np.random.RandomState(0), 1000))
    assert list(found) == ["second_token", "first_mention"]
    for measure in found.values():
        assert measure.chance == 1 / 5
        assert measure.value == pytest.approx(1 / 5, abs=0.02)


def test_nobody_is_above_chance_at_first_mentions() -> None:
    task = TwoTokenNames(pieces=5)
    found = task.measure(Solver(task), task.draw(np.random.RandomState(0), 2000))
    assert found["second_token"].value == 1.0
    assert found["first_mention"].value == pytest.approx(1 / 5, abs=0.02)


def test_who_repeats_any_second_token_gets_one_in_as_many_as_there_are_characters() -> None:
    task = TwoTokenNames(pieces=50, characters=2, sentences=8)
    random = np.random.RandomState(3)

    def say(prefixes: Sequences) -> npt.NDArray[Any]:
        heard = np.zeros((len(prefixes), len(task.words)))
        rows = np.arange(len(prefixes))[:, None]
        heard[rows, prefixes] = (prefixes >= task.second) & (prefixes < task.padding)
        return heard * random.random_sample(heard.shape)

    found = task.measure(MadeUp(say), task.draw(np.random.RandomState(0), 1000))
    assert found["second_token"].value == pytest.approx(1 / 2, abs=0.03)


def test_who_is_always_wrong_gets_nothing() -> None:
    task = TwoTokenNames()
    found = task.measure(always(task, task.stop), task.draw(np.random.RandomState(0), 50))
    assert found["second_token"].value == found["first_mention"].value == 0.0


def test_stories_of_the_same_names_and_templates_are_the_same_kind() -> None:
    task = TwoTokenNames(pieces=9, characters=2, sentences=2)

    def key(text: str) -> int:
        ids = [task.words.index(word) for word in text.split()]
        story = np.full((1, task.length), task.padding)
        story[0, : len(ids)] = ids
        return int(task.keys(story)[0])

    story = key("Ba -da met Da -ba . Ba -da ran after Da -ba .")
    assert key("Da -ba met Ba -da . Ba -da ran after Da -ba .") == story
    assert key("Ba -da met Da -ba . Da -ba ran after Ba -da .") == story
    assert key("Ba -da met Da -da . Ba -da ran after Da -da .") != story
    assert key("Ba -ba met Da -da . Ba -ba ran after Da -da .") != story
    assert key("Ba -da met Da -ba . Ba -da told Da -ba a secret .") != story


def test_kinds_that_are_measured_are_never_trained_on() -> None:
    task = TwoTokenNames(pieces=3, characters=2, sentences=2)
    kinds = []
    for held_out in (False, True):
        told = [read_back(task, story) for story in drawn(task, 1500, 0, "any", held_out=held_out)]
        kinds.append(
            {(tuple(n for n, _ in story), frozenset(name for _, said in story for name in said)) for story in told}
        )
    assert len(kinds[1]) > 30
    assert not kinds[0] & kinds[1]


def test_a_story_is_shown_as_text() -> None:
    task = TwoTokenNames(pieces=9)
    words = "one day Ba -da met Da -ba . the dog barked at Ba -da . _ _"
    story = np.array([task.words.index(word) for word in words.split()])
    assert task.rendered(story) == "one day Bada met Daba. the dog barked at Bada."


def test_words_are_different_however_many_names_there_are() -> None:
    task = TwoTokenNames(pieces=6000)
    assert len(set(task.words)) == len(task.words)
    assert two_token_names.syllables(69) == "zu"
    assert two_token_names.syllables(70) == "baba"


def test_names_that_cannot_differ_are_refused() -> None:
    with pytest.raises(UserError, match="give at least 5") as refused:
        TwoTokenNames(pieces=4, characters=5)
    assert refused.value.path == ("pieces",)
