import pytest

pytest.importorskip("transformers", reason='needs transformers: pip install "deepsight[hf]"')
