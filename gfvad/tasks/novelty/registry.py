"""What learns from normal units, by the name `config.model.name`: graph novelty, or a comparator
(gfvad/tasks/novelty/comparing.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np

from gfvad.base.registry import Registry
from gfvad.base.types import ConfigError
from gfvad.tasks.novelty.comparators import ai_vad, amsl, itae_nf, memae, mnad
from gfvad.tasks.novelty.comparing import Compared, term_names

GRAPH_NOVELTY = "novelty"


class Comparator(NamedTuple):
    """How a comparator is made, and what it is counted by."""

    # (whole config, widths {set: D}) -> module (units `Seen`, train) -> `Judged`
    build: Callable[[Any, Mapping[str, int]], nn.Module]
    # weights of its losses where config.loss has no key of their name; of others 1
    losses: Mapping[str, float] = {}
    # what its terms count in the score; others count 1
    counts: Mapping[str, float] = {}
    # (whole config, training units {set: [U, D]}, standardised, part int32 [U], rng) -> {name:
    # array}: its variables of the collection "bank"
    fill: Callable[..., Mapping[str, np.ndarray]] | None = None
    adds: bool = False  # its terms add up as they are, and are not standardised one by one
    # (whole config): raises ConfigError by key
    check: Callable[[Any], None] | None = None


MODELS: Registry[Any] = Registry("model.name", {GRAPH_NOVELTY: GRAPH_NOVELTY})


def register_model(
    name: str,
    build: Callable[[Any, Mapping[str, int]], nn.Module],
    **more: Any,
) -> None:
    """Makes a comparator known as `config.model.name = name`. Args: as the fields of `Comparator`.
    One whose file need not be imported first is named 'package.module:build' instead."""
    MODELS.register(name, Comparator(build, **more))


def is_comparator(config: Any) -> bool:
    """Whether a config names another model than graph novelty."""
    return config.model.name != GRAPH_NOVELTY


def comparator_of(config: Any) -> Comparator:
    """The comparator that `config.model.name` names. Raises ConfigError."""
    found = MODELS.find(config.model.name)
    return found if isinstance(found, Comparator) else Comparator(found)


def check_comparator(config: Any) -> None:
    """Refuses, by key, what the comparator of a config cannot work with (ConfigError)."""
    if own := comparator_of(config).check:
        own(config)


def refuse_comparator(config: Any, what: str, error: type[ConfigError] = ConfigError) -> None:
    """Raises `error` where a config names a comparator, for what graph novelty alone does."""
    if is_comparator(config):
        raise error(
            f"config.model.name = {config.model.name!r}: {what} is for graph novelty alone;"
            f" expected a run with model.name = {GRAPH_NOVELTY!r}"
        )


def build_compared(
    config: Any, widths: Mapping[str, int], bank: int, banks: int, codes: int
) -> Compared:
    """The comparator of a checked config, with what stands round it. widths: feature set -> D;
    bank: units of each of `banks`; codes: cameras, or banks."""
    m = config.model
    chosen = {name: int(widths[name]) for name in config.data.modalities}
    comparator = comparator_of(config)
    inner, losses = comparator.build(config, chosen), tuple(comparator.losses.items())
    terms = tuple((name,) for name in term_names(inner, chosen, m.window))
    sets = tuple(chosen.items())
    return Compared(inner, sets, codes, m.window, terms, losses, bank, banks)


register_model("memae", lambda config, widths: memae.MemAE(), losses=memae.WEIGHTS)
register_model("mnad", lambda config, widths: mnad.MNAD(), losses=mnad.WEIGHTS, counts=mnad.COUNTS)
register_model("itae_nf", lambda config, widths: itae_nf.ITAE())
register_model("amsl", lambda config, widths: amsl.AMSL(), losses=amsl.WEIGHTS)
register_model(
    "ai_vad",
    lambda config, widths: ai_vad.AttributeDistances(tuple(widths.items()), config.model.bank),
    fill=ai_vad.fill,
    adds=True,
)
