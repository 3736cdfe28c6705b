import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deepsight.data.batches import Batch, BatchDigest, Batches, ValidationWindows
from deepsight.data.packed import Tokens
from deepsight.errors import UserError
from deepsight.random_streams import derive
from deepsight.trace import IGNORED


def counting(length: int) -> Tokens:
    """Tokens that tell their own position."""
    return np.arange(length, dtype="<u2")


sizes = st.tuples(st.integers(1, 12), st.integers(2, 400)).filter(lambda drawn: drawn[1] > drawn[0])


def naive_sequence(tokens: Tokens, context: int, seed: int, number: int) -> list[int]:
    """The definition, written out: one epoch after the other, and nothing remembered."""
    windows = max(1, (len(tokens) - 1) // context - 1)
    epoch, position = number // windows, number % windows
    generator = np.random.RandomState(np.random.MT19937(derive(seed, "batches", epoch)))
    offset = generator.randint(0, min(context - 1, len(tokens) - 1 - windows * context) + 1)
    first = offset + context * int(generator.permutation(windows)[position])
    return [int(token) for token in tokens[first : first + context + 1]]


@given(drawn=sizes, batch_size=st.integers(1, 9), seed=st.integers(0, 2**40), step=st.integers(0, 30))
def test_a_batch_is_what_the_definition_says(drawn: tuple[int, int], batch_size: int, seed: int, step: int) -> None:
    context, length = drawn
    tokens = counting(length)
    inputs, targets, _ = Batches(tokens, context=context, batch_size=batch_size, seed=seed)(step)
    expected = [naive_sequence(tokens, context, seed, step * batch_size + j) for j in range(batch_size)]
    assert inputs.tolist() == [sequence[:-1] for sequence in expected]
    assert targets.tolist() == [sequence[1:] for sequence in expected]
    assert inputs.shape == targets.shape == (batch_size, context)
    assert inputs.dtype == targets.dtype == torch.int64
    assert inputs.is_contiguous()
    assert targets.is_contiguous()


@given(drawn=sizes, seed=st.integers(0, 9), epoch=st.integers(0, 5))
def test_an_epoch_shows_each_window_once(drawn: tuple[int, int], seed: int, epoch: int) -> None:
    context, length = drawn
    batches = Batches(counting(length), context=context, batch_size=1, seed=seed)
    firsts = [int(batches(epoch * batches.windows + step)[0][0, 0]) for step in range(batches.windows)]
    in_order = sorted(firsts)
    assert all(after - before == context for before, after in itertools.pairwise(in_order))
    assert in_order[0] < max(context, 1)
    assert in_order[-1] + context < length
    assert length - 1 - batches.windows * context < 2 * context


@given(steps=st.lists(st.integers(0, 60), min_size=1, max_size=20))
def test_the_order_of_asking_changes_nothing(steps: list[int]) -> None:
    one = Batches(counting(100), context=5, batch_size=4, seed=3)
    for step in steps:
        assert torch.equal(one(step)[0], Batches(counting(100), context=5, batch_size=4, seed=3)(step)[0])


@given(drawn=sizes, batch_size=st.integers(1, 5), seed=st.integers(0, 99), later=st.integers(1, 20))
def test_later_tokens_lie_beside_windows_that_do_not_change(
    drawn: tuple[int, int], batch_size: int, seed: int, later: int
) -> None:
    """They come after each row's last target, as far as the split goes; the digest knows nothing of them."""
    context, length = drawn
    tokens = counting(length)
    plain, extended = (
        Batches(tokens, context=context, batch_size=batch_size, seed=seed, later=count) for count in (0, later)
    )
    digests = BatchDigest(), BatchDigest()
    assert plain.windows == extended.windows
    for step in range(3):
        batch, long = plain(step), extended(step)
        assert batch.later is None
        assert long.later is not None
        assert torch.equal(batch.inputs, long.inputs)
        assert torch.equal(batch.targets, long.targets)
        assert_later(long, length, later)
        for digest, shown in zip(digests, (batch, long), strict=True):
            digest.update(shown.inputs)
    assert digests[0].hexdigest() == digests[1].hexdigest()


@given(drawn=sizes, count=st.none() | st.integers(1, 50), batch_size=st.integers(1, 9), later=st.integers(1, 20))
def test_later_tokens_move_no_validation_window(
    drawn: tuple[int, int], count: int | None, batch_size: int, later: int
) -> None:
    context, length = drawn
    tokens = counting(length)
    plain = ValidationWindows(tokens, context=context, count=count)
    extended = ValidationWindows(tokens, context=context, count=count, later=later)
    assert plain.starts.tolist() == extended.starts.tolist()
    for batch, long in zip(plain.batches(batch_size), extended.batches(batch_size), strict=True):
        assert batch.later is None
        assert torch.equal(batch.inputs, long.inputs)
        assert torch.equal(batch.targets, long.targets)
        assert_later(long, length, later)


def assert_later(batch: Batch, length: int, later: int) -> None:
    """Check what lies beside windows of tokens that tell their own position, in a split of `length` tokens."""
    assert batch.later is not None
    assert batch.later.shape == (len(batch.inputs), later)
    assert batch.later.dtype == torch.int64
    for targets, row in zip(batch.targets.tolist(), batch.later.tolist(), strict=True):
        after = range(targets[-1] + 1, targets[-1] + 1 + later)
        assert row == [position if position < length else IGNORED for position in after]


def test_a_batch_keeps_its_later_tokens_on_its_way_to_a_device() -> None:
    moved = Batches(counting(40), context=5, batch_size=2, seed=0, later=3)(0).to(torch.device("cpu"))
    assert moved.later is not None
    assert_later(moved, 40, 3)
    assert Batches(counting(40), context=5, batch_size=2, seed=0)(0).to(torch.device("cpu")).later is None


def test_another_batch_size_shows_the_same_sequences() -> None:
    def shown(batch_size: int) -> list[list[int]]:
        batches = Batches(counting(500), context=7, batch_size=batch_size, seed=1)
        return [row for step in range(120 // batch_size) for row in batches(step)[0].tolist()]

    assert shown(1) == shown(4) == shown(24) == shown(120)


def test_seeds_and_epochs_have_orders_and_offsets_of_their_own() -> None:
    def epoch(seed: int, number: int) -> list[int]:
        batches = Batches(counting(5000), context=16, batch_size=1, seed=seed)
        first = number * batches.windows
        return [int(batches(step)[0][0, 0]) for step in range(first, first + batches.windows)]

    epochs = [epoch(seed, number) for seed in range(3) for number in range(4)]
    assert len({tuple(one) for one in epochs}) == len(epochs)
    assert len({min(one) for one in epochs}) > 4
    assert all(one != sorted(one) for one in epochs)


def test_the_order_never_changes() -> None:
    inputs, _, _ = Batches(counting(1000), context=4, batch_size=3, seed=0)(0)
    assert inputs[:, 0].tolist() == [691, 979, 539]


@pytest.mark.parametrize("length", [0, 1, 8])
def test_too_few_tokens_are_one_sentence(length: int) -> None:
    with pytest.raises(UserError, match=rf"the training split has {length} tokens, too few for a context of 8"):
        Batches(counting(length), context=8, batch_size=1, seed=0)
    with pytest.raises(UserError, match=rf"the validation split has {length} tokens, too few for a context of 8"):
        ValidationWindows(counting(length), context=8, count=1)
    Batches(counting(9), context=8, batch_size=2, seed=0)(5)


@given(drawn=sizes, count=st.none() | st.integers(1, 50), batch_size=st.integers(1, 9))
def test_validation_windows_are_fixed_apart_and_spread(
    drawn: tuple[int, int], count: int | None, batch_size: int
) -> None:
    context, length = drawn
    tokens = counting(length)
    windows = ValidationWindows(tokens, context=context, count=count)
    available = (length - 1) // context
    assert len(windows) == (available if count is None else min(count, available))
    pairs = list(windows.batches(batch_size))
    inputs, targets = (torch.cat([pair[side] for pair in pairs]) for side in (0, 1))
    assert inputs.shape == (len(windows), context)
    assert len(pairs) == -(-len(windows) // batch_size)
    assert all(len(pair[0]) <= batch_size for pair in pairs)
    # Each batch reaches from one end of the split to the other, as far as there are windows for it.
    for first, pair in enumerate(pairs):
        assert pair[0][:, 0].tolist() == windows.starts[first :: len(pairs)].tolist()
    assert torch.equal(targets, inputs + 1)
    assert torch.unique(inputs).numel() == inputs.numel()
    gaps = np.diff(windows.starts)
    if len(gaps):
        assert gaps.max() - gaps.min() <= context
        assert windows.starts[-1] >= (length - 1) - context - available / len(windows) * context - context
    if count is None:
        assert sorted(inputs.flatten().tolist()) == list(range(available * context))


def test_the_digest_goes_on_where_it_stood_and_ignores_batching() -> None:
    rows = torch.arange(60).reshape(12, 5)
    whole = BatchDigest()
    assert whole.hexdigest() == ""
    whole.update(rows)
    resumed = BatchDigest()
    resumed.update(rows[:7])
    resumed = BatchDigest(resumed.hexdigest())
    for row in rows[7:]:
        resumed.update(row[None])
    assert resumed.hexdigest() == whole.hexdigest()
    assert len(whole.hexdigest()) == 64
    changed = rows.clone()
    changed[0, 0] += 1
    for other in (rows.flip(0), rows[:-1], rows + 1, changed):
        different = BatchDigest()
        different.update(other)
        assert different.hexdigest() != whole.hexdigest()
