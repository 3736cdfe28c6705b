"""Plug-in files: what they register, and how their mistakes are told."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from deepsight import plug_ins
from deepsight.errors import UserError
from deepsight.plug_ins import aggregators, architectures, corpora, distances, load_plugins, merges, objectives

AGGREGATOR = """
import torch
from torch import nn
from objectives import aggregators

@aggregators.register("furthest", formula="F_i = E_{i+n}")
class Furthest(nn.Module):
    \"\"\"The last of the next n embeddings, scaled.\"\"\"

    def __init__(self, n: int, scale: float = 1.0) -> None:
        super().__init__()
        self.n, self.scale = n, scale

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        return self.scale * embeddings[:, self.n:]
"""


@pytest.fixture(autouse=True)
def _registries_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in (aggregators, architectures, corpora, distances, merges, objectives):
        monkeypatch.setattr(registry, "_components", dict(registry._components))
    monkeypatch.setattr(plug_ins, "_loaded", {})


def plugin(folder: Path, text: str, name: str = "mine.py") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_registers_components_once(tmp_path: Path) -> None:
    file = plugin(tmp_path, AGGREGATOR)
    load_plugins([file, file])
    load_plugins([tmp_path / "." / "mine.py"])
    component = aggregators["furthest"]
    assert (component.summary, component.file) == ("The last of the next n embeddings, scaled.", str(file))
    built = aggregators.build({"name": "furthest", "scale": 2}, n=3)
    embeddings = torch.randn(2, 8, 4)
    assert torch.equal(built(embeddings), 2 * embeddings[:, 3:])
    assert plug_ins.loaded_plugins() == {file: hashlib.sha256(file.read_bytes()).hexdigest()}


def test_a_plugged_in_part_is_used_by_a_built_in_objective(tmp_path: Path) -> None:
    load_plugins([plugin(tmp_path, AGGREGATOR)])
    resolved = objectives.resolve({"name": "future_context", "aggregator": "furthest"})
    assert resolved["aggregator"] == {"name": "furthest", "scale": 1.0}
    with pytest.raises(UserError, match=r"^aggregator: unknown key 'scal'; did you mean 'scale'"):
        objectives.resolve({"name": "future_context", "aggregator": {"name": "furthest", "scal": 2}})


def test_two_files_of_one_name_and_content_are_two_plug_ins(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first, second = plugin(tmp_path, AGGREGATOR), plugin(tmp_path / "other", AGGREGATOR)
    load_plugins([first])
    with pytest.raises(UserError, match=re.escape(f"'furthest' is already registered by {first}:")):
        load_plugins([second])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\ndef f(:\n", "{file}:2: the plug-in is not valid Python: invalid syntax"),
        ("\n\nraise RuntimeError('boom')\n", "{file}:3: the plug-in fails: RuntimeError: boom"),
        ("import json\njson.loads('{')\n", "{file}:2: the plug-in fails: JSONDecodeError: "),
        ("import no_such_module\n", "{file}:1: the plug-in fails: ModuleNotFoundError: No module named"),
        (AGGREGATOR.replace('"furthest"', '"decay"'), "{file}:6: the aggregator 'decay' is already registered by"),
        (
            AGGREGATOR.replace(": float = 1.0", "=1.0"),
            "{file}:6: the parameter 'scale' of the aggregator 'furthest' has",
        ),
    ],
)
def test_a_failing_file_is_one_sentence_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = plugin(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load_plugins([file])
    assert str(caught.value).startswith(said.format(file=file))
    assert file not in plug_ins.loaded_plugins()


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.py: there is no such plug-in file"):
        load_plugins([tmp_path / "nothing.py"])
    with pytest.raises(UserError, match="there is no such plug-in file"):
        load_plugins([tmp_path])
    with pytest.raises(UserError, match=r"with the ending \.py"):
        load_plugins([plugin(tmp_path, "", "mine.txt")])


@pytest.mark.parametrize(
    ("registry", "names"),
    [
        (aggregators, {"average", "decay", "normalized_decay"}),
        (merges, {"equal", "context_size", "future_only"}),
        (distances, {"mse", "cosine", "log_cosine"}),
        (objectives, {"future_context"}),
        (architectures, {"deepsight", "baseline"}),
        (corpora, {"pydocs", "files", "datasets"}),
    ],
)
def test_the_built_in_components_come_through_entry_points(registry: Any, names: set[str]) -> None:
    assert names <= set(registry.names())
    for name in names:
        assert registry[name].summary
