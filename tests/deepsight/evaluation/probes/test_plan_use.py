"""How much a decoder uses its plan: against networks run by hand, and where the answer is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from deepsight.data.batches import ValidationWindows
from deepsight.data.tasks.sequences import HeldOut
from deepsight.errors import UserError
from deepsight.evaluation.player import NetworkPlayer
from deepsight.evaluation.probes.held_out import held_out_tokens
from deepsight.evaluation.probes.plan_use import Ablation, PlanUse, donors_of
from deepsight.evaluation.probes.probe import Subject
from deepsight.evaluation.probes.replacing import decoder_layers
from tests.deepsight.evaluation.probes.untrained import PATH_STAR, rows_where, untrained_subject
from tests.runs import write_text

CANONICAL = {"name": "canonical", "prefix": 5}
NAMES = ["shuffled", "averaged", "other_document"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


def no_news() -> None:
    """Nobody waits."""


def deaf(subject: Subject) -> Subject:
    """Let the decoder hear nothing of its cross-attention."""
    with torch.no_grad():
        for layer in decoder_layers(subject.model):
            layer.cross_attention.output.weight.zero_()
    return subject


def shown(subject: Subject, windows: int = 6) -> Any:
    probe = PlanUse(windows)
    probe.check(subject)
    return probe.run(subject, no_news)


@pytest.mark.parametrize("architecture", ["deepsight", "encoder_decoder", CANONICAL])
def test_a_decoder_that_ignores_its_cross_attention_loses_nothing_at_all(text: Path, architecture: Any) -> None:
    tables = shown(deaf(untrained_subject(text, model__architecture=architecture, model__layers=[1, 2])))
    of_attention = [row for row in tables["increase"] if row["read_by"] not in ("bridge", "everything")]
    assert len(of_attention) == 9
    assert {row["increase"] for row in of_attention} == {0.0}
    assert {row["standard_error"] for row in of_attention} == {0.0}
    bridge = rows_where(tables, "increase", read_by="bridge")
    assert len(bridge) == (0 if architecture == CANONICAL else 3)
    assert all(abs(row["increase"]) > 1e-3 for row in bridge)
    # What is left to read is the bridge alone.
    for name in NAMES if bridge else ():
        both, alone = (rows_where(tables, "increase", replaced_by=name, read_by=by) for by in ("everything", "bridge"))
        assert both[0]["increase"] == alone[0]["increase"]


def test_increases_are_those_of_a_network_run_by_hand(text: Path) -> None:
    """The means over training sequences, and other windows' outputs, put into a decoder block by block."""
    subject = untrained_subject(text, model__layers=[2, 2])
    model: Any = subject.model
    tables = shown(subject, 8)
    windows = subject.source.windows(context=16, count=8)
    batch = next(windows.batches(8))

    def encoded(tokens: torch.Tensor) -> torch.Tensor:
        hidden = model.embedding(tokens)
        for block in model.encoder:
            hidden = block(hidden)
        return hidden

    own = encoded(batch.inputs)
    training = subject.source.batches(context=16, batch_size=8, seed=0)(0).inputs
    vectors = {
        "averaged": encoded(training).mean(dim=0).expand_as(own),
        "other_document": own[torch.from_numpy(donors_of(windows.documents_of(0, 8)))],
    }

    def loss(first: torch.Tensor, second: torch.Tensor, bridge: torch.Tensor) -> float:
        hidden = model.decoder[1](model.decoder[0](model.bridge(bridge), first), second)
        logits = model.final_norm(hidden) @ model.unembedding.T
        return float(F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten()))

    with torch.no_grad():
        plain = loss(own, own, own)
        for name, other in vectors.items():
            expected = {
                "cross_attention": (other, other, own),
                "decoder layer 1": (other, own, own),
                "decoder layer 2": (own, other, own),
                "bridge": (own, own, other),
                "everything": (other, other, other),
            }
            for reader, read in expected.items():
                (row,) = rows_where(tables, "increase", replaced_by=name, read_by=reader)
                assert row["increase"] == pytest.approx(loss(*read) - plain, abs=2e-5)
                assert row["replaced_loss"] == pytest.approx(loss(*read), abs=2e-5)
                assert row["loss"] == pytest.approx(plain, abs=2e-5)
                assert abs(row["increase"]) > 1e-3


@pytest.mark.parametrize(
    ("changes", "start"),
    [({}, 0), ({"evaluation__first_position": 9}, 9), ({"model__architecture": CANONICAL}, 5), (PATH_STAR, 14)],
    ids=["text", "first position", "canonical", "task"],
)
def test_positions_make_up_the_whole_and_shares_of_attention_one(
    text: Path, changes: dict[str, Any], start: int
) -> None:
    tables = shown(untrained_subject(text, **changes))
    assert list(tables) == ["increase", "positions", *(["task"] if changes == PATH_STAR else []), "attention", "about"]
    for row in tables["increase"]:
        rows = rows_where(tables, "positions", replaced_by=row["replaced_by"], read_by=row["read_by"])
        assert sum(part["tokens"] for part in rows) == row["tokens"]
        for column in ("loss", "increase"):
            assert sum(part["tokens"] * part[column] for part in rows) == pytest.approx(
                row["tokens"] * row[column], abs=1e-6
            )
        assert rows[0]["first_position"] == start
    heads = {(row["attention"], row["stack"], row["layer"], row["head"]) for row in tables["attention"]}
    assert {kind for kind, *_ in heads} == {"self", "cross"}
    for kind, stack, layer, head in heads:
        rows = rows_where(tables, "attention", attention=kind, stack=stack, layer=layer, head=head)
        for column in ("share", "uniform_share"):
            assert sum(row[column] for row in rows) == pytest.approx(1, abs=1e-5)
        assert [row["first_distance"] for row in rows] == sorted(row["first_distance"] for row in rows)
    for row in (row for row in tables["attention"] if row["head"] is None):
        same = {name: row[name] for name in ("attention", "stack", "layer", "first_distance")}
        single = [row["share"] for row in rows_where(tables, "attention", **same) if row["head"] is not None]
        assert row["share"] == pytest.approx(np.mean(single))


@pytest.mark.parametrize("architecture", ["deepsight", CANONICAL])
def test_no_later_token_of_any_sequence_is_seen(text: Path, architecture: Any) -> None:
    subject = untrained_subject(text, model__architecture=architecture, model__layers=[1, 2])
    held = held_out_tokens(subject, 6)
    donors = donors_of(held.documents)
    plain, replaced = Ablation(subject, held, donors, no_news).losses()
    t = 9
    held.inputs[:, t + 1 :] = (held.inputs[:, t + 1 :] + 3) % 97
    before, after = Ablation(subject, held, donors, no_news).losses()
    until = held.positions <= t
    assert before[until] == pytest.approx(plain[until], abs=1e-5)
    assert not np.allclose(before[~until], plain[~until], atol=1e-2)
    for (name, reader), losses in replaced.items():
        (again,) = [found for (other, by), found in after.items() if (other, by.label) == (name, reader.label)]
        assert again[until] == pytest.approx(losses[until], abs=1e-5), (name, reader.label)


def test_the_same_is_found_again_and_arms_read_the_same_text(text: Path) -> None:
    subject = untrained_subject(text)
    tables = shown(subject)
    assert shown(subject) == tables
    other = shown(untrained_subject(text, seed=3, model__width=32))
    assert [row["tokens"] for row in other["positions"]] == [row["tokens"] for row in tables["positions"]]
    assert other["about"][0]["donors_of_other_documents"] == tables["about"][0]["donors_of_other_documents"] == 6


def test_the_network_is_left_as_it_was(text: Path) -> None:
    subject = untrained_subject(text)
    tokens = next(subject.source.windows(context=16, count=2).batches(2)).inputs
    before = subject.model.logits(tokens)
    shown(subject)
    assert torch.equal(subject.model.logits(tokens), before)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in subject.model.modules())


def test_a_task_tells_what_becomes_of_its_measure(text: Path) -> None:
    subject = deaf(untrained_subject(text, **PATH_STAR))
    examples = subject.source.windows(context=20, count=6)
    measured = examples.measures(NetworkPlayer(subject.model, 6))
    rows = shown(subject)["task"]
    assert [(row["replaced_by"], row["read_by"]) for row in rows] == [
        (name, reader) for name in NAMES for reader in ("cross_attention", "bridge", "everything")
    ]
    for row in rows:
        assert row["measure"] == "full_path/accuracy"
        assert row["value"] == measured["task:full_path/accuracy"]
        assert row["change"] == row["replaced_value"] - row["value"]
        if row["read_by"] == "cross_attention":
            assert row["change"] == 0
    assert "task" not in PlanUse(6, answers=False).run(subject, no_news)


def test_a_task_is_answered_by_the_replaced_network(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A measure that gives away what the network says: with nothing to read, it says the same to every prompt."""
    subject = untrained_subject(text, **PATH_STAR)

    def measures(examples: Any, player: Any) -> dict[str, float]:
        answers = player.continued(examples.examples[:, : examples.task.prompt_length], 3)
        return {"task:different/value": float(len(np.unique(answers, axis=0)))}

    monkeypatch.setattr(HeldOut, "measures", measures)
    rows = shown(subject)["task"]
    different = {(row["replaced_by"], row["read_by"]): row["replaced_value"] for row in rows}
    assert rows[0]["value"] > 1
    assert different["averaged", "everything"] == 1
    assert different["other_document", "everything"] > 1


@given(
    starts=st.lists(st.integers(0, 3), min_size=3, max_size=12),
    lengths=st.lists(st.integers(0, 2), min_size=12, max_size=12),
)
def test_donors_are_others_and_of_other_documents_where_there_are_such(starts: list[int], lengths: list[int]) -> None:
    first = np.cumsum(starts)
    documents = np.stack([first, first + np.array(lengths)[: len(first)]], axis=1)
    for place, donor in enumerate(donors_of(documents).tolist()):
        assert donor not in (place, place + 1)
        own = set(range(documents[place, 0], documents[place, 1] + 1))
        apart = [
            other
            for other in range(len(documents))
            if other not in (place, place + 1) and not own & set(range(documents[other, 0], documents[other, 1] + 1))
        ]
        assert donor in apart or not apart


def test_a_network_without_cross_attention_is_refused_in_one_sentence(text: Path) -> None:
    subject = untrained_subject(text, model__architecture="baseline")
    with pytest.raises(UserError) as caught:
        PlanUse().check(subject)
    assert str(caught.value) == (
        "the architecture baseline has no cross-attention on an encoder output, and the probe asks how that is used"
    )


@pytest.mark.cuda
def test_a_gpu_finds_the_same(text: Path) -> None:
    subject = untrained_subject(text, **PATH_STAR)
    expected = shown(subject)
    found = shown(dataclasses.replace(subject, model=subject.model.cuda(), device=torch.device("cuda")))
    for name, column in (("increase", "increase"), ("attention", "share")):
        assert [row[column] for row in found[name]] == pytest.approx([row[column] for row in expected[name]], abs=1e-2)


def test_too_little_text_is_a_sentence(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = untrained_subject(text)
    few = ValidationWindows(subject.source.corpus.validation[:40], context=16)
    monkeypatch.setattr(subject.source, "windows", lambda **_: few)
    with pytest.raises(UserError, match="there are 2 held-out sequences, and the probe needs 3"):
        PlanUse(8).run(subject, no_news)
