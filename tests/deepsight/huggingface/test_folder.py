"""What `deepsight export` writes is what others load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2LMHeadModel

from deepsight.loading import load_trained
from deepsight.training.folder import RunFolder
from tests.runs import TEXT, run_of, source_of, write_text


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of both architectures, a few steps old."""
    folder = tmp_path_factory.mktemp("trained")
    text, runs = write_text(folder / "text"), {}
    shapes: dict[str, dict[str, Any]] = {"deepsight": {}, "baseline": {"model__layers": 2, "objective": "none"}}
    for architecture, changes in shapes.items():
        config = run_of(text, model__architecture=architecture, **changes)
        RunFolder(folder / architecture).prepare(config, source_of(config)).run()
        runs[architecture] = folder / architecture
    return runs


@pytest.mark.parametrize(
    ("architecture", "kind"), [("deepsight", "DeepSightForCausalLM"), ("baseline", "GPT2LMHeadModel")]
)
def test_the_folder_is_a_model_with_its_tokenizer(
    trained: dict[str, Path], command_line: Any, tmp_path: Path, architecture: str, kind: str
) -> None:
    answer = command_line("export", trained[architecture], "--to", "hf", "--out", tmp_path / "model")
    assert answer.returncode == 0, answer.stderr
    assert kind in answer.stdout
    files = {file.name for file in (tmp_path / "model").iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"} <= files
    assert not [name for name in files if name.endswith((".py", ".bin"))]
    assert "auto_map" not in json.loads((tmp_path / "model" / "config.json").read_text())
    ours = load_trained(trained[architecture])
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    assert type(loaded).__name__ == kind
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    tokens = tokenizer(TEXT[:16], return_tensors="pt").input_ids
    assert tokens[0].tolist() == ours.tokenizer.encode(TEXT[:16])
    with torch.no_grad():
        found, expected = loaded(tokens).logits, ours.model.eval().logits(tokens)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_a_baseline_needs_nothing_of_ours(trained: dict[str, Path], command_line: Any, tmp_path: Path) -> None:
    assert command_line("export", trained["baseline"], "--out", tmp_path / "model").returncode == 0
    assert json.loads((tmp_path / "model" / "config.json").read_text())["model_type"] == "gpt2"
    assert isinstance(GPT2LMHeadModel.from_pretrained(tmp_path / "model"), GPT2LMHeadModel)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "onnx"], "a model cannot be written as 'onnx'; known: hf"),
        ([], "this is not empty; choose a new folder"),
    ],
)
def test_bad_input_is_one_sentence(
    trained: dict[str, Path], command_line: Any, tmp_path: Path, words: list[str], message: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    answer = command_line("export", trained["deepsight"], "--out", tmp_path / "full", *words)
    assert answer.returncode == 2
    assert message in answer.stderr
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["file"]
    missing = command_line("export", tmp_path / "nothing", "--out", tmp_path / "new")
    assert missing.returncode == 2
    assert not (tmp_path / "new").exists()
