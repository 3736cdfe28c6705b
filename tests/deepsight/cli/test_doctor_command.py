"""What the doctor says of a machine that is well, and of some that are not."""

from __future__ import annotations

from collections import namedtuple
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from deepsight.doctor import choices, inventory, self_test
from deepsight.doctor.finding import Finding


def said(findings: Any) -> dict[str, Finding]:
    return {finding.about: finding for finding in findings}


def test_it_names_the_machine_what_a_run_uses_and_what_works(command_line: Any) -> None:
    answer = command_line("doctor")
    assert answer.returncode == 0, answer.stdout
    for part in (
        "This machine",
        "Versions",
        "A run uses",
        "Self-test",
        "torch",
        "cores usable",
        "GFLOP/s",
        "locks hold",
    ):
        assert part in answer.stdout
    assert "failed" not in answer.stdout
    if not torch.cuda.is_available():
        assert "device: cpu (there is no CUDA device that torch can use)" in answer.stdout
        assert "attention: torch's scaled dot-product attention (xformers runs on CUDA only)" in answer.stdout


def test_what_does_not_work_is_named_and_exits_with_one(command_line: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(device: torch.device) -> str:
        raise RuntimeError("no kernel image is available\nmore lines")

    monkeypatch.setitem(self_test.CHECKS, "attention", wrong)
    for name in ("training", "matrix products"):
        monkeypatch.delitem(self_test.CHECKS, name)
    answer = command_line("doctor")
    assert answer.returncode == 1
    assert "attention: failed: no kernel image is available (" in answer.stdout
    assert "more lines" not in answer.stdout
    assert "Something does not work here." in answer.stdout


def test_attention_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = self_test.attend
    monkeypatch.setattr(self_test, "attend", lambda *parts: original(*parts, causal=False))
    (finding,) = [one for one in self_test.self_test(torch.device("cpu")) if one.about == "attention"]
    assert finding.failed
    assert "from its formula" in finding.value


def test_both_ways_to_attend_are_timed_where_there_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    assert self_test.backends_are_compared(torch.device("cpu")) == "torch's alone runs here"
    times = iter([3.0, 2.0, 1.0, 2.0])
    monkeypatch.setattr(self_test, "obstacle", lambda *_, **__: None)
    monkeypatch.setattr(self_test, "PUBLISHED_ATTENTION", (2, 8, 2, 4))
    monkeypatch.setattr(self_test, "_milliseconds", lambda parts, backend: next(times))
    assert self_test.backends_are_compared(torch.device("cpu")).endswith("the faster is runtime.attention: sdpa")
    assert self_test.backends_are_compared(torch.device("cpu")).endswith("the faster is runtime.attention: xformers")


def test_attention_is_timed() -> None:
    parts = [torch.randn(2, 8, 2, 8).requires_grad_() for _ in range(3)]
    assert 0 < self_test._milliseconds(parts, "sdpa") < 1000


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_both_ways_to_attend_are_timed_on_a_device() -> None:
    assert "runtime.attention" in self_test.backends_are_compared(torch.device("cuda"))


def test_a_driver_without_a_fitting_torch_is_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(inventory.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(torch.version, "cuda", None)
    (finding,) = inventory.devices()
    assert "a driver is here, and torch cannot use it" in finding.value
    assert "this torch is built for the CPU" in finding.advice


def test_an_a100_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    about = namedtuple("About", "name major minor")("NVIDIA A100-SXM4-80GB", 8, 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: about)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (10 * 2**30, 80 * 2**30))
    (finding,) = inventory.devices()
    assert finding.about == "CUDA device 0"
    assert finding.value.startswith("NVIDIA A100-SXM4-80GB, compute capability 8.0, 80.0 GiB; 70.0 GiB of it taken")
    assert "CUDA_VISIBLE_DEVICES" in finding.advice


@pytest.mark.parametrize(
    ("reason", "value", "why"),
    [
        (None, "xformers", "this is an A100, and it takes our tensors"),
        ("no operator", "torch's scaled dot-product attention", "xformers cannot run here: no operator"),
    ],
)
def test_attention_on_cuda_is_chosen_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, reason: str | None, value: str, why: str
) -> None:
    monkeypatch.setattr(choices, "chosen_backend", lambda device: "xformers")
    monkeypatch.setattr(choices, "obstacle", lambda *_, **__: reason)
    finding = choices._attention(torch.device("cuda"))
    assert finding.value.startswith(value)
    assert finding.why == why
    assert bool(finding.advice) == (reason is not None)


def test_a_missing_package_is_a_fault_unless_it_is_xformers(monkeypatch: pytest.MonkeyPatch) -> None:
    original = inventory.version_of
    for gone, failed in (("xformers", False), ("pandas", True)):
        monkeypatch.setattr(inventory, "version_of", lambda name, gone=gone: None if name == gone else original(name))
        finding = said(inventory.versions())["missing"]
        assert (finding.value, finding.failed) == (gone, failed)


def test_every_extra_is_known() -> None:
    assert set(inventory.EXTRAS) == set(metadata("deepsight").get_all("Provides-Extra")) - {"dev"}


def test_a_folder_that_cannot_be_written_is_a_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(inventory.os, "access", lambda place, right: False)
    finding = inventory._disk("packed corpora", tmp_path / "cache")
    assert finding.failed
    assert "not writable" in finding.value
