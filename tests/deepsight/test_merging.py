"""Changes laid over a configuration."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepsight.errors import UserError
from deepsight.merging import merged, with_dotted_keys

keys = st.sampled_from(["a", "b", "c", "n"])
scalars = st.none() | st.booleans() | st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2)
mappings = st.recursive(
    st.dictionaries(keys, scalars, max_size=3), lambda inner: st.dictionaries(keys, scalars | inner, max_size=3)
)


def lies_over(result: Any, change: Any) -> bool:
    """Say whether every value of `change` is in `result` at its place."""
    if isinstance(change, dict) and change:
        return isinstance(result, dict) and all(key in result and lies_over(result[key], change[key]) for key in change)
    return change == {} or result == change


def no_scalar_is_entered(base: Any, change: Any) -> bool:
    """Say whether each mapping in `change` meets a mapping, or nothing, in `base`."""
    if not isinstance(change, dict) or not change:
        return True
    if base is None:
        base = {}
    return isinstance(base, dict) and all(no_scalar_is_entered(base.get(key), change[key]) for key in change)


@given(base=mappings, changes=mappings)
def test_changes_win_and_the_rest_stays(base: dict[str, Any], changes: dict[str, Any]) -> None:
    if not no_scalar_is_entered(base, changes):
        with pytest.raises(UserError, match=r"which has no keys|needs a position"):
            merged(base, changes)
        return
    before = copy.deepcopy((base, changes))
    result = merged(base, changes)
    assert (base, changes) == before
    assert lies_over(result, changes)
    assert all(result[key] == base[key] for key in base if key not in changes)
    assert set(result) == set(base) | set(changes)
    assert merged(result, changes) == result  # once more changes nothing


@given(base=mappings)
def test_nothing_over_something_and_something_over_nothing(base: dict[str, Any]) -> None:
    assert merged(base, {}) == base
    assert merged({}, base) == base


@given(data=mappings)
def test_dotted_keys_say_the_same(data: dict[str, Any]) -> None:
    flat = with_dotted_keys(data)
    assert not any(isinstance(value, dict) and value for value in flat.values())
    assert merged({}, flat) == data


@given(base=mappings, changes=mappings)
def test_dotted_and_nested_changes_are_one(base: dict[str, Any], changes: dict[str, Any]) -> None:
    if no_scalar_is_entered(base, changes):
        assert merged(base, with_dotted_keys(changes)) == merged(base, changes)


@given(base=mappings)
def test_the_result_shares_nothing(base: dict[str, Any]) -> None:
    value: dict[str, Any] = {"list": [1]}
    before = copy.deepcopy(base)
    result = merged(base, {"new": value})
    result["new"]["list"].append(2)
    for part in result.values():
        if isinstance(part, dict):
            part["added"] = 1
    assert base == before
    assert value == {"list": [1]}


COMPONENT: dict[str, Any] = {"name": "future_context", "n": 3}


@pytest.mark.parametrize(
    ("base", "changes", "expected"),
    [
        # Parameters change the component that is there …
        ({"o": COMPONENT}, {"o.n": 5}, {"o": {"name": "future_context", "n": 5}}),
        ({"o": COMPONENT}, {"o": {"n": 5}}, {"o": {"name": "future_context", "n": 5}}),
        ({"o": "future_context"}, {"o": {"n": 5}}, {"o": {"name": "future_context", "n": 5}}),
        (
            {"o": {**COMPONENT, "a": "decay"}},
            {"o.a.power": 2},
            {"o": {**COMPONENT, "a": {"name": "decay", "power": 2}}},
        ),
        # … a whole component replaces it, and so do a name and a list.
        ({"o": COMPONENT}, {"o": {"name": "other"}}, {"o": {"name": "other"}}),
        ({"o": COMPONENT}, {"o": "none"}, {"o": "none"}),
        ({"o": COMPONENT}, {"o": []}, {"o": []}),
        ({"o": COMPONENT}, {"o": {}}, {"o": COMPONENT}),
        # Lists are entered by position; a list of one stands for its item.
        ({"o": [COMPONENT, "x"]}, {"o.0.n": 5}, {"o": [{"name": "future_context", "n": 5}, "x"]}),
        ({"o": [COMPONENT, "x"]}, {"o.1.n": 5}, {"o": [COMPONENT, {"name": "x", "n": 5}]}),
        ({"o": [COMPONENT]}, {"o.n": 5}, {"o": [{"name": "future_context", "n": 5}]}),
        ({"o": ["x"]}, {"o": {"n": 5}}, {"o": [{"name": "x", "n": 5}]}),
        ({"layers": [2, 2]}, {"layers.1": 3}, {"layers": [2, 3]}),
        # Later changes see earlier ones; dotted keys work inside nested ones.
        ({}, {"a.b": 1, "a.c": 2, "a": {"d.e": 3}}, {"a": {"b": 1, "c": 2, "d": {"e": 3}}}),
        ({"a": None}, {"a.b": 1}, {"a": {"b": 1}}),
    ],
)
def test_components_and_lists(base: dict[str, Any], changes: dict[str, Any], expected: dict[str, Any]) -> None:
    before = copy.deepcopy(base)
    assert merged(base, changes) == expected
    assert base == before


@pytest.mark.parametrize(
    ("base", "key", "said"),
    [
        ({"a": 3}, "a.b", "the key 'a.b' goes into 3, which has no keys"),
        ({"a": [1, 2]}, "a.b", "the key 'a.b' needs a position in the list of 2, not 'b'"),
        ({"a": [1, 2]}, "a.2", "the key 'a.2' needs a position in the list of 2, not '2'"),
        ({"a": [1, 2]}, "a.-1", "the key 'a.-1' needs a position in the list of 2, not '-1'"),
        ({"a": [26]}, "a.b", "the key 'a.b' goes into 26, which has no keys"),
        ({"a": []}, "a.b", "the key 'a.b' needs a position in the list of 0, not 'b'"),
    ],
)
def test_a_key_that_leads_nowhere_is_named(base: dict[str, Any], key: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        merged(base, {key: 1})
    assert str(caught.value) == said


def test_components_stay_whole_when_keys_are_flattened() -> None:
    data = {"o": COMPONENT, "training": {"steps": 3, "betas": [1, 2]}, "empty": {}}
    assert with_dotted_keys(data) == {"o": COMPONENT, "training.steps": 3, "training.betas": [1, 2], "empty": {}}


def test_places_and_schedules_stay_whole_however_their_key_is_written() -> None:
    for data in ({"objective": {"attach": {"layer": 3}}}, {"objective.attach": {"layer": 3}}):
        assert with_dotted_keys(data) == {"objective.attach": {"layer": 3}}


def test_a_task_replaces_text_and_text_a_task() -> None:
    text = {"data": {"corpus": "pydocs", "tokenizer": "bytes", "validation_fraction": 0.1}, "seed": 1}
    task = merged(text, {"data": {"task": {"name": "path_star", "degree": 3}}})
    assert task == {"data": {"task": {"name": "path_star", "degree": 3}}, "seed": 1}
    assert merged(text, {"data.task.name": "path_star"})["data"] == {"task": {"name": "path_star"}}
    assert merged(task, {"data.task.degree": 2})["data"] == {"task": {"name": "path_star", "degree": 2}}
    assert merged(task, {"data": {"corpus": "pydocs", "tokenizer": "gpt2"}})["data"] == {
        "corpus": "pydocs",
        "tokenizer": "gpt2",
    }
    assert merged(task, {"seed": 2})["data"] == task["data"]
    # Who writes both is told so when the configuration is read.
    both = merged(text, {"data": {"task": "path_star", "tokenizer": "gpt2"}})["data"]
    assert both == {**text["data"], "tokenizer": "gpt2", "task": "path_star"}
