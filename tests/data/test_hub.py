import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import huggingface_hub
import pytest
from huggingface_hub import errors

from deepsight.data.hub import HubDataset
from deepsight.errors import UserError

COMMIT = "0123456789" * 4


@pytest.fixture
def local(tmp_path: Path) -> Path:
    folder = tmp_path / "local"
    folder.mkdir()
    (folder / "train.jsonl").write_text("".join(f'{{"text": "row {n}", "n": {n}}}\n' for n in range(7)))
    return folder


def texts(dataset: HubDataset) -> list[str]:
    return [document.text for document in dataset.documents()]


def answer(monkeypatch: pytest.MonkeyPatch, reply: Any) -> list[str | None]:
    """Let the Hub answer `dataset_info` with a commit or an error; return the revisions that were asked for."""
    asked: list[str | None] = []

    def dataset_info(self: Any, name: str, *, revision: str | None = None, timeout: float) -> Any:
        asked.append(revision)
        if isinstance(reply, Exception):
            raise reply
        return SimpleNamespace(sha=reply)

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    return asked


def test_a_local_folder_is_streamed(local: Path) -> None:
    assert texts(HubDataset(str(local))) == [f"row {n}" for n in range(7)]
    assert texts(HubDataset(str(local), limit=3)) == ["row 0", "row 1", "row 2"]
    names = [document.name for document in HubDataset(str(local), limit=2).documents()]
    assert names == ["row 1", "row 2"]


def test_what_save_to_disk_wrote_is_read(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_dict({"body": ["a", "b", " "]})
    rows.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": rows, "test": rows.select([1])}).save_to_disk(tmp_path / "several")
    assert texts(HubDataset(str(tmp_path / "one"), text_column="body")) == ["a", "b"]
    assert texts(HubDataset(str(tmp_path / "several"), text_column="body", split="test")) == ["b"]
    with pytest.raises(UserError, match=r"unknown split 'tset'; did you mean 'test'\? known: test, train"):
        texts(HubDataset(str(tmp_path / "several"), split="tset"))


def test_the_fingerprint_is_of_the_content(local: Path) -> None:
    before = HubDataset(str(local)).fingerprint()
    assert HubDataset(str(local)).fingerprint() == before
    assert HubDataset(str(local), limit=3).fingerprint() != before
    (local / "train.jsonl").write_text('{"text": "else"}\n')
    assert HubDataset(str(local)).fingerprint() != before


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"split": "nope"}, r"cannot be read: Bad split: nope\. Available splits: \['train'\]"),
        ({"config": "nope"}, r"cannot be read: BuilderConfig 'nope' not found"),
        ({"text_column": "txet"}, r"row 1: there is no column 'txet'; did you mean 'text'\?"),
        ({"text_column": "n"}, r"row 1: the column 'n' must hold text, not int"),
    ],
)
def test_what_a_dataset_lacks_is_one_sentence(local: Path, parameters: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        texts(HubDataset(str(local), **parameters))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionError("no route\nto host"), r"the Hugging Face Hub is out of reach \(no route\); go online once"),
        (errors.OfflineModeIsEnabled("off"), r"out of reach \(HF_HUB_OFFLINE is set\)"),
        (TimeoutError(), r"out of reach \(TimeoutError\)"),
    ],
)
def test_out_of_reach_is_one_sentence(monkeypatch: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    answer(monkeypatch, error)
    for use in (HubDataset.fingerprint, texts):
        with pytest.raises(UserError, match=message) as caught:
            use(HubDataset("some/dataset"))
        assert "\n" not in str(caught.value)


def test_offline_in_earnest(tmp_path: Path) -> None:
    script = (
        "from deepsight.data.packing import pack; pack({'name': 'datasets', 'dataset': 'some/dataset'}, 'bytes', 0.1)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "DEEPSIGHT_CACHE": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "deepsight.errors.UserError: dataset: the dataset 'some/dataset' is no folder on this machine"
    )
    assert "HF_HUB_OFFLINE is set" in last


def test_a_name_that_cannot_be_one_is_not_called_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "corpus").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match=r"no folder on this machine, and not on the Hub .*did you mean the folder 'corpus!?'"
    ):
        HubDataset("corpus!").fingerprint()


def test_a_dataset_is_held_at_the_commit_of_its_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, COMMIT)
    before = HubDataset("some/dataset").fingerprint()
    answer(monkeypatch, ConnectionError("offline"))
    assert HubDataset("some/dataset").fingerprint() == before
    assert asked == [None]
    assert HubDataset("some/dataset", revision=COMMIT).fingerprint() == before
    assert HubDataset("some/dataset", revision="f" * 40).fingerprint() != before


def test_the_rows_are_those_of_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, COMMIT)
    loaded: list[tuple[Any, ...]] = []

    def load_dataset(*arguments: Any, split: str, streaming: bool, revision: str) -> list[dict[str, str]]:
        loaded.append((*arguments, split, streaming, revision))
        return [{"text": "a"}, {"text": "b"}]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert texts(HubDataset("some/dataset", config="small", split="test", limit=1)) == ["a"]
    assert loaded == [("some/dataset", "small", "test", True, COMMIT)]
    assert asked == [None, COMMIT]
