"""How fast a run trains on a GPU, and how near that is to what the device can do."""

from __future__ import annotations

import torch

from deepsight.config import RunConfig
from deepsight.counting import training_flops_per_token
from deepsight.training.device import chosen_precision, peak_memory

TERA = 10**12
PEAKS: dict[str, tuple[float, float]] = {
    "A100": (312 * TERA, 156 * TERA),
    "H100 PCIe": (756 * TERA, 378 * TERA),
    "H100 NVL": (835 * TERA, 417 * TERA),
    "H100": (989 * TERA, 494 * TERA),
    "H200": (989 * TERA, 494 * TERA),
}
"""Part of a device's name → FLOP/s of dense matrix products in bfloat16 and in TF32, from NVIDIA's data sheets."""


def peak_of(device_name: str, dtype: torch.dtype) -> float | None:
    """Return the FLOP/s of a device at its best, None where they are not known."""
    found = next((peaks for part, peaks in PEAKS.items() if part in device_name), None)
    return None if found is None else found[0 if dtype == torch.bfloat16 else 1]


class Speed:
    """Says of training steps how fast they were.

    Args:
        config: of the run.
        device: where it trains.
        processes: that train it, one device each.

    """

    def __init__(self, config: RunConfig, device: torch.device, processes: int = 1) -> None:
        self.config, self.device, self.processes = config, device, processes
        self._before: tuple[int, float] | None = None
        self._flops: int | None = None

    def since_last(self, tokens: int, seconds: float) -> dict[str, float]:
        """Return what there is to say of the steps since the last call; nothing on a CPU.

        Returns:
            `peak_memory`, the most bytes that this process held on its device; and `model_flops_utilisation`, the share
            of the devices' peak that the model's own operations would take (Chowdhery et al., 2022, appendix B), where
            the peak is known. What a backward pass computes again does not count.

        """
        if self.device.type != "cuda":
            return {}
        said = {"peak_memory": float(peak_memory(self.device))}
        dtype = chosen_precision(self.config.training.precision, self.device)
        peak = peak_of(torch.cuda.get_device_name(self.device), dtype)
        before, self._before = self._before, (tokens, seconds)
        if peak is not None and before is not None and seconds > before[1]:
            if self._flops is None:
                self._flops = training_flops_per_token(self.config)
            speed = (tokens - before[0]) / (seconds - before[1])
            said["model_flops_utilisation"] = speed * self._flops / (peak * self.processes)
        return said
