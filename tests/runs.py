"""The smallest real run: a few pages of generated text, bytes as tokens, a model of some thousand parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deepsight.config import RunConfig, run_config
from deepsight.data.of_run import source_for
from deepsight.data.source import Source
from deepsight.merging import merged

TEXT = "the model reads a token and plans what comes after it while nobody looks at the end of the line"
WORDS = TEXT.split()


def write_text(folder: Path, documents: int = 24, words: int = 200) -> Path:
    """Write documents of words in a fixed random order, one file each."""
    generator = np.random.default_rng(5)
    folder.mkdir(parents=True, exist_ok=True)
    for position in range(documents):
        text = " ".join(generator.choice(WORDS, size=words))
        (folder / f"{position:02}.txt").write_text(text, encoding="utf-8")
    return folder


def run_data(text: Path, **changes: Any) -> dict[str, Any]:
    """Return a small run as plain data; `changes` have dotted keys, written with __ for dots."""
    base = {
        "model": {"architecture": "deepsight", "width": 16, "layers": [1, 1], "heads": 2, "context": 16},
        "data": {"corpus": {"name": "files", "path": str(text)}, "tokenizer": "bytes", "validation_fraction": 0.3},
        "objective": {"name": "future_context", "n": 3},
        "training": {"steps": 12, "batch_size": 4, "learning_rate": 1e-2, "warmup_steps": 2},
        "evaluation": {"every": 4, "windows": 8},
        "runtime": {"threads": 1, "log_every": 2, "device": "cpu"},
    }
    return merged(base, {key.replace("__", "."): value for key, value in changes.items()})


def run_of(text: Path, **changes: Any) -> RunConfig:
    """Return a small run."""
    return run_config(run_data(text, **changes))


def source_of(config: RunConfig) -> Source:
    """Return what a run learns from."""
    return source_for(config.data, show=False)
