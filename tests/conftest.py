"""What all tests share: checked shapes, one thread, a cache of their own, and no CUDA tests without CUDA."""

from __future__ import annotations

import os
from pathlib import Path

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
        "deepsight.canonical",
        "deepsight.data.batches",
        "deepsight.encoder_decoder",
        "deepsight.evaluation",
        "deepsight.generation",
        "deepsight.layers",
        "deepsight.loss",
        "deepsight.model",
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
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tests of a session share one cache folder, apart from the user's."""
    monkeypatch.setenv("DEEPSIGHT_CACHE", str(_cache_of_session(tmp_path_factory)))


def _cache_of_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.getbasetemp() / "deepsight-cache"
    folder.mkdir(exist_ok=True)
    return folder
