"""Our tokenizers as `transformers` tokenizers that give the same ids."""

from __future__ import annotations

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from deepsight.data.byte_pairs import BytePairs
from deepsight.data.tasks.words import Words
from deepsight.data.tokenizers import END_OF_TEXT
from deepsight.data.tokenizers import Tokenizer as OurTokenizer


def as_transformers(tokenizer: OurTokenizer, context: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose ids are those of ours, of a model that sees `context` tokens.

    Inside a text `<|endoftext|>` is ordinary text to ours, and the end of a text to `transformers`.
    """
    if isinstance(tokenizer, Words):
        return PreTrainedTokenizerFast(tokenizer_object=_words(tokenizer), model_max_length=context)
    inner = _byte_pairs(tokenizer) if isinstance(tokenizer, BytePairs) else _bytes()
    inner.add_special_tokens([AddedToken(END_OF_TEXT, normalized=False, special=True)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        model_max_length=context,
    )


def _words(tokenizer: Words) -> Tokenizer:
    inner = Tokenizer(models.WordLevel({word: id_ for id_, word in enumerate(tokenizer.words)}))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return inner


def _byte_pairs(tokenizer: BytePairs) -> Tokenizer:
    inner = _with_bytes(tokenizer.ranks)
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(tokenizer.pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return inner


def _bytes() -> Tokenizer:
    inner = _with_bytes({bytes([byte]): byte for byte in range(256)})
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return inner


def _with_bytes(ranks: dict[bytes, int]) -> Tokenizer:
    letters = bytes_to_unicode()

    def written(string: bytes) -> str:
        return "".join(letters[byte] for byte in string)

    merges = [(written(left), written(right)) for left, right in merges_of(ranks)]
    inner = Tokenizer(models.BPE({written(string): rank for string, rank in ranks.items()}, merges))
    inner.decoder = decoders.ByteLevel()
    return inner


def merges_of(ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """Return which two strings each longer string is merged from, in the order in which merges are made.

    Ranks alone say what may be merged and when, not from what: any two known halves of a string may meet.
    """
    return [
        (string[:cut], string[cut:])
        for string in sorted(ranks, key=ranks.__getitem__)
        for cut in range(1, len(string))
        if string[:cut] in ranks and string[cut:] in ranks
    ]
