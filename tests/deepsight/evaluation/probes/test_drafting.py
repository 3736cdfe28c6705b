"""The probe of drafts: counted by hand, beside plain greedy decoding, and ties told from faults."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepsight.config import RunConfig
from deepsight.evaluation.probes import drafting as module
from deepsight.evaluation.probes.asking import obstacle
from deepsight.evaluation.probes.drafting import DraftedTokens, by_guess, compared, drafting_objectives, summed_up
from deepsight.evaluation.probes.loading import load_subject
from deepsight.evaluation.probes.probe import Subject
from deepsight.generation import generate
from deepsight.plug_ins import probes
from deepsight.speculative import Speculation
from deepsight.training.folder import RunFolder
from tests.models import lively, random_tokens, small_model
from tests.runs import run_of, source_of, write_text

DRAFTING: list[dict[str, Any]] = [
    {"name": "multi_token", "n": 3},
    {"name": "sequential_modules", "depth": 2},
    {"name": "joint_multi_token", "n": 2},
    {"name": "next_latent", "steps": 2},
]
TASK = {"corpus": None, "tokenizer": None, "validation_fraction": None, "task": {"name": "path_star", "length": 3}}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


def trained(config: RunConfig, folder: Path) -> Subject:
    assert RunFolder(folder).prepare(config, source_of(config)).run() is not None
    return load_subject(folder)


@pytest.fixture(scope="module")
def subject(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    changes = {"training__steps": 24, "evaluation__every": 24, "model__context": 40}
    config = run_of(text, objective=[*DRAFTING, "token_order"], **changes)
    return trained(config, tmp_path_factory.mktemp("runs") / "run")


def test_every_objective_that_drafts_is_asked_and_the_text_stays(subject: Subject) -> None:
    calls: list[int] = []
    probe = DraftedTokens(prompts=4, prompt=10, tokens=20)
    tables = probe.run(subject, lambda: calls.append(1))
    assert len(calls) == 4 * (1 + len(DRAFTING))
    assert tables == probe.run(subject, lambda: None)
    json.dumps(tables, allow_nan=False)
    assert [row["objective"] for row in tables["drafting"]] == [spec["name"] for spec in DRAFTING]
    plain = [generate(subject.model, text, 20, temperature=0)[0].tolist() for text, _ in probe._asked(subject)]
    for row in tables["drafting"]:
        assert row["distinct"] == pytest.approx(sum(len(set(tokens)) for tokens in plain) / 80)
        assert (row["prompts"], row["prompt_tokens"], row["tokens"]) == (4, 10, 80)
        assert (row["identical"], row["ties"]) == (1.0, 0)
        assert row["tokens"] == row["passes"] + row["accepted"]
        assert row["tokens_per_pass"] == pytest.approx(80 / row["passes"])
        assert row["accepted_per_pass"] == pytest.approx(row["tokens_per_pass"] - 1)
        assert row["acceptance"] == pytest.approx(row["accepted"] / row["drafted"])
        own = [guess for guess in tables["guesses"] if guess["objective"] == row["objective"]]
        assert [guess["guess"] for guess in own] == [1, 2]
        assert sum(guess["accepted"] for guess in own) == row["accepted"] > 0
        assert sum(guess["drafted"] for guess in own) == row["drafted"]
        # All that is reached of the second guess is what was right of the first, unless there was no room for it.
        assert own[0]["reached"] == own[0]["drafted"]
        assert own[1]["reached"] <= own[0]["accepted"]


@pytest.mark.parametrize("spec", DRAFTING, ids=lambda spec: spec["name"])
def test_acceptance_is_what_a_slow_reader_counts(subject: Subject, spec: dict[str, Any]) -> None:
    """Let the drafter see the whole text anew at every place of plain decoding at which a pass would begin."""
    windows = subject.source.windows(context=40, count=2)
    prompts = [row[:10] for row in next(windows.batches(2)).inputs]
    drafts = drafting_objectives(subject)[spec["name"]]
    expected = [[0, 0], [0, 0]]
    passes = 0
    with torch.inference_mode():
        for prompt in prompts:
            truth = torch.cat([prompt, generate(subject.model, prompt, 20, temperature=0)[0]])
            known = 11
            passes += 1
            while known < 30:
                states = subject.model.states(subject.model.embedding(truth[None, : known - 1]))
                guesses = drafts.drafter(subject.model).guess(states.at(drafts.place), truth[:known])[: 29 - known]
                right = 0
                for place, guess in enumerate(guesses.tolist()):
                    expected[place][0] += 1
                    if right == place and guess == truth[known + place]:
                        right += 1
                        expected[place][1] += 1
                known += right + 1
                passes += 1
    tables = DraftedTokens(prompts=2, prompt=10, tokens=20).run(subject, lambda: None)
    (row,) = [row for row in tables["drafting"] if row["objective"] == spec["name"]]
    assert row["passes"] == passes
    found = [row for row in tables["guesses"] if row["objective"] == spec["name"]]
    assert [[row["drafted"], row["accepted"]] for row in found] == expected


@given(checks=st.lists(st.integers(0, 4).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), max_size=20))
def test_guesses_are_counted_one_by_one(checks: list[tuple[int, int]]) -> None:
    checks = [check for check in checks if check[0]]
    half = len(checks) // 2
    parts = [Speculation(torch.zeros(3, dtype=torch.long), 3, tuple(part)) for part in (checks[:half], checks[half:])]
    rows = list(by_guess(parts))
    assert len(rows) == max((guesses for guesses, _ in checks), default=0)
    counts = {name: [0] * len(rows) for name in ("drafted", "reached", "accepted")}
    for guesses, right in checks:
        for place in range(guesses):
            counts["drafted"][place] += 1
            counts["reached"][place] += right >= place
            counts["accepted"][place] += right > place
    for name, expected in counts.items():
        assert [row[name] for row in rows] == expected
    total = summed_up(parts)
    assert (total["drafted"], total["accepted"]) == (sum(counts["drafted"]), sum(counts["accepted"]))
    assert (total["acceptance"] is None) == (not checks)


def test_prompts_of_text_take_half_the_context_and_stop_where_it_ends(subject: Subject) -> None:
    seen = list(DraftedTokens(prompts=3)._asked(subject))
    assert [(len(prompt), count) for prompt, count in seen] == [(20, 21)] * 3
    seen = list(DraftedTokens(prompts=1, prompt=40, tokens=5)._asked(subject))
    assert [(len(prompt), count) for prompt, count in seen] == [(40, 1)]


def test_prompts_of_a_task_end_where_its_answer_begins(text: Path, tmp_path: Path) -> None:
    config = run_of(text, data=TASK, objective={"name": "multi_token", "n": 2}, model__context=24, training__steps=2)
    of_task = trained(config, tmp_path / "run")
    task = of_task.config.data.build_task()
    for prompt, count in DraftedTokens(prompts=5)._asked(of_task):
        assert len(prompt) + count == task.length
        assert count == task.answer_length == 3
    (row,) = DraftedTokens(prompts=5).run(of_task, lambda: None)["drafting"]
    assert (row["tokens"], row["identical"]) == (15, 1.0)


def test_an_architecture_that_reads_a_prefix_gets_it(text: Path, tmp_path: Path) -> None:
    spec = {"name": "multi_token", "n": 2}
    config = run_of(text, model__architecture="canonical", objective=spec, training__steps=2)
    canonical = trained(config, tmp_path / "run")
    (row,) = DraftedTokens(prompts=2).run(canonical, lambda: None)["drafting"]
    assert (row["prompt_tokens"], row["identical"]) == (9, 1.0)
    assert obstacle(probes.resolve({"name": "drafting", "prompt": 8}), canonical) == (
        "prompt: this network reads prompts of 9 to 16 tokens, not 8"
    )


def test_runs_that_cannot_draft_are_refused(text: Path, tmp_path: Path, subject: Subject) -> None:
    assert probes["drafting"].factory is DraftedTokens
    assert obstacle(probes.resolve("drafting"), subject) is None
    for objective, there in (("token_order", "token_order"), ("none", "it has none")):
        other = trained(run_of(text, objective=objective, training__steps=1), tmp_path / there)
        assert f"objectives ({there}) can draft tokens" in str(obstacle(probes.resolve("drafting"), other))


def test_drafts_that_are_none_leave_one_token_a_pass(text: Path, tmp_path: Path) -> None:
    alone = trained(run_of(text, objective={"name": "multi_token", "n": 1}, training__steps=1), tmp_path / "run")
    tables = DraftedTokens(prompts=2).run(alone, lambda: None)
    assert tables["guesses"] == []
    (row,) = tables["drafting"]
    assert (row["tokens_per_pass"], row["drafted"], row["acceptance"]) == (1.0, 0, None)


def test_another_text_is_no_tie_and_is_told(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    speculate = module.speculate

    def wrong(model: Any, drafts: Any, text: Any, count: int) -> Speculation:
        found = speculate(model, drafts, text, count)
        tokens = found.tokens.clone()
        tokens[7] = (tokens[7] + 1) % model.vocabulary
        return dataclasses.replace(found, tokens=tokens) if int(text.sum()) % 2 else found

    monkeypatch.setattr(module, "speculate", wrong)
    prompts = [prompt for prompt, _ in DraftedTokens(prompts=8, prompt=10)._asked(subject)]
    odd = sum(int(prompt.sum()) % 2 for prompt in prompts)
    assert 0 < odd < 8
    row = DraftedTokens(prompts=8, prompt=10).run(subject, lambda: None)["drafting"][0]
    assert (row["identical"], row["ties"]) == (1 - odd / 8, 0)


def test_two_tokens_that_are_alike_but_for_rounding_are_a_tie() -> None:
    model = lively(small_model("baseline", vocabulary=8, context=12, layers=1)).eval()
    prompt = random_tokens(model, 1, 5)[0]
    greedy = generate(model, prompt, 6, temperature=0)[0]
    # The last token is new at its place, so what precedes it stays as it is when its row gets a twin.
    first = int(greedy[0])
    twin = next(token for token in range(8) if token not in {*prompt.tolist(), first})
    other = greedy.clone()
    other[0] = twin
    asked = [(prompt, 6)]
    found = [Speculation(other, 6)]
    assert compared(model, asked, [greedy], found) == {"identical": 0.0, "ties": 0}
    with torch.no_grad():
        model.unembedding[twin] = model.unembedding[first] * (1 + 1e-6)
    assert compared(model, asked, [greedy], found) == {"identical": 1.0, "ties": 1}
    with torch.no_grad():
        model.unembedding[twin] = model.unembedding[first] * (1 + 1e-2)
    assert compared(model, asked, [greedy], found) == {"identical": 0.0, "ties": 0}


def test_products_are_as_before_afterwards(subject: Subject) -> None:
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        DraftedTokens(prompts=1, tokens=2).run(subject, lambda: None)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
