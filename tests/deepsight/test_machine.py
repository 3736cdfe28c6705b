"""What is ours of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepsight import machine
from deepsight.machine import (
    cores_of_group,
    free_memory,
    instructions,
    is_amd,
    left_in_group,
    peak_memory,
    processor,
    usable_cores,
)


def test_the_memory_limit_of_a_control_group_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 400\ninactive_file 200\n")
    assert left_in_group(tmp_path) == 500
    (tmp_path / "memory.max").write_text("max\n")
    assert left_in_group(tmp_path) is None


def test_free_memory_is_known_here() -> None:
    assert (free_memory() or 0) > 2**20


@pytest.mark.parametrize(
    ("written", "cores"), [("150000 100000\n", 1.5), ("max 100000\n", None), ("", None), ("5 0\n", None)]
)
def test_the_time_limit_of_a_control_group_is_read(tmp_path: Path, written: str, cores: float | None) -> None:
    (tmp_path / "cpu.max").write_text(written)
    assert cores_of_group(tmp_path) == cores
    assert cores_of_group(tmp_path / "nowhere") is None


@pytest.mark.parametrize(("quota", "usable"), [(None, 8), (2.5, 2), (0.3, 1), (64.0, 8)])
def test_no_more_cores_are_used_than_the_control_group_may_take(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, usable: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(machine, "cores_of_group", lambda: quota)
    assert usable_cores() == usable


def test_the_processor_says_who_made_it_and_what_it_knows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert processor()
    monkeypatch.setattr(machine, "PROCESSOR", tmp_path / "cpuinfo")
    assert not is_amd()
    assert instructions() == []
    core = "processor\t: 0\nvendor_id\t: AuthenticAMD\nvmx flags\t: vnmi\nflags\t\t: fpu avx512_bf16\n"
    (tmp_path / "cpuinfo").write_text(f"{core}\n{core}")
    assert is_amd()
    assert instructions() == ["fpu", "avx512_bf16"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems tell it otherwise")
def test_the_peak_of_a_process_counts_what_it_held_and_not_what_its_starter_held() -> None:
    held = bytearray(300 * 2**20)  # touched: all zeros are written
    asked = [sys.executable, "-c", "from deepsight.machine import peak_memory; print(peak_memory())"]
    child = int(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)
    assert child < 100 * 2**20 < len(held) <= peak_memory()
    del held
    assert peak_memory() >= 300 * 2**20
