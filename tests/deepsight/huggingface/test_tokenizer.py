"""Tokenizers of `transformers` give the ids of ours, and the text again."""

from __future__ import annotations

import functools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deepsight.data.tasks.words import Words
from deepsight.data.tokenizers import END_OF_TEXT, Tokenizer, fixed_tokenizer, train_tokenizer
from deepsight.huggingface.tokenizer import as_transformers, merges_of

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(" \n\t'aAéß中1 .!,\u00a0\u2028", min_size=1),
    st.lists(st.sampled_from(["the ", "model's ", "  reads\n\n", "12345", "... ", "DON'T", "naïve"])).map("".join),
).filter(lambda text: END_OF_TEXT not in text)


@functools.cache
def ours(name: str) -> Tokenizer:
    if name.startswith("bpe"):
        return train_tokenizer(
            name, ["the model reads what it's told; don't ask why, naïve as 12345 models are.\n"] * 9
        )
    return fixed_tokenizer(name)


@functools.cache
def theirs(name: str):
    return as_transformers(ours(name), context=64)


@pytest.mark.parametrize("name", ["gpt2", "bytes", "bpe:300"])
class TestText:
    @given(text=TEXTS)
    @example(text="")
    @example(text="  two  blanks   three\n\n\n")
    @example(text="\u0085\u200b\ufeff")
    def test_ids_are_equal(self, name: str, text: str):
        assert theirs(name)(text, verbose=False)["input_ids"] == ours(name).encode(text)

    @given(text=TEXTS)
    def test_the_text_comes_back(self, name: str, text: str):
        assert theirs(name).decode(ours(name).encode(text)) == text

    def test_the_end_of_text_is_the_same_id(self, name: str):
        assert theirs(name).eos_token_id == ours(name).end_of_text
        assert len(theirs(name)) == ours(name).vocabulary
        assert theirs(name).model_max_length == 64


def test_the_words_of_a_task_keep_their_ids():
    tokenizer = Words(["a", "<goal>", "7", "|"])
    exported = as_transformers(tokenizer, context=8)
    assert exported("| a 7 <goal> 7")["input_ids"] == tokenizer.encode("| a 7 <goal> 7")
    assert exported.decode([3, 0, 2]) == "| a 7"
    assert exported.eos_token is None


def test_merges_come_in_the_order_of_their_ranks():
    ranks = {b"a": 0, b"b": 1, b"ab": 2, b"ba": 3, b"aba": 4}
    assert merges_of(ranks) == [(b"a", b"b"), (b"b", b"a"), (b"a", b"ba"), (b"ab", b"a")]
