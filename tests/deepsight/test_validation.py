"""Strict reading, and one sentence for each way in which data may not fit."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from deepsight.errors import UserError, dotted, suggestion
from deepsight.validation import Strict, validated


class Inner(Strict):
    number: float = 1.0
    whole: int = Field(default=1, ge=1)


class Outer(Strict):
    name: str
    inner: Inner = Inner()
    flag: bool = False
    kind: Literal["red", "green"] = "red"
    maybe: int | None = None
    either: int | list[int] = 3
    several: list[Inner] = []

    @model_validator(mode="after")
    def _no_blue(self) -> Outer:
        if self.name == "blue":
            raise UserError("blue is taken", ("name",))
        return self


def refusal(**data: Any) -> str:
    with pytest.raises(UserError) as caught:
        validated(Outer, {"name": "x", **data})
    return str(caught.value)


def test_a_whole_number_is_a_float_and_defaults_are_filled_in() -> None:
    found = validated(Outer, {"name": "x", "inner": {"number": 3}})
    assert isinstance(found.inner.number, float)
    assert found == Outer(name="x", inner=Inner(number=3.0))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"inner": {"whole": True}}, "inner.whole: this should be a valid integer, not true"),
        ({"inner": {"whole": 2.5}}, "inner.whole: this should be a valid integer, not 2.5"),
        ({"inner": {"whole": "3"}}, 'inner.whole: this should be a valid integer, not "3"'),
        ({"inner": {"whole": 0}}, "inner.whole: this should be greater than or equal to 1, not 0"),
        ({"inner": {"number": "3"}}, 'inner.number: this should be a valid number, not "3"'),
        ({"inner": {"number": True}}, "inner.number: this should be a valid number, not true"),
        ({"inner": {"number": float("nan")}}, "inner.number: this should be a finite number, not NaN"),
        ({"inner": {"number": float("inf")}}, "inner.number: this should be a finite number, not Infinity"),
        ({"flag": 1}, "flag: this should be a valid boolean, not 1"),
        ({"flag": "yes"}, 'flag: this should be a valid boolean, not "yes"'),
        ({"name": 3}, "name: this should be a valid string, not 3"),
        ({"maybe": "x"}, 'maybe: this should be a valid integer, not "x"'),
        ({"either": "x"}, 'either: this should be a valid integer or a valid array, not "x"'),
        ({"either": [1, "x"]}, 'either.1: this should be a valid integer, not "x"'),
        ({"several": [{}, {"whole": "x"}]}, 'several.1.whole: this should be a valid integer, not "x"'),
        ({"kind": "gren"}, "kind: unknown value 'gren'; did you mean 'green'? known: green, red"),
        ({"kind": 3}, "kind: this should be 'red' or 'green', not 3"),
        ({"inner": {"nubmer": 3}}, "inner: unknown key 'nubmer'; did you mean 'number'? known: number, whole"),
        ({"several": [{"hole": 3}]}, "several.0: unknown key 'hole'; did you mean 'whole'? known: number, whole"),
        ({"inner": 3}, "inner: this should be a mapping of keys to values, not 3"),
        ({"name": "blue"}, "name: blue is taken"),
    ],
)
def test_one_sentence_names_place_and_value(data: dict[str, Any], said: str) -> None:
    assert refusal(**data) == said


def test_a_missing_key_is_named_unless_it_was_misspelt() -> None:
    with pytest.raises(UserError, match=r"^the key 'name' is missing$"):
        validated(Outer, {})
    with pytest.raises(UserError, match=r"^unknown key 'nmae'; did you mean 'name'"):
        validated(Outer, {"nmae": "x"})


@pytest.mark.parametrize("data", [None, 3, "x", ["name"]])
def test_what_is_no_mapping_is_refused(data: Any) -> None:
    with pytest.raises(UserError, match="a mapping of keys to values is needed here"):
        validated(Outer, data)


def test_a_long_value_is_cut() -> None:
    message = refusal(flag=list(range(100)))
    assert message.endswith("…")
    assert len(message) < 110


def test_a_default_that_does_not_fit_is_named() -> None:
    class Wrong(Strict):
        n: Annotated[int, Field(ge=1)] = 0

    with pytest.raises(UserError, match=r"^n: this should be greater than or equal to 1, not 0$"):
        validated(Wrong, {})


def test_a_read_object_does_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        validated(Outer, {"name": "x"}).name = "y"


@given(
    key=st.sampled_from(sorted(Outer.model_fields)),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3)
    ),
)
def test_any_value_is_read_as_it_is_or_refused_in_one_line(key: str, value: Any) -> None:
    try:
        found = validated(Outer, {"name": "x", key: value})
    except UserError as error:
        said = error
    else:
        assert getattr(found, key) == value
        return
    assert said.path[0] == key
    assert "\n" not in str(said)


def test_errors_gain_their_place_from_outside() -> None:
    error = UserError("too small", ("n",)).within("objective", 0)
    assert error.path == ("objective", 0, "n")
    assert str(error) == "objective.0.n: too small"
    assert dotted(()) == ""


def test_suggestions() -> None:
    assert suggestion("decai", ["average", "decay"]) == "; did you mean 'decay'? known: average, decay"
    assert suggestion("zzz", ["b", "a"]) == "; known: a, b"
    assert suggestion("x", []) == "; known: none"
