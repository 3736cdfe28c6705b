"""Our models as `transformers` models: importing this room makes its Auto classes know them.

```python
import deepsight.huggingface
from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("exported")
```
"""

from deepsight.huggingface.model import DeepSightConfig, DeepSightForCausalLM

__all__ = ["DeepSightConfig", "DeepSightForCausalLM"]
