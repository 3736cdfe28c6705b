"""`deepsight objectives new`: a plug-in objective that works, and its test, to be changed into one's own."""

from __future__ import annotations

import importlib.util
import keyword
import re
from pathlib import Path
from string import Template

from deepsight.errors import UserError
from deepsight.files import write_text
from deepsight.plug_ins import objectives

OBJECTIVE = Template('''"""The objective `$name`, a plug-in for DeepSight."""

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from deepsight.layers import Linear
from deepsight.trace import IGNORED, Shape, Trace
from objectives import Objective, objectives


@objectives.register("$name", formula="-log softmax(U W h_t)[x_{t+k}]", source="your paper, its equation")
class $class_name(Objective):
    """Cross-entropy of the token k positions ahead, from a linear map of the state and the network's own unembedding.

    Args:
        shape: of the model: vocabulary, width, context and so on.
        k: how many positions ahead the target stands; 1 would be the next token.

    """

    # Where it reads the network when a run does not say: "encoder", "decoder", {"layer": k}; None for no single state.
    attach = "decoder"

    # The typed parameters after `shape` are what a configuration may set: objective: {name: $name, k: 3}.
    def __init__(self, shape: Shape, k: Annotated[int, Field(ge=2)] = 2) -> None:
        super().__init__()
        self.k = k
        # How many tokens past the last next-token target the targets need; they come as trace.later.
        self.lookahead = k - 1
        # An objective's own weights train with the network, and are absent at inference.
        self.head = Linear(shape.width, shape.width)

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        """Return the loss, a scalar, and scalars to record beside it."""
        # x_{t+k} for each t, and IGNORED where it does not count: past the text, in a prompt, in another document.
        targets = trace.ahead(self.k).flatten()
        # The state (batch, time, width) at the place where the run attaches this objective.
        logits = self.head(trace.attached).flatten(0, 1) @ trace.unembedding.T
        counted = (targets != IGNORED).sum()
        total = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
        correct = (logits.argmax(dim=-1) == targets).sum()
        # Not a plain mean: there may be nothing to count in a batch.
        return {"loss": total / counted.clamp_min(1), "accuracy": correct / counted.clamp_min(1)}
''')

TEST = Template('''"""The contract of the objective `$name`, and its formula by hand."""

from pathlib import Path

import torch

from deepsight.plug_ins import load_plugins
from deepsight.testing import ObjectiveContract, Subject, System

load_plugins([Path(__file__).with_name("$name.py")])


class Test$class_name(ObjectiveContract):
    """Everything that any objective must keep to; `deepsight objectives check $name.py` says the same."""

    objective = {"name": "$name", "k": 3}


def test_the_formula_by_hand() -> None:
    subject = Subject({"name": "$name", "k": 3}, System("deepsight", dtype=torch.float64), end_of_text=None)
    trace = subject.trace()
    states = trace.decoder_output @ subject.objectives.parts["$name"].head.weight.T @ trace.unembedding.T
    tokens = torch.cat([trace.tokens, trace.targets[:, -1:], trace.later], dim=1)
    losses = [
        -torch.log_softmax(states[row, t], dim=0)[tokens[row, t + 3]]
        for row in range(tokens.shape[0])
        for t in range(trace.tokens.shape[1])
    ]
    torch.testing.assert_close(subject.said(trace)["loss"], torch.stack(losses).mean(), rtol=1e-10, atol=0)
''')


def write_objective(name: str, folder: Path) -> tuple[Path, Path]:
    """Write NAME.py and test_NAME.py and return their paths.

    Raises:
        UserError: the name is taken or cannot name an objective and a module, or a file is there already.

    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or keyword.iskeyword(name):
        raise UserError(f"{name!r} cannot name an objective: use letters, digits and _, such as two_ahead")
    if name in objectives:
        raise UserError(f"the name {name!r} is taken: `deepsight objectives {name}` shows by what")
    files = folder / f"{name}.py", folder / f"test_{name}.py"
    for file in files:
        if file.exists():
            raise UserError(f"{file}: this file exists already; choose another name or --out")
    if importlib.util.find_spec(name) is not None:
        raise UserError(f"{name!r} is a Python module already, and {name}.py would hide it; choose another name")
    class_name = "".join(part.capitalize() for part in name.split("_"))
    for file, template in zip(files, (OBJECTIVE, TEST), strict=True):
        write_text(file, template.substitute(name=name, class_name=class_name))
    return files
