"""The commands as a person types them: where it matters in a process of their own, and else in this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from ablations.study_files import built_in_names
from deepsight.building import build_model
from deepsight.cli import common
from deepsight.loading import load_trained
from deepsight.presets import load_run, preset_names
from deepsight.yaml_files import dump_yaml
from tests.runs import run_data, write_text


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


@pytest.fixture
def deepsight(command_line: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs `deepsight WORDS` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return command_line


def start(*arguments: str | Path, folder: Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "deepsight", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200"}
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, cwd=folder, env=environment)


def in_a_process(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    process = start(*arguments, folder=folder)
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def test_the_command_line_imports_nothing_heavy() -> None:
    code = "import sys, deepsight.cli.app; print(sorted({'torch', 'pandas', 'numpy', 'pydantic'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_help_names_every_command(deepsight: Any, tmp_path: Path) -> None:
    answer = in_a_process("--help", folder=tmp_path)
    assert answer.returncode == 0
    for command in ("train", "ablate", "report", "evaluate", "model", "generate", "convert", "objectives"):
        assert command in answer.stdout
        help_of_it = deepsight(command, "--help")
        assert help_of_it.returncode == 0
        assert "--plugin" in help_of_it.stdout


def test_help_names_every_preset_and_study() -> None:
    assert ", ".join(preset_names()) == common.PRESETS
    studies = common.STUDIES.replace("the published comparisons ", "").replace(";", ",").split(", ")
    assert sorted(studies) == built_in_names()


BAD_INPUT = [
    (["train", "tyni"], "unknown preset 'tyni'; did you mean 'tiny'? known: "),
    (["train", "missing.yaml"], "missing.yaml: there is no such file"),
    (["train", "tiny", "--set", "training.stpes=3"], "training: unknown key 'stpes'; did you mean 'steps'?"),
    (["train", "tiny", "--set", "training.steps"], "--set training.steps: write it as key=value"),
    (["train", "tiny", "--set", "training.steps=three"], "training.steps: "),
    (["train", "tiny", "--set", "objective.aggregator=decai"], "objective.aggregator: unknown aggregator 'decai'"),
    (
        ["train", "tiny", "--set", "objective.n=128"],
        "objective.0.n: the horizon 128 needs a context longer than 128",
    ),
    (["train", "tiny", "--set", "runtime.device=cuda:9"], "runtime.device: this machine has no CUDA device"),
    (
        ["train", "tiny", "--set", "data.corpus={name: files, path: gone}"],
        "data.corpus.path: there is no file or folder 'gone'",
    ),
    (["train", "tiny", "--set", "data=[1]"], "data: this should be a mapping of keys to values, not [1]"),
    (
        ["train", "tiny", "--set", "data.corpus={name: pydocs, packages: [click]}", "--out", "/dev/null/x"],
        "/dev/null",
    ),
    (["train", "tiny", "--plugin", "gone.py"], "gone.py: there is no such plug-in file"),
    (["ablate", "dmeo"], "unknown study 'dmeo'; did you mean 'demo'?"),
    (["ablate", "gone.yaml"], "gone.yaml: there is no such file"),
    (["report", "gone"], "gone: there is no study here"),
    (["model", "gpt2"], "unknown preset 'gpt2'; did you mean 'gpt2-124m'?"),
    (["evaluate", "gone"], "gone: there is neither a run nor a study here"),
    (["generate", "gone", "--prompt", "a"], "gone/checkpoint.safetensors: there is no checkpoint here"),
    (["convert", "gone.safetensors", "out"], "gone.safetensors: there is no such file"),
]


def check_one_sentence(answer: subprocess.CompletedProcess[str], folder: Path, said: str) -> None:
    assert answer.returncode == 2, answer.stdout
    assert answer.stderr.startswith("Error: ")
    assert said in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert "Traceback" not in answer.stderr
    assert not list(folder.iterdir())


@pytest.mark.parametrize(("arguments", "said"), BAD_INPUT)
def test_bad_input_is_one_sentence_and_writes_nothing(
    deepsight: Any, tmp_path: Path, arguments: list[str], said: str
) -> None:
    check_one_sentence(deepsight(*arguments), tmp_path, said)


def test_bad_input_is_the_same_sentence_in_a_process_of_its_own(deepsight: Any, tmp_path: Path) -> None:
    arguments, said = BAD_INPUT[-1]
    answer = in_a_process(*arguments, folder=tmp_path)
    check_one_sentence(answer, tmp_path, said)
    assert answer.stderr == deepsight(*arguments).stderr


@pytest.mark.parametrize(
    ("preset", "without_positions"),
    [
        ("deepsight-paper", 15_763_500),
        ("baseline-paper", 16_036_800),
        ("dropout-baseline-paper", 16_036_800),
        ("smaller-baseline-paper", 15_441_192),
    ],
)
@pytest.mark.usefixtures("counted_once")
def test_the_published_models_have_the_published_sizes(deepsight: Any, preset: str, without_positions: int) -> None:
    answer = deepsight("model", preset, "--json")
    counts = json.loads(answer.stdout)
    assert counts["without_positions"] == without_positions
    assert counts["total"] == counts["inference"] + counts["training_only"]
    assert f"{without_positions:,}" in deepsight("model", preset).stdout


def test_a_run_can_be_interrupted_continued_and_read(deepsight: Any, text: Path, tmp_path: Path) -> None:
    # Long enough that the signal finds it running.
    data = run_data(text, training__steps=300, evaluation__every=100)
    (tmp_path / "run.yaml").write_text(dump_yaml(data), encoding="utf-8")
    process = start("train", "run.yaml", "--out", "out", folder=tmp_path)
    metrics = tmp_path / "out" / "metrics.jsonl"
    limit = time.monotonic() + 60
    while not (metrics.is_file() and metrics.read_text(encoding="utf-8").count("\n") > 5):
        assert time.monotonic() < limit
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "the same command goes on from there" in out
    assert (tmp_path / "out" / "checkpoint.safetensors").is_file()
    assert not (tmp_path / "out" / "result.json").exists()

    other = deepsight("train", "run.yaml", "--out", "out", "--set", "seed=4")
    assert other.returncode == 2
    assert "out: this folder holds another run: seed is 0 there and 4 here" in other.stderr

    finished = deepsight("train", "run.yaml", "--out", "out")
    assert finished.returncode == 0, finished.stderr
    assert "step      0" not in finished.stdout
    assert "validation loss" in finished.stdout
    again = deepsight("train", "run.yaml", "--out", "out")
    assert "this run is finished" in again.stdout

    arguments = ["generate", "out", "--prompt", "the model ", "--tokens", "30"]
    # One of these knows nothing of what was done before it.
    first, second = deepsight(*arguments), in_a_process(*arguments, folder=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert first.stdout.startswith("the model ")
    assert len(first.stdout) > len("the model ") + 10
    greedy = deepsight(*arguments, "--temperature", "0").stdout
    assert greedy == deepsight(*arguments, "--temperature", "0", "--seed", "3").stdout


def test_original_weights_are_converted(deepsight: Any, tmp_path: Path) -> None:
    model = build_model(load_run("tiny", {"model.layers": [1, 1], "data.tokenizer": "bytes", "objective": "none"}))
    names = {
        "embedding.token.weight": "token_embedding.weight",
        "embedding.position.weight": "positional_embedding.weight",
        "bridge.weight": "decoder_feed_forward.weight",
        "final_norm.weight": "ln.weight",
    }
    encoder = {
        "attention.query_key_value": "multi_attn_head.batch_attn_weights",
        "attention.output": "multi_attn_head.residual_proj",
        "feed_forward.expand": "feed_forward.linear",
        "feed_forward.output": "feed_forward.residual_proj",
        "attention_norm": "ln1",
        "feed_forward_norm": "ln2",
    }
    decoder = {
        "attention.query_key_value": "decoder_multi_attn_head.batch_attn_weights",
        "attention.output": "decoder_multi_attn_head.residual_proj",
        "cross_attention.query": "cross_multi_attn_head.q_weights",
        "cross_attention.key_value": "cross_multi_attn_head.k_v_weights",
        "cross_attention.output": "cross_multi_attn_head.residual_proj",
        "feed_forward.expand": "decoder_feed_forward.linear",
        "feed_forward.output": "decoder_feed_forward.residual_proj",
        "attention_norm": "decoder_ln1",
        "cross_attention_norm": "decoder_cross_ln",
        "encoder_norm": "encoder_cross_ln",
        "feed_forward_norm": "decoder_ln2",
    }
    for ours, theirs in encoder.items():
        names[f"encoder.0.{ours}.weight"] = f"encoder_transformer_blocks.0.{theirs}.weight"
    for ours, theirs in decoder.items():
        names[f"decoder.0.{ours}.weight"] = f"decoder_transformer_blocks.0.{theirs}.weight"
    state = model.state_dict()
    assert set(names) == set(state)
    save_file({names[name]: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "original.safetensors")

    refused = deepsight("convert", "original.safetensors", "out")
    assert refused.returncode == 2
    assert "--heads must say how many heads there are" in refused.stderr
    assert not (tmp_path / "out").exists()

    answer = deepsight("convert", "original.safetensors", "out", "--heads", "4")
    assert answer.returncode == 0, answer.stderr
    assert "deepsight, 1+1 layers, width 64, context 128" in answer.stdout
    unnamed = deepsight("generate", "out", "--prompt", "a")
    assert unnamed.returncode == 2
    assert "nothing here says which tokenizer" in unnamed.stderr
    named = tmp_path / "out" / "tokenizer.json"
    from deepsight.data.tokenizers import fixed_tokenizer

    fixed_tokenizer("bytes").save(named)
    loaded = load_trained(tmp_path / "out").model.state_dict()
    assert all((loaded[name] == tensor).all() for name, tensor in state.items())
    assert deepsight("convert", "original.safetensors", "out", "--heads", "4").returncode == 2
