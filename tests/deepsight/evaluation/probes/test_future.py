"""The probes of the tokens ahead, on states that hold them, that hold nothing, and that a network really has."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from deepsight.errors import UserError
from deepsight.evaluation.probes import examples as examples_module
from deepsight.evaluation.probes.asking import obstacle
from deepsight.evaluation.probes.places import every_place, layer_of_encoder, place_label, state_at
from deepsight.evaluation.probes.probe import Subject, Tables
from deepsight.plug_ins import probes
from deepsight.trace import IGNORED
from tests.deepsight.evaluation.probes.subjects import END, KINDS, random_text, subject_of, task_subject
from tests.typechecking import unchecked

WRITTEN = 3
"""How far ahead the token lies that is written in a state."""


@pytest.fixture(scope="module")
def subject() -> Subject:
    """Return a network on independent tokens, of which nothing can be known but what a state is made to hold."""
    return subject_of(random_text(6000, seed=1), random_text(6000, seed=2))


def asked(subject: Subject, **parameters: Any) -> Tables:
    probe = probes.build(
        {"name": "future", "n": 4, "positions": 2000, "hidden": 8, "places": ["decoder"], **parameters}
    )
    with unchecked():
        return probe.run(subject, lambda: None)


def bag_of(subject: Subject, **parameters: Any) -> Tables:
    probe = probes.build({"name": "future_bag", "tau": 4, "positions": 2000, "places": ["decoder"], **parameters})
    with unchecked():
        return probe.run(subject, lambda: None)


def noise_at(trace: Any) -> torch.Tensor:
    seed = int(trace.tokens.sum())
    return torch.empty(*trace.tokens.shape, KINDS).normal_(generator=torch.Generator().manual_seed(seed))


def hold(subject: Subject, monkeypatch: pytest.MonkeyPatch, made: Any) -> None:
    """Let the trained network's states be made of a trace, and the untrained one's noise."""
    monkeypatch.setattr(
        examples_module,
        "state_at",
        lambda model, trace, place: made(trace) if model is subject.model else noise_at(trace),
    )


def written(trace: Any) -> torch.Tensor:
    """Return which token comes so far ahead, and noise where none does."""
    ahead = F.pad(trace.targets[:, WRITTEN - 1 :], (0, WRITTEN - 1), value=IGNORED)
    known = (ahead >= 0) & (ahead < KINDS)
    return torch.where(known[..., None], F.one_hot(ahead.clamp(0, KINDS - 1), KINDS).float(), noise_at(trace))


def bag_written(trace: Any) -> torch.Tensor:
    held = torch.zeros(*trace.targets.shape, KINDS)
    for k in (2, 3, 4):
        ahead = F.pad(trace.targets[:, k - 1 :], (0, k - 1), value=END)
        # A bag ends with its document, as the probe's does.
        ended = torch.stack([trace.targets.roll(-j, dims=1) == END for j in range(k - 1)]).any(dim=0)
        held.scatter_add_(2, ahead.clamp(0, KINDS - 1)[..., None], ((ahead < KINDS) & ~ended).float()[..., None])
    return held.clamp(max=1)


def test_what_a_state_holds_is_read_at_its_distance_and_at_no_other(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(subject, monkeypatch, written)
    # At the end of a window the token is not known to the state.
    monkeypatch.setattr(subject.source, "windows", shortened(subject.source.windows))
    tables = asked(subject)
    assert [(row["probe"], row["ahead"]) for row in tables["states"]] == [
        (probe, ahead) for probe in ("linear", "mlp") for ahead in (1, 2, 3, 4)
    ]
    for row in tables["states"]:
        if row["ahead"] == WRITTEN:
            # Ends of texts are tokens too, and this state does not hold them.
            assert row["accuracy"] > 0.93
            assert row["bits"] > 0.85 * math.log2(KINDS)
        else:
            assert row["accuracy"] == pytest.approx(1 / KINDS, abs=0.06)
            assert row["bits"] == pytest.approx(0.0, abs=0.06)
        assert row["bits"] == min(value for name, value in row.items() if name.startswith("above_"))


def shortened(windows: Any) -> Any:
    """Return windows of which each position sees its own window's later tokens: those past it do not count."""

    def without_later(**options: Any) -> Any:
        return windows(**{**options, "later": 0})

    return without_later


def test_noise_holds_nothing(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(subject, monkeypatch, lambda trace: noise_at(trace).roll(1, dims=0))
    for row in asked(subject)["states"]:
        assert row["bits"] == pytest.approx(0.0, abs=0.04)
        assert row["accuracy"] == pytest.approx(1 / KINDS, abs=0.06)


def test_controls_are_those_of_the_test_part(subject: Subject) -> None:
    tables = asked(subject)
    shuffled = [row for row in tables["controls"] if row["control"] == "shuffled"]
    assert {(row["place"], row["probe"]) for row in shuffled} == {("decoder", "linear"), ("decoder", "mlp")}
    for row in shuffled:
        assert row["cross_entropy"] == pytest.approx(entropy(), abs=0.06)
    (unigram,) = [row for row in tables["controls"] if row["control"] == "unigram" and row["ahead"] == 2]
    found = examples_module.examples_of(subject, range(1, 5), 2000)
    train, test = (
        [int(t) for t in found.ahead[found.parts == part, 1] if t != IGNORED]
        for part in (examples_module.TRAIN, examples_module.TEST)
    )
    counts = Counter(train)
    # All seven tokens are seen, and one class is left for those that are not.
    chance = {token: (counts[token] + 1) / (len(train) + KINDS + 2) for token in counts}
    assert unigram["cross_entropy"] == pytest.approx(-sum(math.log(chance[token]) for token in test) / len(test))
    assert unigram["accuracy"] == pytest.approx(test.count(counts.most_common(1)[0][0]) / len(test))
    assert unigram["place"] is None
    (about,) = tables["examples"]
    assert about["test_positions"] == int((found.parts == examples_module.TEST).sum())
    assert about["tokens_told_apart"] == KINDS + 1
    assert about["targets_told_apart"] == 1.0
    for row in tables["states"]:
        others = {
            control["control"]: control["cross_entropy"]
            for control in tables["controls"]
            if control["ahead"] == row["ahead"] and control["probe"] in (None, row["probe"])
        }
        assert others.keys() == {"unigram", "bigram", "text_bigram", "shuffled", "untrained"}
        for name, nats in others.items():
            assert row[f"above_{name}"] == pytest.approx((nats - row["cross_entropy"]) / math.log(2))


def entropy() -> float:
    """Return that of the random text's tokens, its ends of text included."""
    shares = [*[39 / 40 / KINDS] * KINDS, 1 / 40]
    return -sum(share * math.log(share) for share in shares)


@pytest.mark.parametrize("probe", [asked, bag_of])
def test_the_same_question_has_the_same_answer(subject: Subject, probe: Any) -> None:
    first = probe(subject)
    torch.manual_seed(77)
    assert json.dumps(probe(subject)) == json.dumps(first)
    assert json.dumps(first, allow_nan=False)


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("deepsight", ["layer 1", "encoder", "bridge", "layer 2", "layer 3", "decoder"]),
        ("encoder_decoder", ["layer 1", "encoder", "bridge", "layer 2", "layer 3", "decoder"]),
        ("baseline", ["layer 1", "layer 2", "encoder", "layer 3", "decoder"]),
        ("canonical", ["layer 1", "encoder", "layer 2", "decoder"]),
    ],
)
def test_every_place_is_read_once(architecture: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = random_text(3000)
    subject = subject_of(text, text, model__architecture=architecture, model__layers=[1, 2])
    assert [place_label(place) for place in every_place(subject.model)] == expected
    read: list[str] = []

    def counted(model: Any, trace: Any, place: Any) -> Any:
        if model is subject.model:
            read.append(place_label(place))
        return state_at(model, trace, place)

    monkeypatch.setattr(examples_module, "state_at", counted)
    tables = asked(subject, places=None, hidden=None, n=1, positions=300)
    assert [row["place"] for row in tables["states"]] == expected
    layer = layer_of_encoder(subject.model)
    assert list(dict.fromkeys(read)) == [label for label in expected if label != "encoder"]
    same = [{**row, "place": ""} for row in tables["states"] if row["place"] in ("encoder", f"layer {layer}")]
    assert same[0] == same[1]


def test_the_bridge_is_what_enters_the_decoder() -> None:
    text = random_text(200)
    model = subject_of(text, text).model
    tokens = torch.from_numpy(text[:16].astype("int64"))[None]
    trace = model(tokens, tokens)
    entering: list[torch.Tensor] = []
    model.decoder[0].register_forward_pre_hook(lambda _, inputs: entering.append(inputs[0]))  # type: ignore[union-attr,index]
    model(tokens, tokens)
    assert torch.equal(state_at(model, trace, "bridge"), entering[0])


@pytest.mark.parametrize(
    ("places", "architecture", "said"),
    [
        ([{"layer": 3}], "deepsight", "places.0: there is no layer 3; the network has 2"),
        (["decoder", {"layer": 0}], "deepsight", "places.1: there is no layer 0"),
        (["decoder", {}], "deepsight", "places.1: there is no such place"),
        (["bridge"], "baseline", "places.0: the architecture baseline has no bridge"),
        ([], "deepsight", "places: a probe needs a place to read; null means all of them"),
    ],
)
@pytest.mark.parametrize("probe", ["future", "future_bag"])
def test_places_that_are_not_there_are_a_sentence(probe: str, places: Any, architecture: str, said: str) -> None:
    text = random_text(200)
    subject = subject_of(text, text, model__architecture=architecture)
    found = obstacle(probes.resolve({"name": probe, "places": places}), subject)
    assert found is not None
    assert found.startswith(said)
    assert obstacle(probes.resolve(probe), subject) is None


def test_a_task_is_asked_of_its_answers_alone() -> None:
    tables = asked(task_subject(), n=8, positions=1200)
    assert {row["ahead"] for row in tables["states"]} == set(range(1, 9))
    # The answer is three nodes, of ten labels; nothing of the prompt is a target.
    assert tables["examples"][0]["tokens_told_apart"] == 10
    counted = {row["positions"] for row in tables["states"]}
    assert counted == {3 * tables["examples"][0]["test_documents"]}
    assert bag_of(task_subject(), positions=1200)["states"][0]["tokens"] == 10


def test_a_bag_that_a_state_holds_is_read_whole(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject.source, "windows", shortened(subject.source.windows))
    hold(subject, monkeypatch, bag_written)
    (row,) = bag_of(subject, tokens=KINDS)["states"]
    assert row["tokens"] == KINDS
    assert row["average_precision"] > 0.97
    assert row["roc_area"] > 0.97
    assert row["gain"] > 0.3
    assert row["gain"] == min(value for name, value in row.items() if name.startswith("above_"))
    hold(subject, monkeypatch, lambda trace: noise_at(trace).roll(1, dims=0))
    (row,) = bag_of(subject, tokens=KINDS)["states"]
    assert row["gain"] == pytest.approx(0.0, abs=0.05)
    assert row["roc_area"] == pytest.approx(0.5, abs=0.05)


def test_a_bag_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(UserError, match=r"^tau: the window begins at 5, so it cannot end at 3"):
        probes.build({"name": "future_bag", "first": 5, "tau": 3})
