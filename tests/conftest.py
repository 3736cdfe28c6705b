"""What all tests share: checked shapes, one thread, a cache of their own, commands, and no CUDA tests without CUDA."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from jaxtyping import install_import_hook

import tests.typechecking

# Before any of these is imported: from here on, every annotated shape in them is checked at every call.
install_import_hook(
    [
        "baseline_transformer",
        "objectives",
        "deepsight.architecture",
        "deepsight.attention",
        "deepsight.blocks",
        "deepsight.canonical",
        "deepsight.data.batches",
        "deepsight.encoder_decoder",
        "deepsight.evaluation",
        "deepsight.generation",
        "deepsight.layers",
        "deepsight.loss",
        "deepsight.model",
        "deepsight.myopia",
        "deepsight.speculative",
        "deepsight.trace",
        "deepsight.training.step",
    ],
    f"{tests.typechecking.__name__}.typechecked",
)

import torch  # noqa: E402 - the hook comes first
from hypothesis import settings  # noqa: E402

torch.set_num_threads(1)

# Shapes are few and runs are repeatable: the same examples everywhere, and no deadline on a shared machine.
settings.register_profile("deepsight", deadline=None, derandomize=True, max_examples=50, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "deepsight"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Files with slow tests come first: begun last, one of them would keep a single worker busy at the end.
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True, scope="session")
def _built_in_components() -> None:
    """Register all built-in components before any test.

    Tests that restore a registry to what it held would otherwise lose those whose module was imported meanwhile: a
    module registers its components once, when it is imported.
    """
    from deepsight.plug_ins import REGISTRIES

    for registry in REGISTRIES:
        for name in registry.names():
            registry[name]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tests of a session share one cache folder, apart from the user's."""
    monkeypatch.setenv("DEEPSIGHT_CACHE", str(_cache_of_session(tmp_path_factory)))


def _cache_of_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.getbasetemp() / "deepsight-cache"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Return a function that runs `deepsight WORDS` in this process, which has imported torch already.

    The answer is that of a process of its own, which costs seconds: exit code, stdout and stderr. Plug-ins that a
    command loads are forgotten when the test ends.
    """
    from deepsight import plug_ins
    from deepsight.cli import app

    for registry in plug_ins.REGISTRIES:
        monkeypatch.setattr(registry, "_components", dict(registry._components))
    monkeypatch.setattr(plug_ins, "_loaded", {})

    def run(*words: str | Path, columns: int = 200) -> CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["deepsight", *map(str, words)])
        monkeypatch.setenv("COLUMNS", str(columns))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended, tests.typechecking.unchecked():
            app.main()
        said = capsys.readouterr()
        return CompletedProcess(sys.argv, int(ended.value.code or 0), said.out, said.err)

    return run
