import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["tokenizers", "pydocs", "files", "hub", "packing", "packed"])
def test_importing_a_module_loads_nothing_heavy(module: str) -> None:
    heavy = {"torch", "datasets", "pyarrow", "pandas", "tiktoken", "huggingface_hub"}
    script = f"import sys, deepsight.data.{module}; print(*{heavy!r} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []
