"""Features of the simulated set: prototypes in a random subspace of the published feature sizes,
with noise (ours; docs/simulated.md).

x_c,t = B (m_t + s_z u_t) + s_x v_c,t     u, v standard normal, c crop, t unit
B [D, P] has orthonormal columns, one a prototype; m_t is the prototype shown in unit t, `amplitude`
times a unit vector. Audio has one crop.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gfvad.data.simulate import process
from gfvad.data.simulate.process import Path, Settings

RGB_DIM, AUDIO_DIM = 1024, 128  # as published: I3D, VGGish
SPLITS = ("train", "test")
WORLD, SCENARIOS, VIDEO = range(3)  # what a random stream is for


class World(NamedTuple):
    """What all videos of a set share, and the observer of `bayes.py` knows."""

    rgb_basis: np.ndarray  # [1024, P] orthonormal columns
    audio_basis: np.ndarray  # [128, P]
    prototypes: np.ndarray  # [P, P] a prototype a row, in the coordinates of a basis


class Sample(NamedTuple):
    """One simulated video."""

    path: Path
    rgb: np.ndarray  # float16 [C, N, 1024]
    audio: np.ndarray  # float16 [N, 128]
    # the video's stream, for what comes after (captions, length in frames)
    rng: np.random.Generator


def stream(seed: int, purpose: int, *place: int) -> np.random.Generator:
    """An independent random stream for each purpose and place, so that a video does not depend
    on how many others there are."""
    return np.random.default_rng([seed, purpose, *place])


def prototypes(settings: Settings) -> np.ndarray:
    """[P, P]: P = K activities, the nuisances and the abnormal prototypes of a modality, all
    orthogonal and of one norm."""
    covers = [process.MEMBERS[i] for i in (process.NUISANCE_VISUAL, process.ABNORMAL_VISUAL)]
    return settings.amplitude * np.eye(settings.activities + sum(covers))


def make_world(settings: Settings, seed: int) -> World:
    """Draw the two bases."""
    rng, mean = stream(seed, WORLD), prototypes(settings)
    rgb, audio = (_orthonormal(rng, dim, len(mean)) for dim in (RGB_DIM, AUDIO_DIM))
    return World(rgb, audio, mean)


def _orthonormal(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """[rows, columns] uniform among orthonormal ones (QR with the signs of R's diagonal fixed)."""
    q, r = np.linalg.qr(rng.normal(size=(rows, columns)))
    return q * np.sign(np.diag(r))


def draw_scenarios(settings: Settings, seed: int, split: str, videos: int) -> np.ndarray:
    """int [videos] scenarios in random order, in the proportions of the prior (largest
    remainders)."""
    exact = np.array(settings.prior) * videos
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: videos - counts.sum()]] += 1
    ordered = np.repeat(np.arange(len(counts)), counts)
    return stream(seed, SCENARIOS, SPLITS.index(split)).permutation(ordered)


def observe(
    rng: np.random.Generator,
    settings: Settings,
    shown: np.ndarray,
    basis: np.ndarray,
    crops: int,
    noise: float,
) -> np.ndarray:
    """Features float16 [C, N, D] of units that show these prototypes, int [N]."""
    # [N, P]
    around = settings.latent_noise * rng.normal(size=(len(shown), basis.shape[1]))
    latent = prototypes(settings)[shown] + around
    # [C, N, D]
    features = rng.standard_normal((crops, len(shown), len(basis)), dtype=np.float32)
    features = features * np.float32(noise)
    return (features + (latent @ basis.T).astype(np.float32)).astype(np.float16)


def shown_prototypes(settings: Settings, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Index of the prototype seen and of the one heard in each unit, int [N] both."""
    visual = process.visual_prototype(settings)[path.activity, path.kind]
    return visual, process.audio_prototype(settings, path.permutation)[path.activity, path.kind]


def video_stream(seed: int, split: str, index: int) -> np.random.Generator:
    """The random stream of video `index` of a split."""
    return stream(seed, VIDEO, SPLITS.index(split), index)


def simulate(
    settings: Settings, world: World, rng: np.random.Generator, scenario: int, crops: int
) -> Sample:
    """Draw a video from its `video_stream`."""
    units = int(rng.integers(settings.shortest, settings.longest + 1))
    path = process.sample_path(rng, settings, scenario, units)
    visual, audio = shown_prototypes(settings, path)
    rgb = observe(rng, settings, visual, world.rgb_basis, crops, settings.rgb_noise)
    heard = observe(rng, settings, audio, world.audio_basis, 1, settings.audio_noise)[0]
    return Sample(path, rgb, heard, rng)
