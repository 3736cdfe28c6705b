"""Losses by class of token, against loops over them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepsight.evaluation.probes.held_out import held_out_tokens, mean_over
from deepsight.evaluation.probes.token_losses import TokenLosses, by_frequency, training_places
from tests.deepsight.evaluation.probes.untrained import PATH_STAR, TASK, untrained_subject
from tests.runs import write_text


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


def no_news() -> None:
    """Nobody waits."""


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"evaluation__first_position": 3},
        {"model__architecture": "baseline"},
        {"model__architecture": {"name": "canonical", "prefix": 5}},
        PATH_STAR,
    ],
    ids=["text", "first position", "baseline", "canonical", "task"],
)
def test_every_token_is_in_one_class_of_each_kind(text: Path, changes: dict[str, Any]) -> None:
    subject = untrained_subject(text, **changes)
    tables = TokenLosses(9, 2, 3000).run(subject, no_news)
    assert list(tables) == ["inferable", "frequency", "positions", "overall"]
    held = held_out_tokens(subject, 9)
    losses = held.token_losses(subject.model, no_news)
    overall = {row["predictor"]: row for row in tables["overall"]}
    assert list(overall) == ["network", "unigram", "last 1", "last 2"]
    assert overall["network"]["loss"] == pytest.approx(losses.mean())
    assert overall["network"]["standard_error"] == pytest.approx(mean_over(losses, held.counted_documents).error)
    for name in ("inferable", "frequency", "positions"):
        rows = [row for row in tables[name] if row["tokens"]]
        assert sum(row["tokens"] for row in rows) == len(losses)
        assert sum(row["share"] for row in rows) == pytest.approx(1)
        for column, predictor in (("loss", "network"), ("ngram_loss", "last 2")):
            total = sum(row["share"] * row[column] for row in rows)
            assert total == pytest.approx(overall[predictor]["loss"])
    assert [row["inferable_from"] for row in tables["inferable"]] == ["unigram", "last 1", "last 2", "none"]
    assert TokenLosses(9, 2, 3000).run(subject, no_news) == tables


def test_classes_are_those_of_dictionaries(text: Path) -> None:
    """All of the training split is counted, in windows that share no input, of as many tokens as the network sees."""
    subject = untrained_subject(text)
    corpus = subject.source.corpus
    tables = TokenLosses(8, 3).run(subject, no_news)
    held = held_out_tokens(subject, 8)
    losses = held.token_losses(subject.model, no_news)
    train = corpus.train.tolist()
    counts: dict[tuple[int, ...], Counter[int]] = {}
    for start in range(0, len(train) - 16, 16):
        window = train[start : start + 17]
        for at in range(16):
            for k in range(min(3, at + 1) + 1):
                counts.setdefault(tuple(window[at + 1 - k : at + 1]), Counter())[window[at + 1]] += 1
    found: dict[str, list[float]] = {}
    tokens: dict[int, list[float]] = {}
    in_training = Counter(train)
    place = 0
    for row, following in zip(held.inputs.tolist(), held.targets.tolist(), strict=True):
        for at, token in enumerate(following):
            for k in (0, 1, 2, 3):
                known = counts.get(tuple(row[at + 1 - k : at + 1])) if k <= at + 1 else None
                if known and min(known, key=lambda one: (-known[one], one)) == token:
                    label = f"last {k}" if k else "unigram"
                    break
            else:
                label = "none"
            found.setdefault(label, []).append(losses[place])
            tokens.setdefault(len(str(in_training[token])) if in_training[token] else 0, []).append(losses[place])
            place += 1
    assert len(found) == 5
    for class_ in tables["inferable"]:
        of_class = found[class_["inferable_from"]]
        assert class_["tokens"] == len(of_class)
        assert class_["loss"] == pytest.approx(np.mean(of_class))
    assert len(tables["frequency"]) > 1
    for class_ in tables["frequency"]:
        digits = len(str(class_["most_count"])) if class_["most_count"] else 0
        assert class_["least_count"] == (10 ** (digits - 1) if digits else 0)
        assert class_["tokens"] == len(tokens[digits])
        assert class_["loss"] == pytest.approx(np.mean(tokens[digits]))


def test_powers_of_ten_begin_classes() -> None:
    counts = np.array([0, 1, 9, 10, 99, 100, 999, 1000, 10**9 - 1, 10**9])
    found = [(least, most, counts[inside].tolist()) for least, most, inside in by_frequency(counts)]
    assert found == [
        (0, 0, [0]), (1, 9, [1, 9]), (10, 99, [10, 99]), (100, 999, [100, 999]), (1000, 9999, [1000]),
        (10**8, 10**9 - 1, [10**9 - 1]), (10**9, 10**10 - 1, [10**9]),
    ]  # fmt: skip


def test_an_n_gram_learns_what_a_text_repeats(text: Path) -> None:
    """Words of a fixed list: inside a word the letters before tell the next one, and counting pays."""
    overall = {
        row["predictor"]: row["loss"] for row in TokenLosses(20).run(untrained_subject(text), no_news)["overall"]
    }
    assert overall["last 3"] < overall["last 2"] < overall["last 1"] < overall["unigram"] < np.log(256)
    tables = TokenLosses(20, counted=100).run(untrained_subject(text), no_news)
    assert tables["overall"][-1]["loss"] > overall["last 3"]


@pytest.mark.parametrize("fixed", [None, 40])
def test_a_task_is_counted_in_training_sequences_each_once(text: Path, fixed: int | None) -> None:
    task = {**TASK, "task": {**TASK["task"], "training_set": fixed}}  # type: ignore[dict-item]
    subject = untrained_subject(text, data=task, model__context=20)
    places = training_places(subject, 2, 17 * 300, no_news)
    # Of each sequence of 17 inputs three tokens are the answer.
    assert len(places.following) == 3 * (fixed or 300)
    number = len(places.following) // 3
    batch = subject.source.batches(context=20, batch_size=number, seed=0)(0)
    assert places.following.tolist() == batch.targets[:, -3:].flatten().tolist()
    assert places.last[0].tolist() == batch.inputs[0, [14, 13]].tolist()


def test_text_is_counted_all_over_the_training_split(text: Path) -> None:
    subject = untrained_subject(text)
    train = subject.source.corpus.train
    places = training_places(subject, 1, 160, no_news)
    windows = (len(train) - 1) // 16
    starts = [place * windows // 10 * 16 for place in range(10)]
    expected = np.concatenate([train[start + 1 : start + 17] for start in starts])
    assert places.following.tolist() == expected.tolist()
    assert starts[-1] > 0.8 * len(train)
