"""The share of a device's peak, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deepsight.counting import training_flops_per_token
from deepsight.training import speed
from deepsight.training.speed import Speed, peak_of
from tests.runs import run_of


@pytest.mark.parametrize(
    ("name", "dtype", "expected"),
    [
        ("NVIDIA A100-SXM4-80GB", torch.bfloat16, 312e12),
        ("NVIDIA A100-PCIE-40GB", torch.float32, 156e12),
        ("NVIDIA H100 80GB HBM3", torch.bfloat16, 989e12),
        ("NVIDIA H100 PCIe", torch.bfloat16, 756e12),
        ("NVIDIA H200", torch.bfloat16, 989e12),
        ("Tesla T4", torch.bfloat16, None),
    ],
)
def test_peaks_of_devices(name: str, dtype: torch.dtype, expected: float | None) -> None:
    assert peak_of(name, dtype) == expected


def test_the_share_is_operations_over_what_the_devices_could_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "NVIDIA A100-SXM4-80GB")
    monkeypatch.setattr(speed, "peak_memory", lambda device: 12345)
    config = run_of(Path("text"))
    measured = Speed(config, torch.device("cuda"), processes=2)
    assert measured.since_last(1000, 1.0) == {"peak_memory": 12345.0}
    found = measured.since_last(51_000, 1.5)
    expected = 100_000 * training_flops_per_token(config) / (2 * 312e12)
    assert found == {"peak_memory": 12345.0, "model_flops_utilisation": pytest.approx(expected, rel=1e-12)}


def test_of_a_cpu_there_is_nothing_to_say() -> None:
    measured = Speed(run_of(Path("text")), torch.device("cpu"))
    assert measured.since_last(1000, 1.0) == measured.since_last(2000, 2.0) == {}
