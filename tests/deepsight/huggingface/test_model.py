"""A network inside `transformers` says what it says outside."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from deepsight.errors import UserError
from deepsight.generation import generate
from deepsight.huggingface.folder import as_pretrained
from deepsight.huggingface.model import DeepSightConfig, DeepSightForCausalLM
from tests.models import ARCHITECTURES, lively, random_tokens, small_model

END = 30
TOLERANCE = 1e-5
"""Of logits, relative to the largest: what another order of additions may change in float32."""

KINDS: list[dict[str, Any]] = [
    {"architecture": name, "positions": positions}
    for name in ARCHITECTURES
    for positions in ("learned", "rotary")
    if (name, positions) != ("encoder_decoder", "rotary")
]
KINDS += [
    {"architecture": {"name": "encoder_decoder", "add_positions": True, "subtract_positions": "normed"}},
    {"architecture": {"name": "encoder_decoder", "attention_order": "cross_first", "bridge_norm": True}},
    {"layers": [1, 3], "cross_heads": 4, "feed_forward": 24},
]


def pair(kind: dict[str, Any]) -> tuple[Any, Any]:
    """Return a network and the same as a model of transformers; weights are such that all parts matter."""
    ours = lively(small_model(**kind)).eval()
    return ours, as_pretrained(ours, END)


def assert_close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=0, atol=TOLERANCE * float(wanted.abs().max()))


@pytest.mark.parametrize("kind", KINDS, ids=str)
class TestEveryKind:
    def test_logits_are_equal_after_a_round_through_a_folder(self, kind, tmp_path):
        ours, exported = pair(kind)
        exported.save_pretrained(tmp_path)
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
        tokens = random_tokens(ours, batch=3, time=12)
        with torch.no_grad():
            assert_close(loaded(tokens).logits, ours.logits(tokens))

    @pytest.mark.parametrize("use_cache", [True, False])
    def test_greedy_generation_is_equal(self, kind, use_cache):
        ours, exported = pair(kind)
        prompt = random_tokens(ours, batch=3, time=4)
        wanted = generate(ours, prompt, 8, temperature=0)
        mask = torch.ones_like(prompt)
        found = exported.generate(
            prompt, attention_mask=mask, max_new_tokens=8, do_sample=False, eos_token_id=None, use_cache=use_cache
        )
        assert torch.equal(found[:, 4:], wanted)

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_padding_changes_no_logits(self, kind, side):
        ours, exported = pair(kind)
        if side == "left" and exported.config.model_type == "gpt2":
            pytest.skip("a plain GPT-2 takes the places of left-padded tokens from its caller")
        rows = [random_tokens(ours, batch=1, time=time, seed=time)[0] for time in (7, 3, 1)]
        padded, mask = torch.full((3, 7), END), torch.zeros(3, 7, dtype=torch.long)
        for number, row in enumerate(rows):
            place = slice(7 - len(row), 7) if side == "left" else slice(0, len(row))
            padded[number, place], mask[number, place] = row, 1
        with torch.no_grad():
            logits = exported(padded, attention_mask=mask).logits
            for number, row in enumerate(rows):
                assert_close(logits[number][mask[number].bool()], ours.logits(row[None])[0])

    def test_rows_of_several_lengths_generate_as_alone(self, kind):
        ours, exported = pair(kind)
        rows = [random_tokens(ours, batch=1, time=time, seed=time)[0] for time in (6, 2)]
        padded = torch.stack([rows[0], torch.cat([torch.full((4,), END), rows[1]])])
        mask = torch.tensor([[1] * 6, [0] * 4 + [1] * 2])
        found = exported.generate(padded, attention_mask=mask, max_new_tokens=5, do_sample=False, eos_token_id=None)
        for number, row in enumerate(rows):
            assert torch.equal(found[number, 6:], generate(ours, row, 5, temperature=0)[0])


def test_a_baseline_with_learned_positions_is_a_plain_gpt2():
    _, exported = pair({"architecture": "baseline"})
    assert type(exported).__name__ == "GPT2LMHeadModel"


def test_the_loss_is_that_of_the_next_label():
    ours, exported = pair({})
    tokens = random_tokens(ours, batch=2, time=9)
    labels = tokens.clone()
    labels[0, :4] = -100
    losses = [
        -float(ours.logits(tokens).log_softmax(-1)[row, t, tokens[row, t + 1]])
        for row in range(2)
        for t in range(8)
        if row or t + 1 >= 4
    ]
    assert exported(tokens, labels=labels).loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


@given(keep=st.integers(0, 9))
def test_only_the_logits_that_are_wanted_are_made(keep: int):
    ours, exported = pair({})
    tokens = random_tokens(ours, batch=2, time=9)
    with torch.no_grad():
        assert_close(exported(tokens, logits_to_keep=keep).logits, exported(tokens).logits[:, -keep:])


def test_a_text_longer_than_the_context_is_refused():
    ours, exported = pair({})
    with pytest.raises(UserError, match="sees 12 tokens at most, not 13"):
        exported(random_tokens(ours, batch=1, time=13))
    with pytest.raises(UserError, match="sees 12 tokens at most, not 13"):
        exported.generate(random_tokens(ours, batch=1, time=12), max_new_tokens=3, do_sample=False, eos_token_id=None)


def test_the_classical_encoder_decoder_is_refused():
    with pytest.raises(UserError, match=r"canonical predicts from the token 7 .* after every token"):
        DeepSightConfig.of(small_model("canonical"))


def test_weights_that_no_folder_gives_start_as_ours_do():
    fresh = DeepSightForCausalLM(DeepSightConfig.of(small_model("deepsight", vocabulary=500, width=64)))
    token = fresh.network.embedding.token.weight
    assert float(token.std()) == pytest.approx(0.02, rel=0.05)
    assert float(fresh.network.decoder[0].feed_forward.output.weight.std()) == pytest.approx(0.01, rel=0.05)
    assert torch.equal(fresh.network.final_norm.weight, torch.ones(64))


def test_it_learns_in_transformers_way():
    _, exported = pair({})
    optimizer = torch.optim.SGD(exported.parameters(), lr=0.01)
    tokens = random_tokens(exported.network, batch=4, time=12)
    losses = []
    exported.train()
    for _ in range(5):
        loss = exported(tokens, labels=tokens).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
