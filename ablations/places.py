"""Where trials run on this machine: how many at once, within its memory, and on which device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

SHARE_OF_MEMORY = 0.9
"""Of what is free when a study begins; the rest is for whoever else needs some."""
DEVICE_OVERHEAD = 600 * 2**20
"""What a CUDA process holds on its device beside its tensors, in bytes."""


@dataclass(frozen=True)
class Need:
    """What a trial holds at its peak, in bytes: of the machine's memory, and of a device's."""

    memory: int = 0
    device: int = 0


@dataclass
class Place:
    """What one trial has been given; `device` is a CUDA device's number, None without one."""

    need: Need
    device: int | None = None


@dataclass
class Places:
    """Gives places to trials and takes them back.

    Args:
        workers: trials at a time.
        memory: bytes that all trials together may hold; None where that is not known.
        devices: bytes free on each CUDA device; empty for trials on the CPU.

    """

    workers: int
    memory: int | None = None
    devices: Sequence[int] = ()
    taken: list[Place] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether every worker has a trial."""
        return len(self.taken) >= self.workers

    def take(self, need: Need) -> Place | None:
        """Return a place for a trial, None where there is no room now. The first trial always has one.

        Of several devices it gets the one with the most memory left.
        """
        if self.full:
            return None
        if self.taken and self.memory is not None and self._held() + need.memory > self.memory:
            return None
        place = Place(need)
        if self.devices:
            left = [free - self._held_on(device) for device, free in enumerate(self.devices)]
            place.device = max(range(len(left)), key=lambda device: left[device])
            wanted = need.device + DEVICE_OVERHEAD
            alone = not any(other.device == place.device for other in self.taken)
            if wanted > left[place.device] and not alone:
                return None
        self.taken.append(place)
        return place

    def give_back(self, place: Place) -> None:
        """Free a place."""
        self.taken = [other for other in self.taken if other is not place]

    def _held(self) -> int:
        return sum(place.need.memory for place in self.taken)

    def _held_on(self, device: int) -> int:
        return sum(place.need.device + DEVICE_OVERHEAD for place in self.taken if place.device == device)


def workers_that_fit(cores: int, need: Need, memory: int | None) -> int:
    """Return how many trials with this need fit on so many cores and into so much memory; at least one."""
    if memory is None or not need.memory:
        return max(1, cores)
    return max(1, min(cores, memory // need.memory))
