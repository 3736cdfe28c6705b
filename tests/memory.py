"""Every allocation of tensors on the CPU while a function runs, seen below all operators, also inside fused ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile


def allocations(function: Callable[[], object]) -> list[int]:
    """Return the bytes of every allocation (positive) and release (negative), in order."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    events, found = list(profiler.profiler.kineto_results.experimental_event_tree()), []
    while events:
        event = events.pop()
        events.extend(event.children)
        if event.tag == _EventType.Allocation:
            found.append((event.start_time_ns, event.extra_fields.alloc_size))
    return [size for _, size in sorted(found)]


def peak_bytes(function: Callable[[], object]) -> int:
    """Return the most bytes held at once beyond those held before."""
    return max(0, *itertools.accumulate(allocations(function)))
