"""One random stream for each purpose, so that arms which differ in one thing share all the others.

A single `torch.manual_seed` pairs nothing: an arm that builds one more module shifts every number drawn after it.
Here each purpose derives its own seed from the run's seed and its own name; nothing that is added elsewhere moves it.
"""

from __future__ import annotations

import hashlib


def derive(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed for one purpose of a run, such as ``derive(seed, "dropout", step)``.

    The same arguments give the same value on every machine; different purposes give independent ones.
    """
    text = "\x1f".join([str(seed), *(f"{type(part).__name__}:{part}" for part in purpose)])
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") >> 1
