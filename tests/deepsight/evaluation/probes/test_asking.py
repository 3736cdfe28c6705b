"""Asking probes: what they are given, what is kept, and what becomes of those that fail."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from deepsight import plug_ins
from deepsight.building import weight_digests
from deepsight.config import RunConfig
from deepsight.errors import UserError
from deepsight.evaluation.losses import evaluate
from deepsight.evaluation.probes.answers import read_answer
from deepsight.evaluation.probes.asking import ask, obstacle, stored_answer
from deepsight.evaluation.probes.loading import load_subject
from deepsight.plug_ins import load_plugins, probes
from deepsight.training.checkpoint import read_checkpoint, write_tensors
from deepsight.training.folder import RunFolder
from deepsight.training.names import CHECKPOINT_FILE, INITIAL_WEIGHTS_FILE
from tests.deepsight.evaluation.probes.plugin import write_probe
from tests.runs import run_of, source_of, write_text

TASK = {"corpus": None, "tokenizer": None, "validation_fraction": None, "task": {"name": "path_star", "length": 3}}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(run_of(text), tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(autouse=True)
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Register the probe `sizes` for one test, and return what remembers its calls."""
    monkeypatch.setattr(probes, "_components", dict(probes._components))
    monkeypatch.setattr(plug_ins, "_loaded", {})
    load_plugins([write_probe(tmp_path)])
    found: list[str] = probes["sizes"].factory.run.__globals__["CALLS"]
    return found


def trained(config: RunConfig, folder: Path) -> Path:
    assert RunFolder(folder).prepare(config, source_of(config)).run() is not None
    return folder


def sizes(**parameters: Any) -> dict[str, Any]:
    return probes.resolve({"name": "sizes", **parameters})


def asked(folder: Path, spec: dict[str, Any]) -> tuple[Any, bool]:
    return ask(folder, spec, lambda: load_subject(folder), lambda: None)


@pytest.mark.parametrize(
    "objective",
    [
        {"name": "future_context", "n": 3},
        {"name": "bag_of_words", "tau": 4, "weighting": "idf"},
        {"name": "reverse_model", "freeze_after": 0.5},
        {"name": "representation"},
        "none",
    ],
    ids=lambda written: written["name"] if isinstance(written, dict) else written,
)
def test_the_subject_is_what_training_left(text: Path, tmp_path: Path, objective: Any) -> None:
    config = run_of(text, objective=objective, training__steps=3)
    folder = trained(config, tmp_path / "run")
    subject = load_subject(folder)
    assert not subject.model.training
    assert not any(part.training for part in subject.objectives.parts.values())
    windows = subject.source.windows(context=16, count=8, later=subject.objectives.lookahead)
    said = evaluate(
        subject.model, subject.objectives, windows, batch_size=4, device=subject.device,
        token_bytes=torch.as_tensor(subject.source.token_bytes(), dtype=torch.float32),
        autocast=contextlib.nullcontext(),
    )  # fmt: skip
    result = RunFolder(folder).result()
    assert result is not None
    assert {name: result[name] for name in said} == pytest.approx(said, rel=1e-6)
    first = json.loads((folder / INITIAL_WEIGHTS_FILE).read_text(encoding="utf-8"))
    untrained = weight_digests(subject.untrained())
    assert untrained == {name: first[name] for name in untrained}
    assert untrained != weight_digests(subject.model)
    assert not subject.untrained().training


def test_a_task_is_a_subject_too(text: Path, tmp_path: Path) -> None:
    folder = trained(run_of(text, data=TASK, objective="none", model__context=24), tmp_path / "run")
    assert load_subject(folder).source.vocabulary == 14


def test_an_answer_is_kept_and_not_computed_again(run: Path, calls: list[str]) -> None:
    answer, fresh = asked(run, sizes())
    assert (fresh, calls) == (True, ["well"])
    stored = json.loads((run / "probes" / "sizes.json").read_text(encoding="utf-8"))
    assert list(stored) == ["spec", "key", "seconds", "tables"]
    assert stored["spec"] == {"name": "sizes", "power": 2, "way": "well"}
    assert stored["tables"] == answer.tables
    rows = answer.tables["sizes"]
    weight = next(row for row in rows if row["weights"] == "trained" and row["name"] == "final_norm.weight")
    model = load_subject(run).model
    assert weight["size"] == pytest.approx(float(model.final_norm.weight.detach().square().sum()))
    again, fresh = ask(run, sizes(), pytest.fail, pytest.fail)
    assert (again, fresh, calls) == (read_answer(run, "sizes"), False, ["well"])
    assert again.tables == answer.tables


def test_another_question_code_or_checkpoint_is_asked_anew(
    run: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(run, sizes())
    assert stored_answer(run, sizes()) is not None
    assert stored_answer(run, sizes(power=1)) is None
    with monkeypatch.context() as patch:
        patch.setattr(probes["sizes"].factory, "version", 2)
        assert stored_answer(run, sizes()) is None
    with monkeypatch.context() as patch:
        patch.setattr(plug_ins, "_loaded", dict.fromkeys(plug_ins.loaded_plugins(), "another text"))
        assert stored_answer(run, sizes()) is None
    checkpoint = read_checkpoint(run / CHECKPOINT_FILE)
    before = (run / CHECKPOINT_FILE).read_bytes()
    try:
        about = {key: value for key, value in checkpoint.about.items() if key not in ("format", "checksum")}
        model = {name: tensor + 1 for name, tensor in checkpoint.part("model").items()}
        write_tensors(run / CHECKPOINT_FILE, about, model, checkpoint.part("objective"))
        assert stored_answer(run, sizes()) is None
    finally:
        (run / CHECKPOINT_FILE).write_bytes(before)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"spec": {}, "key": 1, "seconds": "x", "tables": {}}'])
def test_a_broken_file_is_no_answer(run: Path, calls: list[str], content: str) -> None:
    (run / "probes").mkdir(exist_ok=True)
    (run / "probes" / "sizes.json").write_text(content)
    assert read_answer(run, "sizes") is None
    assert asked(run, sizes())[1]
    assert read_answer(run, "sizes") is not None


def test_a_probe_that_fails_is_one_sentence_with_its_line(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        asked(run, sizes(way="badly"))
    line = 1 + write_probe(tmp_path).read_text(encoding="utf-8").splitlines().index(
        '            raise ValueError("no such size")'
    )
    assert str(caught.value) == f"{tmp_path / 'sizes.py'}:{line}: the probe 'sizes' fails: ValueError: no such size"
    with pytest.raises(UserError, match=r"the probe 'sizes' fails: ValueError: .*not JSON compliant"):
        asked(run, sizes(way="emptily"))


def test_what_is_missing_is_known_before_it_is_asked(text: Path, tmp_path: Path, run: Path, calls: list[str]) -> None:
    plain = trained(run_of(text, objective="none", training__steps=1), tmp_path / "run")
    sentence = "this run has no objective, and the probe needs one"
    assert obstacle(sizes(), load_subject(plain)) == sentence
    assert obstacle(sizes(), load_subject(run)) is None
    with pytest.raises(UserError, match=sentence):
        asked(plain, sizes())
    assert not calls
    assert not (plain / "probes").exists()


def test_only_whole_runs_have_a_subject(text: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.yaml"):
        load_subject(tmp_path)
    config = run_of(text)
    trainer = RunFolder(tmp_path / "stopped").prepare(config, source_of(config))
    assert trainer.run(lambda: trainer.progress.step == 2) is None
    with pytest.raises(UserError, match="this run is not finished, and only a finished one can be asked"):
        load_subject(tmp_path / "stopped")


def test_a_checkpoint_without_its_objectives_and_other_text_are_told(text: Path, tmp_path: Path) -> None:
    folder = trained(run_of(text, training__steps=1), tmp_path / "run")
    other = source_of(run_of(text, data__validation_fraction=0.4))
    with pytest.raises(UserError, match="this run learned from other tokens than its configuration gives"):
        load_subject(folder, other)
    checkpoint = read_checkpoint(folder / CHECKPOINT_FILE)
    about = {key: checkpoint.about[key] for key in ("model", "vocabulary", "tokenizer")}
    write_tensors(folder / CHECKPOINT_FILE, about, checkpoint.part("model"), checkpoint.part("objective"))
    with pytest.raises(UserError, match="does not say which objectives its run had"):
        load_subject(folder)


def test_a_run_asks_at_its_end_and_a_failing_probe_does_not_lose_it(
    text: Path, tmp_path: Path, calls: list[str]
) -> None:
    plain = trained(run_of(text), tmp_path / "plain")
    for way, keys in (("well", ["spec", "key", "seconds", "tables"]), ("badly", ["spec", "key", "seconds", "error"])):
        config = run_of(text, runtime__probes=[{"name": "sizes", "way": way}])
        folder = trained(config, tmp_path / way)
        stored = json.loads((folder / "probes" / "sizes.json").read_text(encoding="utf-8"))
        assert list(stored) == keys
        assert RunFolder(folder).config() == config
        results = [RunFolder(one).result() for one in (plain, folder)]
        without = [{key: one[key] for key in one if key not in ("seconds", "peak_memory")} for one in results if one]
        assert without[0] == without[1]
    assert "fails: ValueError: no such size" in stored["error"]
    assert calls == ["well", "badly"]
    # What is kept is what would be asked later, and a failure is asked again.
    assert stored_answer(tmp_path / "well", sizes()) is not None
    assert stored_answer(tmp_path / "badly", sizes(way="badly")) is None


def test_probes_of_a_run_are_no_part_of_its_identity_and_each_stands_once(text: Path) -> None:
    plain, probing = run_of(text), run_of(text, runtime__probes=["sizes"])
    assert plain.identity("x", {}) == probing.identity("x", {})
    assert probing.complete()["runtime"]["probes"] == [sizes()]
    with pytest.raises(UserError, match=r"^runtime\.probes: the probe 'sizes' is named twice"):
        run_of(text, runtime__probes=["sizes", {"name": "sizes", "power": 1}])
    with pytest.raises(UserError, match=r"^runtime\.probes\.0: unknown probe 'size'; did you mean 'sizes'"):
        run_of(text, runtime__probes=["size"])
