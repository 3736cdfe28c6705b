"""Ratios, their spread, and what is made of them."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.measuring import in_turn, limit, quartiles, share, speed, turns, write_csv


def test_jobs_run_in_turn() -> None:
    order: list[str] = []
    seconds = in_turn({"one": lambda: order.append("one"), "other": lambda: order.append("other")}, repeats=2, warm=1)
    assert order == ["one", "other"] * 3
    assert {name: len(values) for name, values in seconds.items()} == {"one": 2, "other": 2}


def test_a_job_that_takes_longer_takes_longer() -> None:
    seconds = in_turn({"short": lambda: time.sleep(0.001), "long": lambda: time.sleep(0.02)}, repeats=3)
    assert min(seconds["long"]) >= 0.02
    line = speed("step", "A", "sleeping", seconds, "short", "long", target=2.0)
    assert line.ratio > 2
    assert line.reached
    assert speed("step", "A", "sleeping", seconds, "long", "short", target=1.0).reached is False


def test_a_ratio_is_the_median_over_rounds_of_ratios() -> None:
    seconds = {"ours": [1.0, 2.0, 4.0], "peer": [3.0, 4.0, 20.0]}
    line = speed("step", "A", "a step", seconds, "ours", "peer")
    assert (line.low, line.ratio, line.high) == (2.5, 3.0, 4.0)
    assert (line.value, line.peer_value) == (2.0, 4.0)
    assert line.reached is None
    less = share("memory", "A", "memory", seconds, "ours", "peer", "MiB", target=0.4)
    assert less.ratio == pytest.approx(1 / 3)
    assert less.reached


def test_a_figure_is_held_against_its_limit() -> None:
    line = limit("startup", "", "--help", [0.3, 0.35, 0.4], "s", 0.7)
    assert (line.value, line.peer_value, line.ratio, line.reached) == (0.35, 0.7, 0.5, True)
    assert limit("startup", "", "--help", [0.8], "s", 0.7).reached is False
    assert limit("startup", "", "--help", [0.8], "s").reached is None


def test_quartiles_of_one_value_are_that_value() -> None:
    assert quartiles([2.0]) == (2.0, 2.0, 2.0)
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)


def test_the_table_can_be_read_again(tmp_path: Path) -> None:
    lines = [limit("startup", "", "--help", [0.35], "s", 0.7), limit("startup", "", "Python", [0.1], "s")]
    write_csv(lines, tmp_path / "bench.csv")
    table = pd.read_csv(tmp_path / "bench.csv")
    assert table["ratio"].tolist() == [0.5, 0.1]
    assert table["reached"].tolist()[0] is True or bool(table["reached"].tolist()[0])
    assert pd.isna(table["target"].tolist()[1])


def test_a_job_that_takes_long_runs_once() -> None:
    told = {"short": iter([1.0, 2.0, 3.0]), "long": iter([60.0])}
    found = turns({name: times.__next__ for name, times in told.items()}, repeats=3, warm=0, once_from=60.0)
    assert found == {"short": [1.0, 2.0, 3.0], "long": [60.0, 60.0, 60.0]}
