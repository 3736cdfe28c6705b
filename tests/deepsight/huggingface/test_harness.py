"""lm-evaluation-harness asks an exported model, and hears what the model says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from deepsight.huggingface.folder import export
from deepsight.loading import load_trained
from deepsight.training.folder import RunFolder
from tests.runs import run_of, source_of, write_text

lm_eval = pytest.importorskip("lm_eval", reason='needs lm_eval: pip install "deepsight[harness]"')

pytestmark = pytest.mark.slow

QUESTIONS = [
    {"query": "the token", "choices": [" and", " qqq"], "answer": 0},
    {"query": "what comes", "choices": [" zzz", " after"], "answer": 1},
    {"query": "a line", "choices": [" the", " end"], "answer": 1},
]


def test_the_harness_measures_what_the_model_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    config = run_of(write_text(tmp_path / "text"), training__steps=40)
    RunFolder(tmp_path / "run").prepare(config, source_of(config)).run()
    export(tmp_path / "run", tmp_path / "model")
    found = _asked(tmp_path)
    expected = [_likelihoods(tmp_path / "run", question) for question in QUESTIONS]
    for sample, likelihoods in zip(found["samples"]["choices"], expected, strict=True):
        said = [float(response[0][0]) for response in sample["resps"]]
        assert said == pytest.approx(likelihoods, abs=1e-4)
    right = [
        likelihoods.index(max(likelihoods)) == question["answer"]
        for likelihoods, question in zip(expected, QUESTIONS, strict=True)
    ]
    assert found["results"]["choices"]["acc,none"] == pytest.approx(sum(right) / len(right))


def _asked(folder: Path) -> Any:
    """Let the harness ask the exported model a task of ours."""
    (folder / "task").mkdir()
    questions = "".join(json.dumps(question) + "\n" for question in QUESTIONS)
    (folder / "task" / "questions.jsonl").write_text(questions, encoding="utf-8")
    task = {
        "task": "choices",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "task" / "questions.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{query}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc"}],
    }
    (folder / "task" / "choices.yaml").write_text(yaml.safe_dump(task), encoding="utf-8")
    return lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(folder / "model"), "dtype": "float32"},
        tasks=["choices"],
        task_manager=lm_eval.tasks.TaskManager(include_path=str(folder / "task")),
        device="cpu",
        batch_size=2,
        log_samples=True,
        bootstrap_iters=0,
    )


def _likelihoods(run: Path, question: dict[str, Any]) -> list[float]:
    """Return the log-likelihood of each choice, by our own network and tokenizer."""
    trained = load_trained(run)
    asked = trained.tokenizer.encode(question["query"])
    found = []
    for choice in question["choices"]:
        tokens = torch.tensor([asked + trained.tokenizer.encode(choice)])
        with torch.no_grad():
            chances = trained.model.eval().logits(tokens[:, :-1]).log_softmax(dim=-1)
        picked = chances[0].gather(1, tokens[0, 1:, None])[len(asked) - 1 :]
        found.append(float(picked.sum()))
    return found
