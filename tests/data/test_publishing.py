"""A packed corpus as a dataset: what is in it is the corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import load_from_disk

from deepsight.data.packing import PackedCorpus, pack
from deepsight.data.publishing import frequent_tokens, look, write_dataset
from deepsight.errors import UserError
from tests.runs import write_text


@pytest.fixture
def corpus(tmp_path: Path) -> PackedCorpus:
    folder = write_text(tmp_path / "text", documents=12, words=30)
    (folder / "12.txt").write_text("naïve café — 漢字\n", encoding="utf-8")
    return pack({"name": "files", "path": str(folder)}, "bytes", 0.3)


def test_rows_are_the_documents(corpus: PackedCorpus, tmp_path: Path) -> None:
    write_dataset(corpus, tmp_path / "dataset")
    found = load_from_disk(str(tmp_path / "dataset"))
    texts = sorted(file.read_text(encoding="utf-8") for file in (tmp_path / "text").iterdir())
    assert sorted(row["text"] for split in found.values() for row in split) == texts
    for name, split in found.items():
        tokens = [token for row in split for token in [*row["tokens"], corpus.end_of_text]]
        assert np.array_equal(tokens, getattr(corpus, str(name)))
        assert split.features["tokens"].feature.dtype == "uint16"
    card = (tmp_path / "dataset" / "README.md").read_text(encoding="utf-8")
    assert corpus.digest in card
    assert f"| train | {corpus.statistics.train.documents:,} |" in card
    assert {file.name for file in tmp_path.iterdir()} == {"text", "dataset"}


def test_a_look_counts_what_is_there(corpus: PackedCorpus) -> None:
    found = look(corpus, "train")
    lengths = np.diff(np.flatnonzero(corpus.train == corpus.end_of_text), prepend=-1)
    assert found.documents == len(lengths)
    assert found.tokens == lengths.sum() == len(corpus.train)
    assert found.lengths[0] == lengths.min()
    assert found.lengths[4] == lengths.max()
    frequent, different = frequent_tokens(corpus)
    assert different == len(np.unique(corpus.train))
    assert frequent[0][1] == pytest.approx(np.mean(corpus.train == np.bincount(corpus.train).argmax()))


def test_a_folder_with_something_in_it_is_left_alone(corpus: PackedCorpus, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="this is not empty; choose a new folder"):
        write_dataset(corpus, tmp_path / "text")


def test_the_commands(command_line: Any, tmp_path: Path) -> None:
    text = write_text(tmp_path / "text", documents=12, words=30)
    changes = ["--set", f"data={{corpus: {{name: files, path: '{text}'}}, tokenizer: bytes}}"]
    shown = command_line("data", "inspect", "tiny", *changes)
    assert shown.returncode == 0, shown.stderr
    for part in ("12 documents", "bytes a token", "the most frequent ones", "' '"):
        assert part in shown.stdout
    pushed = command_line("data", "push", "tiny", *changes, "--to", tmp_path / "dataset")
    assert pushed.returncode == 0, pushed.stderr
    assert set(load_from_disk(str(tmp_path / "dataset"))) == {"train", "validation"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["push", "--to", "hub:name"], "'hub:name' is no name on the Hub; such as hub:user/name"),
        (["push", "--to", "folder", "--private"], "--private is for the Hub"),
        (["inspect", "--set", "data={task: path_star}", "--set", "model.context=64"], "learns a task, which is drawn"),
    ],
)
def test_bad_input_is_one_sentence(
    command_line: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = command_line("data", *words)
    assert answer.returncode == 2
    assert message in answer.stderr
    assert list(tmp_path.iterdir()) == []
