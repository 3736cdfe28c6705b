"""Where the loss lies, as a table to read: by what the last few tokens tell of the next one."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from reports import numbers
from reports.table import Cell, Table, columns_of

NONE = "none"
ALL = "all tokens"


def token_losses_table(tables: Mapping[str, pd.DataFrame]) -> Table:
    """Return the loss of each arm in each class of tokens, means over seeds, above the n-gram's and the share."""
    inferable, overall = tables["inferable"], tables["overall"]
    classes = list(dict.fromkeys(inferable["inferable_from"]))
    losses = _by_class(inferable, "loss")
    network = overall[overall["predictor"] == "network"].groupby("arm", sort=False)["loss"].mean()
    ngrams = overall[overall["predictor"] != "network"]
    last = str(ngrams["predictor"].iloc[-1])
    longest = float(ngrams.loc[ngrams["predictor"] == last, "loss"].mean())
    rows = [
        (Cell(arm), _loss(float(network[arm])), *map(_loss, losses.loc[arm, classes].to_numpy(dtype=np.float64)))
        for arm in map(str, losses.index)
    ]
    of_ngram, shares = (_by_class(inferable, column).mean() for column in ("ngram_loss", "share"))
    rows += [
        (Cell("n-gram"), _loss(longest), *(_loss(float(of_ngram[one])) for one in classes)),
        (Cell("share of tokens (%)"), _share(1.0), *(_share(float(shares[one])) for one in classes)),
    ]
    return Table(
        name="token_losses",
        caption="Next-token loss by the fewest last tokens from which a token is inferable (nats per token).",
        columns=columns_of(["arm", ALL, *map(class_name, classes)]),
        rows=tuple(rows),
        notes=(
            "A token is inferable from the last k where it is what most often followed them in training; the n-gram "
            f"({class_name(last)}) counts the same.",
        ),
        data=inferable,
        totals=2,
    )


def class_name(name: str) -> str:
    """Return a class of tokens, or an n-gram, as people write it."""
    if name == NONE:
        return "none of them"
    return "no token" if name == "unigram" else f"{name} token{'' if name == 'last 1' else 's'}"


def _by_class(inferable: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return means over seeds, arms × classes."""
    values = inferable.assign(**{column: pd.to_numeric(inferable[column])})
    means = values.groupby(["arm", "inferable_from"], sort=False)[column].mean().unstack("inferable_from")
    return means.reindex(list(dict.fromkeys(inferable["arm"])))


def _loss(value: float) -> Cell:
    return Cell(numbers.fixed(value, 3), key=value)


def _share(value: float) -> Cell:
    return Cell(numbers.fixed(100 * value, 1) if math.isfinite(value) else numbers.MISSING, key=value)
