"""Speculative decoding: the tokens of greedy decoding, whatever the heads guess; passes saved; mistakes named."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from deepsight.architecture import Architecture
from deepsight.cli.generate import generate as command
from deepsight.errors import UserError
from deepsight.generation import generate
from deepsight.layers import CACHE_STEP, LayerCache
from deepsight.loading import load_trained, load_with_drafting
from deepsight.objective_specs import resolved_objective
from deepsight.objectives_of_run import Objectives
from deepsight.speculative import Drafting, speculate
from deepsight.training.checkpoint import read_checkpoint, write_tensors
from deepsight.training.loop import Trainer
from deepsight.training.names import CHECKPOINT_FILE
from tests.models import EVERY_ARCHITECTURE, lively, random_tokens, small_model
from tests.runs import run_of, source_of, write_text

HEADS: list[dict[str, Any]] = [
    {"name": "multi_token", "n": 1},
    {"name": "multi_token", "n": 4, "head": "block"},
    {"name": "multi_token", "n": 3, "head": "linear", "stride": 2},
    {"name": "multi_token", "n": 3, "head": "block", "stride": 3, "window": "extend", "attach": "encoder"},
    {"name": "sequential_modules", "depth": 1},
    {"name": "sequential_modules", "depth": 3, "attach": {"layer": 2}},
    {"name": "latent_multi_token", "n": 3},
    {"name": "joint_multi_token", "n": 1},
    {"name": "joint_multi_token", "n": 3, "attach": "encoder"},
    {"name": "joint_multi_token", "n": 2, "rest": 0.0},
    {"name": "next_latent", "steps": 1},
    {"name": "next_latent", "steps": 3, "inner_width": 8},
]


def name_of(spec: dict[str, Any]) -> str:
    return "-".join(map(str, spec.values()))


def drafting_of(model: Architecture, spec: dict[str, Any]) -> Drafting:
    objectives = Objectives([resolved_objective(spec)], model.shape, seed=0).to(model.unembedding.dtype)
    ((label, part),) = objectives.parts.items()
    place = objectives.places[label]
    assert place is not None
    lively(part)  # type: ignore[arg-type]
    return Drafting(part, place)


def text_model(architecture: str, seed: int, rotary: bool = False) -> Architecture:
    written: Any = {"name": "canonical", "prefix": 2} if architecture == "canonical" else architecture
    positions = "rotary" if rotary and architecture != "encoder_decoder" else "learned"
    model = small_model(written, context=8, vocabulary=7, layers=[1, 2], positions=positions, dtype=torch.float64)
    return lively(model, seed).eval()


def check(architecture: str, spec: dict[str, Any], seed: int, prompt: int, count: int, rotary: bool) -> None:
    model = text_model(architecture, seed, rotary)
    tokens = random_tokens(model, 1, prompt, seed)[0]
    found = speculate(model, drafting_of(model, spec), tokens, count)
    # In float64, so that rounding decides nothing.
    assert found.tokens.tolist() == generate(model, tokens, count, temperature=0)[0].tolist()
    assert found.passes + found.accepted == count


@pytest.mark.parametrize("architecture", EVERY_ARCHITECTURE)
@pytest.mark.parametrize("spec", HEADS, ids=name_of)
def test_the_tokens_are_those_of_greedy_decoding(architecture: str, spec: dict[str, Any]) -> None:
    check(architecture, spec, seed=1, prompt=3, count=8, rotary=False)


@settings(max_examples=30)
@given(
    architecture=st.sampled_from(EVERY_ARCHITECTURE),
    spec=st.sampled_from(HEADS),
    seed=st.integers(0, 99),
    prompt=st.integers(3, 10),
    count=st.integers(1, 14),
    rotary=st.booleans(),
)
def test_lengths_and_weights_do_not_matter(
    architecture: str, spec: dict[str, Any], seed: int, prompt: int, count: int, rotary: bool
) -> None:
    """Also from prompts, and to lengths, past the context of 8."""
    check(architecture, spec, seed, prompt, count, rotary)


class Told(nn.Module):
    """An objective that knows what comes, `length` tokens of it, and lies about every `lies`-th token of the text."""

    def __init__(self, truth: list[int], length: int, lies: int) -> None:
        super().__init__()
        self.truth, self.length, self.lies = truth, length, lies
        self.seen = 0

    def drafter(self, unembedding: Tensor, context: int) -> Told:
        return self

    def guess(self, states: Tensor, text: Tensor) -> Tensor:
        self.seen += states.shape[1]
        assert text.tolist() == self.truth[: len(text)]
        assert self.seen == len(text) - 1
        places = range(len(text), min(len(text) + self.length, len(self.truth)))
        return torch.tensor([self.truth[i] ^ 1 if i % self.lies == 0 else self.truth[i] for i in places]).long()


@given(
    length=st.integers(0, 6), lies=st.sampled_from([1, 2, 3, 5, 99]), prompt=st.integers(1, 9), count=st.integers(1, 30)
)
def test_right_guesses_are_accepted_up_to_the_first_wrong_one(length: int, lies: int, prompt: int, count: int) -> None:
    context = 24
    model = lively(small_model("baseline", vocabulary=8, context=context, layers=1, dtype=torch.float64))
    tokens = random_tokens(model, 1, prompt)[0]
    truth = tokens.tolist() + generate(model, tokens, count, temperature=0)[0].tolist()
    found = speculate(model, Drafting(Told(truth, length, lies), "decoder"), tokens, count)
    assert tokens.tolist() + found.tokens.tolist() == truth
    known, passes, accepted, checks = prompt, 0, 0, []
    while known < len(truth):
        # The prompt's pass checks nothing, a pass never reads past the context, and no guess is made for nothing.
        room = min(len(truth) - 1, context) - known if passes else 0
        guessed = [(known + i) % lies != 0 for i in range(max(0, min(length, room)))]
        right = guessed.index(False) if False in guessed else len(guessed)
        known, passes, accepted = known + right + 1, passes + 1, accepted + right
        checks += [(len(guessed), right)] if guessed else []
    assert (found.passes, found.accepted) == (passes, accepted)
    assert found.checks == tuple(checks)
    assert found.drafted == sum(guesses for guesses, _ in checks)
    assert found.tokens_per_pass == count / passes


def pieces(length: int, cuts: list[int]) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of consecutive pieces of a text."""
    borders = [0, *sorted({cut for cut in cuts if cut < length}), length]
    yield from itertools.pairwise(border for i, border in enumerate(borders) if i == 0 or border)


def by_parallel_heads(part: Any, states: Tensor, text: Tensor, unembedding: Tensor) -> list[int]:
    """For each token ahead, ask the latest position that has a head for it; stop at the first that none has."""
    last, guesses = states.shape[1] - 1, []
    hidden = [head(states) for head in part.heads]
    for ahead in range(2, 2 + part.stride * len(part.heads)):
        place = last + ahead
        found = [
            (position, i)
            for position in range(last, last - part.stride, -1)
            for i in range(len(hidden))
            if position >= 0 and position + 1 + part.stride * (i + 1) == place
        ]
        if not found:
            break
        position, i = found[0]
        guesses.append(int((unembedding @ hidden[i][0, position]).argmax()))
    return guesses


def by_the_chain(part: Any, states: Tensor, text: Tensor, unembedding: Tensor) -> list[int]:
    """Run the chain anew over the whole text, each depth fed what the one before it guessed."""
    known, guesses = text.tolist(), list[int]()
    for k, module in enumerate(part.chain, start=1):
        fed = torch.tensor([(known + guesses)[k:]])
        states, predicted = module(states, unembedding[fed])
        guesses.append(int((unembedding @ predicted[0, -1]).argmax()))
    return guesses


def by_joint_chain(part: Any, states: Tensor, text: Tensor, unembedding: Tensor) -> list[int]:
    """Attend from each item of the last state's chain to those before it, one head and one pair at a time."""
    chain, state, heads = text[-2:].tolist(), states[0, -1], part.attention.heads
    while len(chain) < 2 + part.n:
        items = [part.item_norm(unembedding[token] + part.gain * state) for token in chain]
        query, *rest = (part.attention.query_key_value(item).view(3, heads, -1) for item in reversed(items))
        keys = [query, *rest]  # nearest first
        mixed = []
        for head in range(heads):
            scores = [query[0, head] @ key[1, head] / query.shape[-1] ** 0.5 + part.attention.bias[head, distance]
                      for distance, key in enumerate(keys)]  # fmt: skip
            weights = torch.stack(scores).softmax(dim=0)
            mixed.append(sum(weight * key[2, head] for weight, key in zip(weights, keys, strict=True)))
        output = part.output_norm(part.attention.output(torch.cat(mixed)) + state)
        chain.append(int((unembedding @ output).argmax()))
    return chain[2:]


def by_rollout(part: Any, states: Tensor, text: Tensor, unembedding: Tensor) -> list[int]:
    """Move the last state on by the text's last token, and then by what it foretells."""
    state, token, guesses = states[0, -1], int(text[-1]), list[int]()
    for _ in range(part.steps):
        inside = part.dynamics.norm(torch.cat([unembedding[token], state]))
        for layer in (part.dynamics.expand, part.dynamics.middle):
            inside = torch.nn.functional.gelu(layer(inside))
        state = state + part.dynamics.output(inside)
        token = int((unembedding @ state).argmax())
        guesses.append(token)
    return guesses


NAIVE = {"sequential_modules": by_the_chain, "joint_multi_token": by_joint_chain, "next_latent": by_rollout}


GUESSING = [spec for spec in HEADS if spec != {"name": "multi_token", "n": 1} and spec.get("rest") != 0]


@pytest.mark.parametrize("spec", GUESSING, ids=name_of)
@given(length=st.integers(1, 8), cuts=st.lists(st.integers(1, 7), max_size=4), seed=st.integers(0, 99))
def test_guesses_do_not_depend_on_how_the_text_came(
    spec: dict[str, Any], length: int, cuts: list[int], seed: int
) -> None:
    model = text_model("baseline", seed)
    drafting = drafting_of(model, spec)
    naive = NAIVE.get(spec["name"], by_parallel_heads)
    text, states = random_tokens(model, 1, length + 1, seed)[0], torch.randn(1, length, 16, dtype=torch.float64)
    drafter = drafting.drafter(model)
    with torch.inference_mode():
        for start, end in pieces(length, cuts):
            guesses = drafter.guess(states[:, start:end], text[: end + 1])
            expected = naive(drafting.objective, states[:, :end], text[: end + 1], model.unembedding)
            assert guesses.tolist() == expected


def test_a_cache_forgets() -> None:
    cache, whole = LayerCache(6), LayerCache(6)
    keys = torch.randn(2, 1, 6, 1, 3)
    cache.extended(*keys[:, :, :4])
    cache.truncate(2)
    assert cache.length == 2
    found = cache.extended(*keys[:, :, 2:5])
    assert all(torch.equal(*pair) for pair in zip(found, whole.extended(*keys[:, :, :5]), strict=True))
    cache.truncate(9)
    assert cache.length == 5


@given(pieces_of=st.lists(st.integers(1, CACHE_STEP + 3), min_size=1, max_size=4))
def test_a_cache_keeps_what_it_held_when_it_grows(pieces_of: list[int]) -> None:
    length = sum(pieces_of)
    keys, cache = torch.randn(2, length, 3, 4), LayerCache(length)
    for piece in keys.split(pieces_of, dim=1):
        found, doubled = cache.extended(piece, 2 * piece)
        assert torch.equal(found, keys[:, : cache.length])
        assert torch.equal(doubled, 2 * found)
    assert cache.length == length


@pytest.mark.parametrize(
    ("prompt", "count", "said"),
    [([], 3, "the prompt is empty"), ([1, 99], 3, "the token id 99 is not in the vocabulary"), ([1], 0, "at least 1")],
)
def test_mistakes_are_named(prompt: list[int], count: int, said: str) -> None:
    model = small_model()
    with pytest.raises(UserError, match=said):
        speculate(model, drafting_of(model, HEADS[1]), prompt, count)


def test_modes_are_as_before_and_a_diverged_model_is_named() -> None:
    model = small_model().train()
    drafting = drafting_of(model, HEADS[1])
    speculate(model, drafting, [1, 2], 3)
    assert model.training
    assert drafting.objective.training
    with torch.no_grad():
        model.unembedding[0, 0] = torch.nan
    with pytest.raises(UserError, match="not finite"):
        speculate(model, drafting, [1, 2], 3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder whose second objective can draft."""
    folder = tmp_path_factory.mktemp("speculative")
    spec = ["token_order", {"name": "multi_token", "n": 3}]
    changes = {"training__steps": 60, "evaluation__every": 60, "model__context": 32, "training__learning_rate": 3e-3}
    config = run_of(write_text(folder / "text"), objective=spec, **changes)
    Trainer(config, source_of(config), folder / "run").run()
    return folder / "run"


def test_a_checkpoint_gives_back_the_heads(trained: Path) -> None:
    loaded, drafting = load_with_drafting(trained)
    weights = read_checkpoint(trained / CHECKPOINT_FILE).part("objective.parts.multi_token")
    state = drafting.objective.state_dict()
    assert state.keys() == weights.keys()
    assert all(torch.equal(state[name], weight) for name, weight in weights.items())
    assert drafting.place == "decoder"
    assert not drafting.objective.training
    prompt = loaded.tokenizer.encode("the model ")
    found = speculate(loaded.model, drafting, prompt, 20)
    assert found.tokens.tolist() == generate(loaded.model, prompt, 20, temperature=0)[0].tolist()


def test_the_command_says_the_text_and_what_it_took(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command(trained, prompt="the model ", tokens=12, temperature=0.0)
    plain = capsys.readouterr()
    command(trained, prompt="the model ", tokens=12, temperature=0.0, speculative=True)
    drafted = capsys.readouterr()
    assert drafted.out == plain.out
    assert re.fullmatch(
        r"12 tokens in \d+ forward passes: \d\.\d\d a pass, \d+ of \d+ drafted tokens accepted\n", drafted.err
    )
    command(trained, prompt="the model ", tokens=12, speculative=True)
    assert capsys.readouterr() == drafted


@pytest.mark.parametrize(
    ("options", "said"),
    [({"temperature": 0.5}, "--temperature 0.5"), ({"top_k": 3}, "--top-k 3"), ({"top_p": 0.9}, "--top-p 0.9")],
)
def test_sampling_with_drafts_is_refused(trained: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"^--speculative always takes the likeliest token: leave out {said}$"):
        command(trained, prompt="the model ", tokens=12, speculative=True, **options)


def rewritten(folder: Path, trained: Path, about: Callable[[dict[str, Any]], object]) -> Path:
    """Write the checkpoint again with other metadata."""
    checkpoint = read_checkpoint(trained / CHECKPOINT_FILE)
    about(checkpoint.about)
    content = {key: value for key, value in checkpoint.about.items() if key != "format"}
    write_tensors(folder / CHECKPOINT_FILE, content, checkpoint.part("model"), checkpoint.part("objective"))
    return folder


def test_a_run_without_heads_and_an_older_checkpoint_are_named(tmp_path: Path, trained: Path) -> None:
    other = rewritten(tmp_path, trained, lambda about: about.update(objective=about["objective"][:1]))
    with pytest.raises(UserError, match=r"none of this run's objectives \(token_order\) can draft tokens; train with"):
        load_with_drafting(other)
    older = rewritten(tmp_path, trained, lambda about: about.pop("objective"))
    with pytest.raises(UserError, match=r"this checkpoint does not say which objectives its run had"):
        load_with_drafting(older)
    assert load_trained(older).model.vocabulary == 257
