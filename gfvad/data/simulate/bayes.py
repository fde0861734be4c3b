"""The Bayes-optimal scores of the simulated set: the exact posterior that a unit is abnormal, given
the whole video and the true model.

Forward-backward (Rabiner 1989, IEEE Proc. 77(2), Eq. 19-27) over the states (activity, event), for
each label and each of the K! permutations, which are then summed out. Features enter through their
sufficient statistic: the projection on the signal subspace, averaged over crops.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gfvad.base.arrays import load_npy, load_npz
from gfvad.base.types import DataError
from gfvad.data.simulate import process, writer
from gfvad.data.simulate.generator import World
from gfvad.data.simulate.process import Chain, Settings
from gfvad.measure import metrics

MODALITIES = ("rgb", "audio")


class Hypothesis(NamedTuple):
    """A scenario with its chains and what is shown in each state; Q permutations (1 where they
    do not matter), A activity states."""

    chain: Chain
    # [A, A] activities where the activity stays, and its probability; with it the events move by
    # chain.stay
    stay: np.ndarray
    jump: np.ndarray  # [A, A] the same where it jumps; stay + jump has rows that sum to 1
    visual: np.ndarray  # int [Q, A, J] prototype shown
    audio: np.ndarray  # int [Q, A, J] prototype heard


class Posterior(NamedTuple):
    """What the features of one video say."""

    unit: np.ndarray  # float64 [N] P(unit abnormal | features)
    video: float  # P(video abnormal | features)
    kind: np.ndarray  # float64 [N, J] P(kind of event | features)


@functools.lru_cache(maxsize=32)  # the same few for every video
def hypothesis(
    settings: Settings, scenario: int, modalities: tuple[str, ...], independent: bool = False
) -> Hypothesis:
    """What may lie behind a video of this scenario, for an observer of `modalities`.

    With one modality all permutations are alike by symmetry. `independent` is the observer who sees
    both but does not know that they belong
    together: an activity of its own for each, and a relation event sounds like anything normal. All
    but the cross-modal relation is used.
    """
    chain, k = process.event_chain(settings, scenario), settings.activities
    stay = np.eye(k) * (1 - 1 / settings.dwell)
    jump = process.activity_jump(settings) / settings.dwell
    visual = process.visual_prototype(settings)
    if independent:
        audio = process.audio_prototype(settings, np.arange(k), mismatch=False)
        # activity states are pairs (seen, heard)
        stay, jump = np.kron(stay, stay + jump), np.kron(jump, stay + jump)
        pairs = np.repeat(visual, k, axis=0)[None], np.tile(audio, (k, 1))[None]
        return Hypothesis(chain, stay, jump, *pairs)
    both = set(modalities) == set(MODALITIES)
    orders = process.permutations(settings) if both else np.arange(k)[None]
    audio = np.stack([process.audio_prototype(settings, order) for order in orders])
    return Hypothesis(chain, stay, jump, np.repeat(visual[None], len(orders), axis=0), audio)


def forward_backward(emission: np.ndarray, hyp: Hypothesis) -> tuple[float, np.ndarray]:
    """(log evidence, P(kind | features) [N, J]) under one hypothesis.

    emission [N, Q, A, J]: likelihood of each unit, up to a factor of its own that the caller keeps.
    Permutations are equally likely a priori; each runs on its own scale, since their likelihoods
    are hundreds of nats apart. The evidence is conditional on a video of this scenario existing,
    that is, on the chain ending where `final` allows.
    """
    chain, (n, orders, activities, j) = hyp.chain, emission.shape
    # [N, Q, A, S]; event transitions act on all (Q, A) rows in one product
    likelihood = emission[..., chain.kind]
    shape, rows = likelihood.shape[1:], (orders * activities, len(chain.kind))
    forward, scale = np.zeros_like(likelihood), np.zeros((n, orders, 1, 1))
    state = np.broadcast_to(chain.initial / activities, shape)
    for t in range(n):
        if t:
            flat = state.reshape(rows)
            stayed = hyp.stay.T @ (flat @ chain.stay).reshape(shape)
            state = stayed + hyp.jump.T @ (flat @ chain.jump).reshape(shape)
        state = state * likelihood[t]
        scale[t] = state.sum((1, 2), keepdims=True)
        forward[t] = state = state / scale[t]
    # [Q]
    ending = (state * chain.final).sum((1, 2))
    log_evidence = np.log(scale).sum((0, 2, 3)) + np.log(ending)
    weight = np.exp(log_evidence - log_evidence.max())
    # messages from the end; the same scale keeps forward * backward a distribution in each
    # permutation
    backward = np.broadcast_to(chain.final / ending[:, None, None], shape)
    states = np.zeros((n, len(chain.kind)))
    for t in range(n - 1, -1, -1):
        states[t] = np.tensordot(weight / weight.sum(), (forward[t] * backward).sum(1), 1)
        flat = (backward * (likelihood[t] / scale[t])).reshape(rows)
        stayed = hyp.stay @ (flat @ chain.stay.T).reshape(shape)
        backward = stayed + hyp.jump @ (flat @ chain.jump.T).reshape(shape)
    # [N, S] -> [N, J]
    kinds = states @ np.eye(j)[chain.kind]
    return float(log_evidence.max() + np.log(weight.mean()) - log_ending_prior(hyp, n)), kinds


def log_ending_prior(hyp: Hypothesis, n: int) -> float:
    """Log probability that a chain of n units ends where it may: abnormal videos were drawn
    again until they held an event."""
    share, state = hyp.jump[0].sum(), hyp.chain.initial  # every activity jumps equally often
    for _ in range(n - 1):
        state = (1 - share) * (state @ hyp.chain.stay) + share * (state @ hyp.chain.jump)
    return float(np.log(state @ hyp.chain.final))


def posterior(
    log_visual: np.ndarray | None,
    log_audio: np.ndarray | None,
    settings: Settings,
    independent: bool = False,
) -> Posterior:
    """Posterior of one video from log likelihoods [N, prototypes] of what is seen and heard;
    None where a modality is not observed."""
    observed = [
        (name, value)
        for name, value in zip(MODALITIES, (log_visual, log_audio))
        if value is not None
    ]
    modalities = tuple(name for name, _ in observed)
    evidence, kinds = np.log(settings.prior), []
    for scenario in range(len(settings.prior)):
        hyp = hypothesis(settings, scenario, modalities, independent)
        tables = {"rgb": hyp.visual, "audio": hyp.audio}
        # [N, Q, A, J]
        first, *more = (value[:, tables[name]] for name, value in observed)
        log_emission = sum(more, first)
        peak = log_emission.max((1, 2, 3), keepdims=True)
        log_evidence, kind = forward_backward(np.exp(log_emission - peak), hyp)
        evidence[scenario] += log_evidence + peak.sum()
        kinds.append(kind)
    weight = np.exp(evidence - evidence.max())
    weight /= weight.sum()
    # [N, J]
    kind = np.tensordot(weight, np.stack(kinds), 1)
    return Posterior(
        kind[:, process.kinds(settings).abnormal].sum(1), float(1 - weight[process.NORMAL]), kind
    )


# ---- a set on disk


class Truth(NamedTuple):
    """A simulated set as its files say: the model and the hidden states of one split, by video."""

    root: Path
    split: str
    settings: Settings
    world: World
    names: tuple[str, ...]
    scenario: np.ndarray  # int [V]
    kind: tuple[np.ndarray, ...]  # int [N] each
    crops: int

    @property
    def abnormal(self) -> list[np.ndarray]:
        """bool [N] of each video."""
        return [process.kinds(self.settings).abnormal[kind] for kind in self.kind]


def read_truth(root: str | os.PathLike, split: str = "test") -> Truth:
    """Opens the folder that `simulated_folder` returned. Raises DataError where it is none, or of
    another version of the generator."""
    root = Path(root)
    content = writer.read_manifest(root)
    if content.get("generator_version") != writer.VERSION:
        raise DataError(
            f"{root}: generator version {content.get('generator_version')!r}, expected"
            f" {writer.VERSION}: delete the folder, run again"
        )
    numbers = content["settings"]
    arrays = load_npz(root / writer.TRUTH)
    try:
        ends = np.cumsum(arrays[f"{split}_length"])[:-1]
        return Truth(
            root=root,
            split=split,
            settings=Settings(**{**numbers, "prior": tuple(numbers["prior"])}),
            world=World(*(arrays[name] for name in World._fields)),
            names=tuple(map(str, arrays[f"{split}_name"])),
            scenario=arrays[f"{split}_scenario"],
            kind=tuple(np.split(arrays[f"{split}_kind"], ends)),
            crops=content["crops"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{root / writer.TRUTH}: not what a simulated set holds ({error!r}); expected its own:"
            " delete the folder, run again"
        ) from None


def log_likelihood(
    features: np.ndarray,
    basis: np.ndarray,
    prototypes: np.ndarray,
    latent_noise: float,
    noise: float,
) -> np.ndarray:
    """[N, P] log likelihood of each prototype, up to a constant a unit, from features [C, N, D] of
    a video.

    The mean over crops of the projection is sufficient: z = B^T mean_c x_c ~ N(m, (s_z^2 + s_x^2 /
    C) I).
    """
    # [N, P]
    latent = features.astype(np.float64).mean(0) @ basis
    variance = latent_noise**2 + noise**2 / len(features)
    return -0.5 * np.square(latent[:, None, :] - prototypes).sum(-1) / variance


def likelihoods(
    truth: Truth, name: str, modalities: Sequence[str] = MODALITIES
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Log likelihoods [N, P] of what is seen and heard in a video, from its files; None for a
    modality not asked for."""
    world, settings = truth.world, truth.settings
    rgb = truth.root / writer.RGB_FOLDERS[truth.split]
    audio = truth.root / writer.AUDIO_FOLDERS[truth.split]
    crops = [rgb / f"{name}__{crop}.npy" for crop in range(truth.crops)]

    def told(files: list[Path], basis: np.ndarray, noise: float) -> np.ndarray:
        features = np.stack([load_npy(file) for file in files])
        return log_likelihood(features, basis, world.prototypes, settings.latent_noise, noise)

    return (
        told(crops, world.rgb_basis, settings.rgb_noise) if "rgb" in modalities else None,
        told([audio / f"{name}__vggish.npy"], world.audio_basis, settings.audio_noise)
        if "audio" in modalities
        else None,
    )


def bayes_scores(
    root: str | os.PathLike,
    modalities: Sequence[str] = MODALITIES,
    split: str = "test",
    independent: bool = False,
) -> dict[str, np.ndarray]:
    """Posterior of each unit, {video: float64 [N]}, for an observer of these modalities.
    `independent`: see `hypothesis`."""
    truth = read_truth(root, split)
    return {
        name: posterior(*likelihoods(truth, name, modalities), truth.settings, independent).unit
        for name in truth.names
    }


def report(
    root: str | os.PathLike,
    modalities: Sequence[str] = MODALITIES,
    split: str = "test",
    independent: bool = False,
) -> dict[str, float]:
    """Frame AUC and AP (micro) that no detector of these modalities exceeds in expectation; {}
    where none of them is simulated.

    Every unit stands for 16 frames with one label, so the frame figures are those of the units.
    Captions are not used: with the modality 'text' a detector may know a little more than this
    observer.
    """
    if not set(modalities) & set(MODALITIES):
        return {}
    by_video = bayes_scores(root, modalities, split, independent)
    scores = np.concatenate(list(by_video.values()))
    labels = np.concatenate(read_truth(root, split).abnormal)
    return {
        "auc": metrics.roc_auc(scores, labels),
        "ap": metrics.average_precision(scores, labels),
    }
