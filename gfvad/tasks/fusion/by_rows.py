"""Which detectors can make their graphs by rows (model.relation.rows), and what they are given."""

from __future__ import annotations

from typing import Any

import jax

from gfvad.base.types import ConfigError, DataError
from gfvad.graphs.row_blocks import require_rows

HEADS = ("degree", "branches")  # whose use of a graph is statistics of its rows


def require_row_model(model: Any, train: bool) -> Any:
    """config.model as it is. Raises ConfigError where it needs the graphs of a video whole."""
    head, rate = model.head, model.edge_dropout
    require_rows("head.kind", head.kind, head.kind in HEADS, " or ".join(HEADS))
    if head.kind == "branches":
        require_rows("head.layers", head.layers, head.layers == 0, "0")
        unmixed = isinstance(head.mix, (int, float)) and head.mix == 0
        require_rows("head.mix", head.mix, unmixed, "0")
    require_rows("edge_dropout", rate, not train or rate == 0, "0")
    require_rows("evidence", model.evidence, model.evidence == "trained", "trained")
    return model


def check_rows(config: Any) -> None:
    """Raises ConfigError where config.model.relation.rows is on, and the model or a loss needs
    whole graphs."""
    rows = config.model.relation.rows
    if rows <= 0:
        return
    require_row_model(config.model, True)
    if config.loss.variance > 0 and config.data.train_units > rows:
        raise ConfigError(
            f"config.loss.variance is {config.loss.variance}, which reads the whole graph of a"
            f" video, but graphs of data.train_units = {config.data.train_units} units are made"
            f" {rows} rows at once: set loss.variance to 0 or model.relation.rows to 0"
        )


def clock_of(clock: jax.Array | None) -> jax.Array:
    """[N, 1] -> [N] seconds. Raises DataError without a clock."""
    if clock is None:
        raise DataError(
            "features have no 'clock' [N, 1], which model.relation.temporal_seconds needs: set"
            " data.clock, or give the units' times in seconds"
        )
    return clock[:, 0]
