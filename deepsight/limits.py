"""The whole numbers that a configuration may hold.

What is larger is a slip of the keyboard; it would be built, or counted, before anyone sees it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Depth = Annotated[int, Field(le=1_000)]
Width = Annotated[int, Field(ge=1, le=10_000_000)]
Length = Annotated[int, Field(ge=1, le=10_000_000)]
Threads = Annotated[int, Field(ge=1, le=4_096)]
Count = Annotated[int, Field(ge=1, le=10**12)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
