"""The hidden process behind a simulated video: what is seen and heard in each unit, as a hidden
Markov model (ours; docs/simulated.md).

The activity, one of K, jumps to any other with probability 1 / dwell a unit. The sound of activity
k is pi(k), with one random permutation pi a video, so what belongs together can only be learned
within the video. On this lie
- covers: a nuisance (odd but normal) or an abnormal prototype replaces what is seen, or what is
  heard, for at least `stages` units; or it is an unseen event, annotated abnormal but neither seen
  nor heard, which stands for the labels that no detector can find;
- relation events: from one jump of the activity to the next, the sound of another activity is
  heard. Either modality alone shows jumps between normal activities, as ever.
A video is normal (nuisances only), modal (also abnormal covers), relational (also relation events)
or unseen (also unseen events).
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import numpy as np

# groups of covers; abnormal from the 4th on
NONE, NUISANCE_VISUAL, NUISANCE_AUDIO, ABNORMAL_VISUAL, ABNORMAL_AUDIO, UNSEEN = range(6)
COVERS = (
    "none",
    "nuisance_visual",
    "nuisance_audio",
    "abnormal_visual",
    "abnormal_audio",
    "unseen",
)
# covers in each group: each has a prototype of its own, but NONE and UNSEEN show none
MEMBERS = (1, 2, 2, 2, 2, 1)
NORMAL, MODAL, RELATIONAL, OUT_OF_SIGHT = range(4)  # scenarios
SCENARIOS = ("normal", "modal", "relational", "unseen")


class Settings(NamedTuple):
    """Every number of the generative model. Lengths are in units, probabilities are for one
    unit."""

    activities: int = 3  # K
    dwell: float = 6.0  # mean length of an activity
    stages: int = 5  # shortest cover
    # then it ends with this probability: mean length stages - 1 + 1 / cover_end = 10
    cover_end: float = 1 / 6
    nuisance_start: float = 0.008  # a nuisance begins; in every video
    abnormal_start: float = 0.015  # an abnormal cover begins; in modal videos
    unseen_start: float = 0.012  # an unseen event begins; in videos out of sight
    # the same in modal and relational videos: about as likely as in a video without visible events
    unseen_beside: float = 0.0005
    relation_start: float = 0.1  # a jump begins a relation event; in relational videos
    prior: tuple[float, ...] = (0.5, 0.2, 0.29, 0.01)  # of the scenarios
    shortest: int = 100  # units of a video, uniform from shortest to longest
    longest: int = 120
    amplitude: float = 1.0  # norm of every prototype, normal, nuisance and abnormal alike
    # standard deviation in each direction of a prototype, shared by the crops
    latent_noise: float = 0.1
    # standard deviation in each of the 1,024 dimensions, of its own for each crop
    rgb_noise: float = 0.005
    audio_noise: float = 0.015  # standard deviation in each of the 128 dimensions


class Kinds(NamedTuple):
    """The J things that may go on in a unit besides its activity. Kind 0 is nothing."""

    cover: np.ndarray  # int [J] group of the cover
    member: np.ndarray  # int [J] which of the group
    # int [J] o: the sound of activity k + o (mod K) is heard; > 0 in a relation event
    offset: np.ndarray

    @property
    def abnormal(self) -> np.ndarray:
        """bool [J]."""
        return (self.cover >= ABNORMAL_VISUAL) | (self.offset > 0)


class Chain(NamedTuple):
    """What happens besides the activity in one scenario, S states (an abnormal event has begun,
    kind, stage)."""

    initial: np.ndarray  # [S]
    stay: np.ndarray  # [S, S] transition where the activity stays; rows sum to 1
    jump: np.ndarray  # [S, S] transition where it jumps; rows sum to 1
    final: np.ndarray  # [S] 1 where a video may end: in abnormal ones an abnormal event has begun
    kind: np.ndarray  # int [S]


class Path(NamedTuple):
    """The hidden states of one video."""

    scenario: int  # label = scenario > 0
    permutation: np.ndarray  # int [K] sound of each activity
    activity: np.ndarray  # int [N]
    kind: np.ndarray  # int [N]


def kinds(settings: Settings) -> Kinds:
    """All kinds; abnormal covers never meet a relation event, since no scenario has both."""
    covers = [(cover, member) for cover, members in enumerate(MEMBERS) for member in range(members)]
    table = [
        (cover, member, offset)
        for offset in range(settings.activities)
        for cover, member in covers
        if offset == 0 or cover not in (ABNORMAL_VISUAL, ABNORMAL_AUDIO)
    ]
    return Kinds(*np.array(table).T)


def activity_jump(settings: Settings) -> np.ndarray:
    """[K, K] where a jump goes: to any other activity alike."""
    k = settings.activities
    return (1 - np.eye(k)) / (k - 1)


def cover_starts(settings: Settings, scenario: int) -> dict[tuple[int, int], float]:
    """Probability that each cover (group, member) of a scenario begins in a unit after one
    without; (NONE, 0) is that none does."""
    total = {
        (NUISANCE_VISUAL, NUISANCE_AUDIO): settings.nuisance_start,
        (ABNORMAL_VISUAL, ABNORMAL_AUDIO): settings.abnormal_start * (scenario == MODAL),
        (UNSEEN,): (0.0, *[settings.unseen_beside] * 2, settings.unseen_start)[scenario],
    }
    starts: dict[tuple[int, int], float] = {}
    for groups, probability in total.items():
        members = [(group, member) for group in groups for member in range(MEMBERS[group])]
        starts |= {cover: probability / len(members) for cover in members if probability > 0}
    return {(NONE, 0): 1 - sum(starts.values())} | starts


@functools.lru_cache(maxsize=32)  # the same few for every video
def event_chain(settings: Settings, scenario: int) -> Chain:
    """The chain of a scenario, over the states that can occur in it."""
    starts, table = cover_starts(settings, scenario), kinds(settings)
    place_of_kind = {kind: place for place, kind in enumerate(zip(*table))}
    relation = settings.relation_start * (scenario == RELATIONAL)
    offsets = range(settings.activities if relation else 1)
    states = [
        (begun, cover, stage, offset)
        for begun in range(2 if scenario else 1)
        for cover in starts
        for stage in range(settings.stages if cover[0] != NONE else 1)
        for offset in offsets
        if begun or (cover[0] < ABNORMAL_VISUAL and offset == 0)
    ]
    index = {state: place for place, state in enumerate(states)}

    def covers_after(cover: tuple[int, int], stage: int) -> dict:
        if cover[0] == NONE:
            return {(new, 0): probability for new, probability in starts.items()}
        if stage + 1 < settings.stages:
            return {(cover, stage + 1): 1.0}
        return {(cover, stage): 1 - settings.cover_end, ((NONE, 0), 0): settings.cover_end}

    def row(begun: int, covers: dict, new_offsets: dict[int, float]) -> np.ndarray:
        out = np.zeros(len(states))
        after = itertools.product(covers.items(), new_offsets.items())
        for ((cover, stage), p), (offset, q) in after:
            now = int(begun or cover[0] >= ABNORMAL_VISUAL or offset > 0)
            out[index[now, cover, stage, offset]] += p * q
        return out

    others = settings.activities - 1
    after_jump = {offset: relation / others if offset else 1 - relation for offset in offsets}
    stay = [row(begun, covers_after(c, stage), {o: 1.0}) for begun, c, stage, o in states]
    jump = [row(begun, covers_after(c, stage), after_jump) for begun, c, stage, _ in states]
    return Chain(
        initial=row(0, {((NONE, 0), 0): 1.0}, after_jump),
        stay=np.stack(stay),
        jump=np.stack(jump),
        final=np.array([float(begun or not scenario) for begun, *_ in states]),
        kind=np.array([place_of_kind[*cover, offset] for _, cover, _, offset in states]),
    )


def visual_prototype(settings: Settings) -> np.ndarray:
    """int [K, J] index of the prototype that RGB shows: K activities, then nuisances, then
    abnormal ones."""
    table = kinds(settings)
    own = np.repeat(np.arange(settings.activities)[:, None], len(table.cover), axis=1)
    return _covered(settings, own, table, NUISANCE_VISUAL, ABNORMAL_VISUAL)


def audio_prototype(
    settings: Settings, permutation: np.ndarray, mismatch: bool = True
) -> np.ndarray:
    """int [K, J] index of the prototype that is heard: pi(k), or pi(k + o mod K) in a relation
    event (if `mismatch`), or a cover."""
    table = kinds(settings)
    k = settings.activities
    own = np.asarray(permutation)[(np.arange(k)[:, None] + mismatch * table.offset) % k]
    return _covered(settings, own, table, NUISANCE_AUDIO, ABNORMAL_AUDIO)


def _covered(
    settings: Settings, own: np.ndarray, table: Kinds, nuisance: int, abnormal: int
) -> np.ndarray:
    place = settings.activities + table.member
    shown = np.where(table.cover == nuisance, place, own)
    return np.where(table.cover == abnormal, MEMBERS[nuisance] + place, shown)


def permutations(settings: Settings) -> np.ndarray:
    """int [K!, K], all of them."""
    return np.array(list(itertools.permutations(range(settings.activities))))


def sample_path(rng: np.random.Generator, settings: Settings, scenario: int, length: int) -> Path:
    """Draw the hidden states of a video of `length` units; abnormal ones are drawn again until
    they hold an abnormal event."""
    chain, jump = event_chain(settings, scenario), activity_jump(settings)
    while True:
        jumps = rng.random(length) < 1 / settings.dwell
        activity, event = np.zeros((2, length), np.int64)
        activity[0], event[0] = rng.integers(settings.activities), _draw(rng, chain.initial)
        for t in range(1, length):
            activity[t] = _draw(rng, jump[activity[t - 1]]) if jumps[t] else activity[t - 1]
            event[t] = _draw(rng, (chain.jump if jumps[t] else chain.stay)[event[t - 1]])
        if chain.final[event[-1]]:
            return Path(scenario, rng.permutation(settings.activities), activity, chain.kind[event])


def _draw(rng: np.random.Generator, probabilities: np.ndarray) -> int:
    """One state, by inverting the cumulative probabilities."""
    cumulative = np.cumsum(probabilities)
    return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
