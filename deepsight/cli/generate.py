"""`deepsight generate`: continue a text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepsight.cli.common import Plugins, load_plugins


def generate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with a checkpoint.")],
    prompt: Annotated[str, typer.Option(help="The text to continue.")],
    tokens: Annotated[int, typer.Option(min=1, help="How many tokens to add.")] = 100,
    temperature: Annotated[
        float | None, typer.Option(min=0.0, help="0 always takes the likeliest token; 1 where not given.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="Sample among the k likeliest tokens.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Sample among the likeliest tokens that hold this share.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same text.")] = 0,
    speculative: Annotated[
        bool, typer.Option("--speculative", help="Take the likeliest tokens, and let an objective's heads draft them.")
    ] = False,
    plugin: Plugins = None,
) -> None:
    """Sample from a trained model, with a key/value cache."""
    load_plugins(plugin)
    if speculative:
        _check_greedy(temperature, top_k, top_p)
        typer.echo(_speculated(folder, prompt, tokens))
        return
    from deepsight.generation import generate as run
    from deepsight.loading import load_trained

    trained = load_trained(folder)
    start = trained.tokenizer.encode(prompt)
    added = run(
        trained.model,
        start,
        tokens,
        temperature=1.0 if temperature is None else temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
    )
    typer.echo(prompt + trained.tokenizer.decode(added[0].tolist()))


def _check_greedy(temperature: float | None, top_k: int | None, top_p: float | None) -> None:
    from deepsight.errors import UserError

    given = {"--temperature": temperature or None, "--top-k": top_k, "--top-p": top_p}
    for option, value in given.items():
        if value is not None:
            raise UserError(f"--speculative always takes the likeliest token: leave out {option} {value:g}")


def _speculated(folder: Path, prompt: str, tokens: int) -> str:
    """Return the text continued with drafts, and say on standard error what they saved."""
    from deepsight.loading import load_with_drafting
    from deepsight.speculative import speculate

    trained, drafting = load_with_drafting(folder)
    found = speculate(trained.model, drafting, trained.tokenizer.encode(prompt), tokens)
    typer.echo(
        f"{tokens} tokens in {found.passes} forward passes: {found.tokens_per_pass:.2f} a pass, "
        f"{found.accepted} of {found.drafted} drafted tokens accepted",
        err=True,
    )
    return prompt + trained.tokenizer.decode(found.tokens.tolist())
