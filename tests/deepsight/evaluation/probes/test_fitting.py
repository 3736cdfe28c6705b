"""Probes on states whose law is known."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from deepsight.evaluation.probes.examples import SELECT, TEST, TRAIN
from deepsight.evaluation.probes.fitting import Data, Heads, descended, discriminant, measured, on_test_part
from deepsight.trace import IGNORED

POSITIONS, WIDTH, CLASSES = 4000, 8, 5


def nothing() -> None:
    pass


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.empty(*shape).normal_(generator=torch.Generator().manual_seed(seed))


def parts(positions: int = POSITIONS) -> torch.Tensor:
    return torch.tensor([TRAIN, TRAIN, TRAIN, SELECT, TEST]).repeat(positions // 5)


def classes(offsets: int = 1, seed: int = 1, positions: int = POSITIONS) -> torch.Tensor:
    """Return classes of which the first is the most frequent and the last, that of other tokens, rare."""
    shares = torch.tensor([0.4, 0.2, 0.2, 0.15, 0.05])
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial(shares, positions * offsets, replacement=True, generator=generator).view(-1, offsets)


def entropy(targets: torch.Tensor) -> float:
    """Return the cross-entropy of the test targets by the training part's frequencies."""
    shares = torch.bincount(targets[parts() == TRAIN, 0], minlength=CLASSES).double()
    return float(-(shares / shares.sum()).log()[targets[parts() == TEST, 0]].mean())


def trained(data: Data, hidden: int | None = None) -> Heads:
    linear = descended(discriminant(data), data, 0, nothing)
    return linear if hidden is None else descended(linear.with_hidden(hidden, 1), data, 2, nothing)


def test_noise_gives_what_the_frequencies_give() -> None:
    targets = classes()
    data = Data(noise(POSITIONS, WIDTH), targets, parts(), CLASSES).standardised()
    for hidden in (None, 16):
        nats, accuracy = on_test_part(trained(data, hidden), data)
        assert float(nats) == pytest.approx(entropy(targets), abs=0.01)
        share = (targets[parts() == TEST] == 0).double().mean()
        assert float(accuracy) == pytest.approx(float(share), abs=0.02)


def test_what_is_written_in_a_state_is_read_and_at_no_other_distance() -> None:
    targets = classes(offsets=3)
    states = torch.cat([F.one_hot(targets[:, 1], CLASSES).float(), noise(POSITIONS, 3)], dim=1)
    data = Data(states, targets, parts(), CLASSES).standardised()
    nats, accuracy = on_test_part(trained(data), data)
    # The class of all other tokens is never named.
    named = float((targets[parts() == TEST, 1] < CLASSES - 1).double().mean())
    assert float(accuracy[1]) == pytest.approx(named)
    assert float(nats[1]) < 0.01
    for at in (0, 2):
        assert float(nats[at]) == pytest.approx(entropy(targets[:, [at]]), abs=0.02)
    again = on_test_part(trained(data.shuffled(0)), data)[0]
    assert [float(one) for one in again] == pytest.approx([entropy(targets[:, [at]]) for at in range(3)], abs=0.02)


def test_only_a_network_reads_what_no_line_divides() -> None:
    states = noise(POSITIONS, WIDTH)
    targets = ((states[:, 0] > 0) ^ (states[:, 1] > 0)).long()[:, None]
    data = Data(states, targets, parts(), 3).standardised()
    assert float(on_test_part(trained(data), data)[1]) < 0.6
    assert float(on_test_part(trained(data, 32), data)[1]) > 0.85


def test_a_discriminant_comes_near_the_true_posterior() -> None:
    targets = classes(positions=20_000)
    means = 1.5 * noise(CLASSES, WIDTH, seed=3)
    mixing = noise(WIDTH, WIDTH, seed=4)
    states = (means[targets[:, 0]] + noise(20_000, WIDTH)) @ mixing
    data = Data(states, targets, parts(20_000), CLASSES).standardised()
    log_shares = torch.tensor([0.4, 0.2, 0.2, 0.15, 0.05]).log()
    unmixed = (states @ torch.linalg.inv(mixing))[data.parts == TEST]
    true = (log_shares - (unmixed[:, None] - means).square().sum(dim=-1) / 2).log_softmax(dim=-1)
    best = float(F.nll_loss(true, targets[data.parts == TEST, 0]))
    assert float(on_test_part(discriminant(data), data)[0]) == pytest.approx(best, abs=0.02)
    assert float(on_test_part(trained(data), data)[0]) == pytest.approx(best, abs=0.02)


def test_losses_and_accuracies_are_those_of_a_loop() -> None:
    targets = classes(offsets=2, positions=50)
    targets[::7, 0] = IGNORED
    states, weights = noise(50, WIDTH), {"W": noise(2, WIDTH, CLASSES, seed=5), "b": noise(2, 1, CLASSES, seed=6)}
    hidden = {"U": noise(2, WIDTH, 3, seed=7), "c": noise(2, 1, 3, seed=8), "V": noise(2, 3, CLASSES, seed=9)}
    nats, accuracy = measured(Heads(weights | hidden), states, targets)
    for at in range(2):
        losses, right = [], []
        for state, target in zip(states, targets[:, at].tolist(), strict=True):
            inner = F.gelu(state @ hidden["U"][at] + hidden["c"][at, 0])
            logits = state @ weights["W"][at] + weights["b"][at, 0] + inner @ hidden["V"][at]
            if target != IGNORED:
                losses.append(float(torch.logsumexp(logits, 0) - logits[target]))
                right.append(int(logits[:-1].argmax()) == target)
        assert float(nats[at]) == pytest.approx(sum(losses) / len(losses), rel=1e-5)
        assert float(accuracy[at]) == pytest.approx(sum(right) / len(right))


def test_the_same_seed_gives_the_same_probe_and_a_dimension_that_is_constant_nothing() -> None:
    targets = classes(offsets=2)
    states = noise(POSITIONS, WIDTH)
    states[:, 0] += targets[:, 0]
    states[:, 1] = 3 + 1e-9 * states[:, 1]
    data = Data(states, targets, parts(), CLASSES).standardised()
    assert float(data.states[:, 1].abs().max()) < 0.1
    chosen = data.states[data.parts == TRAIN]
    assert chosen.mean(dim=0).abs().max() < 1e-4
    assert [float(one) for one in chosen[:, 2:].std(dim=0)] == pytest.approx([1.0] * (WIDTH - 2), abs=1e-4)
    first, second = trained(data, 8), trained(data, 8)
    assert all(torch.equal(weight, second.weights[name]) for name, weight in first.weights.items())
    assert float(on_test_part(first, data)[0][0]) < entropy(targets) - 0.1 * math.log(2)


def test_shuffling_moves_targets_within_their_part_and_leaves_the_test_alone() -> None:
    data = Data(noise(50, 2), torch.arange(100).view(50, 2), parts(50), 100)
    shuffled = data.shuffled(3)
    for part in (TRAIN, SELECT, TEST):
        rows, moved = data.part(part)[1].tolist(), shuffled.part(part)[1].tolist()
        assert sorted(moved) == sorted(rows)
        assert (moved == rows) == (part == TEST)
    assert torch.equal(data.shuffled(3).targets, shuffled.targets)
