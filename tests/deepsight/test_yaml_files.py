"""YAML as people write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deepsight.errors import UserError
from deepsight.yaml_files import dump_yaml, parse_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("1E5", 1e5),
        ("-2.5e+3", -2500.0),
        (".5e1", 5.0),
        ("+3.e2", 300.0),
        ("3", 3),
        ("3.0", 3.0),
        ("'3e-4'", "3e-4"),
        ("3e", "3e"),
        ("e3", "e3"),
        ("none", "none"),
        ("null", None),
        ("true", True),
        ("bpe:2048", "bpe:2048"),
        ("20231101.en", "20231101.en"),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    found = parse_yaml(f"key: {text}", "here")["key"]
    assert found == value
    assert type(found) is type(value)


def test_what_stock_yaml_makes_of_a_learning_rate() -> None:
    assert yaml.safe_load("3e-4") == "3e-4"  # the reason for a loader of our own


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "here:3: this is not valid YAML: the key 'a' stands twice"),
        ("x:\n  a: 1\n  a: 1\n", "here:3: this is not valid YAML: the key 'a' stands twice"),
        ("a: [1,\nb: 2\n", "here:3: this is not valid YAML: expected ',' or ']'"),
        ("a: b: c\n", "here:1: this is not valid YAML: mapping values are not allowed here"),
        ("!!python/object/apply:os.system ['x']", "here:1: this is not valid YAML: could not determine a constructor"),
    ],
)
def test_mistakes_name_file_and_line(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_yaml(text, "here")
    assert str(caught.value).startswith(said)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.yaml: there is no such file"):
        read_yaml(tmp_path / "nothing.yaml")
    with pytest.raises(UserError, match="this is a folder; a YAML file is needed"):
        read_yaml(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text file in UTF-8"):
        read_yaml(tmp_path / "binary.yaml")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(value=plain)
def test_what_is_written_is_read_again(value: Any) -> None:
    assert parse_yaml(dump_yaml(value), "here") == value


def test_keys_keep_their_order_and_short_lists_their_line() -> None:
    assert dump_yaml({"b": [1, 2], "a": {"ü": 1}}) == "b: [1, 2]\na:\n  ü: 1\n"
