"""Relations to events in words: what sentences of abnormal and of ordinary events say of a unit
whose description is alike. No video takes part, so it is the same for whatever text a unit has.

Evidence of a unit lies in [-1, 1]: (a - o) / (a + o), where a and o are means of exp(sharpness
(cosine - 1)) of the unit's description with the sentences of either kind (ours; zero-shot
classification by the text of a class, Radford et al. 2021, with the kernel of the bank in
gfvad/tasks/fusion/video_bank.py).
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gfvad.base.types import ConfigError
from gfvad.encoders.registry import open_sentences

STATISTIC = "events"  # among a feature set's statistics: float32 [E, D]
# written from the classes that surveillance sets name, before any score by them was looked at, but
# after sentences of six of the 60 development videos of UCF-Crime had been read (docs/evidence.md)
ABNORMAL = (
    "a person hits and beats another person",
    "people are fighting",
    "a man kicks a man lying on the ground",
    "a person points a gun at someone",
    "a man shoots a gun",
    "a person falls down after being shot",
    "a man robs a store with a gun",
    "a person steals something",
    "a thief takes the goods and runs away",
    "a man breaks a window",
    "a man breaks into a house",
    "a person climbs through a window",
    "a person smashes a car",
    "a person sets fire to a building",
    "there is a fire and smoke",
    "there was an explosion",
    "a car hits a pedestrian",
    "two cars collide",
    "a motorcycle is knocked down",
    "a car crashes and overturns",
    "police arrest a man and handcuff him",
    "police officers hold a man on the ground",
    "a person abuses a child",
    "a person beats a dog",
    "a man attacks an old woman",
    "a person is dragged along the ground",
    "a person pours gasoline",
    "a person puts something in a bag secretly",
    "a person breaks the door lock",
    "people run away in panic",
    "a person lies injured on the ground",
    "a person threatens the clerk with a knife",
)
ORDINARY = (
    "a person walks along the road",
    "people are walking",
    "cars drive on the road",
    "many cars are parked",
    "a person stands at the counter",
    "a man sits at a desk",
    "people are talking",
    "customers are shopping in the store",
    "a woman looks at her phone",
    "an empty room",
    "an empty street",
    "a person enters through the door",
    "a white car turns right",
    "people wait in line",
    "a man works at the computer",
    "a person carries a bag",
    "a bus drives past",
    "a person opens the door",
    "the clerk serves a customer",
    "nothing happens in the video",
    "a man gets out of a car",
    "a dog walks",
    "people sit at tables",
    "a person rides a bicycle",
)


def sentences(cfg: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(of abnormal events, of ordinary ones) of config.model.events; () there: those above."""
    return tuple(cfg.abnormal) or ABNORMAL, tuple(cfg.ordinary) or ORDINARY


def kinds(cfg: Any) -> np.ndarray:
    """float32 [E]: 1 a sentence of an abnormal event, 0 of an ordinary one; the abnormal first."""
    abnormal, ordinary = sentences(cfg)
    return np.r_[np.ones(len(abnormal)), np.zeros(len(ordinary))].astype(np.float32)


def embedded(config: Any, width: int) -> np.ndarray:
    """The sentences by the encoder that descriptions have, float32 [E, D] of unit norm. Raises
    ConfigError where it makes vectors of another width than the feature set's, D."""
    encoder, cfg = config.data.text_encoder, config.model.events
    found = open_sentences(encoder).width
    if found != width:
        raise ConfigError(
            f"config.model.events.modality = {cfg.modality!r} has {width} numbers a unit,"
            f" data.text_encoder {encoder!r} makes {found}: expected sentence embeddings by that"
            " encoder; take it out, or name the encoder that made them"
        )
    return _embedded(encoder, sum(sentences(cfg), ()))


@functools.cache
def _embedded(encoder: str, texts: tuple[str, ...]) -> np.ndarray:
    """Embeddings [E, D] of unit norm."""
    vectors = np.asarray(open_sentences(encoder).encode(texts), np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def said_by_events(
    keys: jax.Array, events: jax.Array, kind: jax.Array, sharpness: float
) -> jax.Array:
    """Evidence [N] in [-1, 1] of units with directions [N, D] by events [E, D] of kind [E] (1
    abnormal, 0 ordinary): see above. Both kinds must be there."""
    # [N, E]; the largest is taken off, which changes no ratio, so that the sum below is above 0
    power = sharpness * (keys @ events.T)
    weight = jnp.exp(power - power.max(-1, keepdims=True))
    abnormal, ordinary = (weight @ (k / k.sum()) for k in (kind, 1.0 - kind))
    return (abnormal - ordinary) / (abnormal + ordinary)
