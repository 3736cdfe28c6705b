"""How much a step keeps for its backward passes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection

import torch
from torch import Tensor


def most_saved_bytes(function: Callable[[], object], without: Collection[Tensor] = ()) -> int:
    """Return the most bytes of distinct tensors that are kept for backward passes at once while a function runs.

    Args:
        function: runs the passes.
        without: tensors that are there anyway, such as weights; what shares their storage is left out.

    """
    anyway = {tensor.untyped_storage()._cdata for tensor in without}
    held: dict[int, tuple[int, int]] = {}
    now = most = 0

    class Kept:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor

    def release(key: int) -> None:
        nonlocal now
        count, size = held.pop(key)
        if count > 1:
            held[key] = count - 1, size
        else:
            now -= size

    def keep(tensor: Tensor) -> Kept:
        nonlocal now, most
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        kept = Kept(tensor)
        if key not in anyway:
            count, _ = held.get(key, (0, 0))
            held[key] = count + 1, size
            now += 0 if count else size
            most = max(most, now)
            weakref.finalize(kept, release, key)
        return kept

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept.tensor):
        function()
    return most
