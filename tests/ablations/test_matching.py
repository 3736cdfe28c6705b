"""Arms of equal size: over random shapes, against the built model's own count and against formulas by hand."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ablations.matching import ModelMatch, matched_model, model_match
from ablations.sizes import Solved, inference_parameters
from deepsight.building import build_model
from deepsight.config import ModelConfig, RunConfig
from deepsight.counting import cost_of
from deepsight.errors import UserError
from tests.ablations.closed_forms import parameters, random_pair, training_flops
from tests.runs import run_of

SOLVED: tuple[Solved, ...] = ("width", "depth", "feed_forward")
WITHIN = 0.01


def with_model(config: RunConfig, model: ModelConfig, **changes: Any) -> RunConfig:
    return config.model_copy(update={"model": model.model_copy(update=changes)})


def head_counts(width: int, written: int, heads: int, least: int) -> list[int]:
    """Return every number of heads that divides a width into heads near the written ones in width."""
    wanted = max(least, written / heads)
    possible = (n for n in range(1, width + 1) if width % n == 0 and width / n >= least)
    return [n for n in possible if 0.75 - 1e-9 <= width / n / wanted <= 4 / 3 + 1e-9]


def feasible(config: RunConfig, solve: str) -> Iterator[RunConfig]:
    """Return every run that matching may choose from, with feed-forward layers as they are written."""
    model = config.model
    least = 2 if model.positions == "rotary" else 1
    if solve == "feed_forward":
        yield config
    if solve == "width":
        for width in range(least, 2 * model.width + 40):
            heads = head_counts(width, model.width, model.heads, least)
            cross = head_counts(width, model.width, model.cross_heads or model.heads, least)
            if heads and cross:
                yield with_model(config, model, width=width, heads=heads[0])
    if solve == "depth":
        for depth in range(1, 100):
            if isinstance(model.layers, int):
                yield with_model(config, model, layers=depth)
            elif depth > 1:
                first = math.floor(depth * model.layers[0] / sum(model.layers) + 0.5)
                first = min(max(first, 1), depth - 1)
                yield with_model(config, model, layers=[first, depth - first])


def nearest(config: RunConfig, solve: str, target: int, size: Callable[[RunConfig], float]) -> float:
    """Return the smallest residual that fine-tuning allows on a run."""
    width = config.model.width
    low, high = (1, 10**6) if solve == "feed_forward" else (3 * width, 5 * width)
    if solve != "feed_forward" and config.model.feed_forward is not None:
        return abs(size(config) / target - 1)
    at = [size(with_model(config, config.model, feed_forward=inner)) for inner in (low, low + 1)]
    best = round(low + (target - at[0]) / (at[1] - at[0]))
    tried = (min(max(inner, low), high) for inner in (best - 1, best, best + 1))
    return min(abs(size(with_model(config, config.model, feed_forward=inner)) / target - 1) for inner in tried)


def check_heads(solved: ModelConfig, written: ModelConfig) -> None:
    least = 2 if written.positions == "rotary" else 1
    pairs = [(solved.heads, written.heads)]
    if written.cross_heads is not None:
        assert solved.cross_heads is not None
        pairs.append((solved.cross_heads, written.cross_heads))
    else:
        assert solved.cross_heads is None
    for found, before in pairs:
        assert solved.width % found == 0
        wanted = max(least, written.width / before)
        allowed = head_counts(solved.width, written.width, before, least)
        assert found in allowed
        assert abs(solved.width / found - wanted) == min(abs(solved.width / heads - wanted) for heads in allowed)


def check_what_changed(solved: ModelConfig, written: ModelConfig, solve: str) -> None:
    """Only what is solved differs, and a feed-forward width that is written stays."""
    changed = {key for key in ModelConfig.model_fields if getattr(solved, key) != getattr(written, key)}
    own = {"width": {"width", "heads", "cross_heads"}, "depth": {"layers"}, "feed_forward": set()}[solve]
    tuned = {"feed_forward"} if solve == "feed_forward" or written.feed_forward is None else set()
    assert changed <= own | tuned
    if solve != "feed_forward" and solved.feed_forward not in (None, written.feed_forward):
        assert 3 * solved.width <= solved.feed_forward <= 5 * solved.width


@pytest.mark.parametrize(
    ("solve", "cases", "layers", "least"),
    [("width", 500, 1, 350), ("depth", 100, 3, 40), ("feed_forward", 400, 1, 250)],
)
def test_over_a_thousand_random_shapes_the_built_model_has_what_was_asked_for(
    solve: Solved, cases: int, layers: int, least: int
) -> None:
    """Where nothing is found, no allowed shape is within the tolerance."""
    draw = random.Random(f"shapes {solve}")
    match, solved = ModelMatch(by="parameters", within=WITHIN, solve=solve), 0
    for case in range(cases):
        config, target = random_pair(draw, parameters, layers)
        wanted = parameters(target)
        try:
            found = matched_model(config, target, match)
        except UserError:
            runs = list(feasible(config, solve))
            assert not runs or min(nearest(run, solve, wanted, parameters) for run in runs) > WITHIN, case
            continue
        solved += 1
        own = with_model(config, found.model)
        count = sum(weight.numel() for weight in build_model(own, "meta").parameters())
        assert found.found == count == parameters(own), case
        assert found.target == wanted, case
        assert abs(count / wanted - 1) <= WITHIN, case
        # What model_copy left unchecked is a valid configuration.
        assert ModelConfig.model_validate(found.model.model_dump()) == found.model
        if found.model != config.model:
            check_heads(found.model, config.model)
        check_what_changed(found.model, config.model, solve)
        # Fine-tuning leaves nothing that one step would mend, unless there was no need of it.
        plain = with_model(own, own.model, feed_forward=config.model.feed_forward)
        possible = min(nearest(plain, solve, wanted, parameters), abs(parameters(config) / wanted - 1))
        tuned = found.model.feed_forward not in (None, config.model.feed_forward)
        assert abs(found.residual) <= (possible + 1e-12 if tuned else WITHIN), case
    assert solved >= least


def test_the_nearest_width_is_the_one_that_is_tuned() -> None:
    draw, compared = random.Random("nearest"), 0
    for _ in range(20):
        config, target = random_pair(draw, parameters)
        runs = sorted(feasible(config, "width"), key=lambda run: abs(parameters(run) - parameters(target)))
        if not runs or config.model.feed_forward or nearest(runs[0], "width", parameters(target), parameters) > WITHIN:
            continue
        found = matched_model(config, target, ModelMatch(by="parameters"))
        if found.model != config.model:
            distance = abs(parameters(runs[0]) - parameters(target))
            plain = with_model(config, found.model, feed_forward=None)
            assert abs(parameters(plain) - parameters(target)) == distance
            compared += 1
    assert compared >= 8


def test_flops_are_those_that_the_model_counts() -> None:
    draw, solved = random.Random("flops"), 0
    for case in range(6):
        config, target = random_pair(draw, training_flops, most_layers=1)
        solve = SOLVED[case % 3]
        wanted = int(training_flops(target))
        try:
            found = matched_model(config, target, ModelMatch(by="flops", within=WITHIN, solve=solve))
        except UserError:
            runs = list(feasible(config, solve))
            assert not runs or min(nearest(run, solve, wanted, training_flops) for run in runs) > WITHIN - 1e-3, case
            continue
        solved += 1
        own = with_model(config, found.model)
        assert found.target == wanted, case
        assert found.found == int(training_flops(own)), case
        assert abs(found.found / wanted - 1) <= WITHIN
        check_what_changed(found.model, config.model, solve)
    assert solved >= 4


def test_equal_flops_count_the_objective_too() -> None:
    """A costly objective leaves less for the network; both counts are those of the plan's own cost."""
    base = run_of(Path("unread"), model__width=32, model__heads=4, objective="none")
    arm = run_of(Path("unread"), model__width=32, model__heads=4, objective={"name": "multi_token", "n": 3})
    match = matched_model(arm, base, ModelMatch(by="flops"), "the plain one")
    assert match.model.width < 32
    assert match.target == cost_of(base).training_flops_per_token
    assert match.found == cost_of(with_model(arm, match.model)).training_flops_per_token
    assert f"solved to match the {match.target:,} training FLOPs per token of 'the plain one'" in match.note()


def test_a_model_that_fits_stays_as_it_is_written() -> None:
    """Another number of heads changes no count, so it is no reason to solve anything."""
    base = run_of(Path("unread"), model__width=48, model__heads=2)
    arm = run_of(Path("unread"), model__width=48, model__heads=8)
    match = matched_model(arm, base, ModelMatch(by="parameters"))
    assert match.model == arm.model
    assert match.residual == 0
    count = f"{parameters(base):,}"
    assert match.note() == f"as it is written, it matches the {count} inference parameters of 'base': {count} (+0.00%)"


def test_the_note_says_what_was_solved_and_what_is_left() -> None:
    base = run_of(Path("unread"), model__width=48, model__heads=4, model__layers=[2, 2])
    arm = run_of(Path("unread"), model__architecture="baseline", model__width=48, model__heads=4, model__layers=4)
    match = matched_model(arm, base, ModelMatch(by="parameters", within=0.002))
    model = match.model
    assert match.note() == (
        f"width {model.width} with {model.heads} heads and feed-forward layers {model.feed_forward} wide inside, "
        f"solved to match the {parameters(base):,} inference parameters of 'base': "
        f"{match.found:,} ({match.found / parameters(base) - 1:+.2%})"
    )
    deeper = matched_model(arm, base, ModelMatch(by="parameters", solve="depth"), "full size")
    assert deeper.note().startswith(f"layers {deeper.model.layers} and feed-forward layers {deeper.model.feed_forward}")
    assert "of 'full size':" in deeper.note()


def test_both_stacks_grow_in_their_proportion() -> None:
    shape = {"model__width": 16, "model__heads": 2, "model__feed_forward": 64}
    arm = run_of(Path("unread"), **shape, model__layers=[2, 1])
    for factor in (1, 2, 5, 8):
        base = run_of(Path("unread"), **shape, model__layers=[2 * factor, factor])
        assert matched_model(arm, base, ModelMatch(by="parameters", solve="depth")).model == base.model


def test_an_arm_much_larger_or_smaller_is_solved_as_well() -> None:
    small = run_of(Path("unread"), model__width=16, model__heads=2)
    large = run_of(Path("unread"), model__width=1024, model__heads=128, model__layers=[6, 6])
    for arm, base in ((small, large), (large, small)):
        match = matched_model(arm, base, ModelMatch(by="parameters", within=0.01))
        assert match.found == inference_parameters(with_model(arm, match.model))
        assert abs(match.found / parameters(base) - 1) <= 0.01


def test_what_cannot_be_matched_names_the_nearest_and_what_would_help() -> None:
    base = run_of(Path("unread"), model__width=64, model__heads=4, model__layers=[1, 1])
    arm = run_of(Path("unread"), model__width=64, model__heads=4, model__layers=[3, 3])
    assert matched_model(arm, base, ModelMatch(by="parameters", solve="depth")).model.layers == [1, 1]
    written = run_of(Path("unread"), model__width=64, model__heads=4, model__layers=[1, 2], model__feed_forward=200)
    with pytest.raises(UserError) as caught:
        matched_model(written, base, ModelMatch(by="parameters", solve="depth"), "small")
    size = parameters(with_model(written, written.model, layers=[1, 1]))
    residual = size / parameters(base) - 1
    assert str(caught.value) == (
        f"match: nothing within 1.00% of the {parameters(base):,} inference parameters of 'small' is found; "
        f"the nearest is layers [1, 1]: {size:,} ({residual:+.2%}); try leave feed_forward out, so that it is tuned "
        f"too, or solve: width, or solve: feed_forward, or allow within: {math.ceil(-1000 * residual) / 1000:g}"
    )


def test_heads_keep_their_width_even_where_that_leaves_no_match() -> None:
    arm = run_of(Path("unread"), model__width=100, model__heads=1, model__context=4)
    base = run_of(Path("unread"), model__width=10, model__heads=1, model__context=4)
    with pytest.raises(UserError, match=r"; the nearest is width 75 with 1 head and feed-forward layers 225 wide"):
        matched_model(arm, base, ModelMatch(by="parameters"))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("parameters", ModelMatch(by="parameters", within=0.01, solve="width")),
        ("flops", ModelMatch(by="flops")),
        ({"by": "flops", "within": 0.05, "solve": "depth"}, ModelMatch(by="flops", within=0.05, solve="depth")),
    ],
)
def test_a_match_is_a_measure_or_a_mapping(written: Any, expected: ModelMatch) -> None:
    assert model_match(written) == expected


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("parametres", "match: unknown value 'parametres'; did you mean 'parameters'? known: flops, parameters"),
        (3, "match: match is parameters or flops, or a mapping with by, within and solve, not 3"),
        (None, "match: match is parameters or flops, or a mapping with by, within and solve, not None"),
        ({"within": 0.1}, "match: the key 'by' is missing"),
        ({"by": "flop"}, "match.by: unknown value 'flop'; did you mean 'flops'? known: flops, parameters"),
        ({"by": "flops", "solv": "depth"}, "match: unknown key 'solv'; did you mean 'solve'? known: by, solve, within"),
        ({"by": "flops", "solve": "dept"}, "match.solve: unknown value 'dept'; did you mean 'depth'? known: depth,"),
        ({"by": "flops", "within": 0}, "match.within: this should be greater than 0, not 0"),
        ({"by": "flops", "within": 1}, "match.within: this should be less than 0.5, not 1"),
        ({"by": "flops", "within": "1%"}, "match.within: this should be a valid number"),
    ],
)
def test_another_match_is_one_sentence_with_its_place(written: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        model_match(written)
    assert str(caught.value).startswith(said)
