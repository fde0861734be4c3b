"""Everything between the readings of the predictive model and its scores: made of training videos,
kept beside the run's checkpoints.

A file scorer-STEP-MARK.npz belongs to one checkpoint and one set of settings, whose hash is MARK,
and is looked for under that name alone: what was made of another checkpoint or with other settings
of the score is never taken for it. With it a run scores videos where its training set is not.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from gfvad.base import files
from gfvad.base.arrays import load_npz
from gfvad.base.errors import LIBRARY_ERRORS
from gfvad.base.types import DataError
from gfvad.data.frames.clip_data import ClipData
from gfvad.data.frames.clips import Parts
from gfvad.data.frames.flow import FlowStore
from gfvad.data.frames.perturbed_clips import Perturbable
from gfvad.data.frames.pieces import cut_pieces, name_of, spread_pieces
from gfvad.measure import results
from gfvad.tasks.prediction import score_terms, term_weights
from gfvad.tasks.prediction.frame_errors import Reader
from gfvad.tasks.prediction.picture_bank import PICTURES, PictureBank, small_pictures
from gfvad.train.state import TrainState

FORMAT = 1
PAIRS = ("relation", "semantic")  # fields of a calibration that are pairs of arrays, or None
# training frames (whole videos, or pieces of many or long ones) that calibration is made from
STATISTICS_FRAMES = 4000
EVENT_FRAMES = 1000  # of held-out video, in the same form, that each copy with events changes
EVENTS_SEED = 1
QUANTILE = 0.995  # of the frames of held-out normal training videos stay below the threshold
# a place that is so many standard deviations above normal in every term is the top of the scale of
# heat maps
HEAT_Z = 10.0


class ScoreRule(NamedTuple):
    """Made of training videos alone; what the model needs to be built without them stands here
    too."""

    calibration: score_terms.Calibration
    causal: score_terms.Calibration  # the same for windows that end at the frame
    chosen: term_weights.Chosen
    held: np.ndarray  # float32 [H] scores of the frames of held-out normal training videos
    held_causal: np.ndarray  # float32 [H] the same with causal windows
    # features of one clip: name -> (shape, dtype)
    inputs: Mapping[str, tuple[tuple[int, ...], str]]
    # (height, width) in pixels that flow is taken at; (0, 0) without flow
    flow_size: tuple[int, int]

    def threshold(self, causal: bool = False, quantile: float = QUANTILE) -> float:
        """The score that a share `quantile` of the held-out normal frames stays below: from
        there on it is an alarm."""
        return float(np.quantile(self.held_causal if causal else self.held, quantile))

    def threshold_rule(self, quantile: float = QUANTILE) -> str:
        """How the threshold was made, in words."""
        return (
            f"{quantile:.1%} of {len(self.held):,} frames of held-out normal training videos stay"
            " below"
        )

    @property
    def text_width(self) -> int:
        """Width of the embeddings of descriptions; 0 for a model that reads none."""
        return self.inputs["text"][0][0] if "text" in self.inputs else 0

    @property
    def heat_top(self) -> float:
        """The value of the total heat map that is 255 in a picture, the same for every video."""
        placed = score_terms.place_weights(self.chosen.weights)
        total = sum(w for n, w in placed.items() if n in self.calibration.mean)
        return float(total * score_terms.evidence(np.asarray(HEAT_Z), 0.0, 1.0)) or 1.0

    def example(self) -> dict[str, np.ndarray]:
        """Features of one clip, all zeros: what the model is initialised with."""
        return {name: np.zeros(shape, dtype) for name, (shape, dtype) in self.inputs.items()}


def make_rule(
    config: ConfigDict,
    train: ClipData,
    split: Parts,
    model: tuple[Reader, TrainState],
    say: Callable[[str], None],
) -> ScoreRule:
    """Calibrates on training videos and chooses the weights on perturbed held-out ones. model: it
    and its weights."""
    cfg, (reader, state) = config.score, model
    learnt, held = (
        spread_pieces(train.lengths, videos, STATISTICS_FRAMES)
        for videos in (split.train, split.validation)
    )
    read = cut_pieces(train, [*learnt, *held])
    bank = bank_of(cfg, train)
    readings = [
        score_terms.compared(found._replace(own=piece.video), bank)
        for found, piece in zip(
            reader.read(state, read, range(len(read)), "reading training videos"),
            [*learnt, *held],
        )
    ]
    fitted, kept = readings[: len(learnt)], readings[len(learnt) :]
    calibration = score_terms.fit(fitted, kept, cfg, bank)
    other = score_terms.fit(fitted, kept, streaming(cfg), bank)
    # what is normal at each place knows no windows
    causal = calibration._replace(mean=other.mean, std=other.std)
    names = tuple(name for name in cfg.terms if name in calibration.mean)
    if given := tuple(cfg.weights):
        found = term_weights.Chosen(dict(zip(names, map(float, given))), float("nan"), {})
    else:
        copies = [
            (score_terms.calibrated(values, calibration, names), kinds)
            for values, kinds in events(cfg, train, split, model, calibration)
        ]
        found = term_weights.choose(copies, cfg.weighting)
        shares = (f"{n} {w:g} (alone {found.alone[n]:.3f})" for n, w in found.weights.items())
        say(
            f"weights: {', '.join(shares)}; AUC {found.auc:.4f} on synthetic events in held-out"
            " normal video"
        )
    held_scores, causal_scores = (
        np.concatenate([frame_scores_of(r, fit, found, windows) for r in kept]).astype(np.float32)
        for fit, windows in ((calibration, cfg), (causal, streaming(cfg)))
    )
    inputs = {name: (x.shape, x.dtype.name) for name, x in train.features(0, 0).items()}
    return ScoreRule(
        calibration, causal, found, held_scores, causal_scores, inputs, flow_size(train)
    )


def flow_size(train: ClipData) -> tuple[int, int]:
    """(height, width) in pixels that flow is taken at; (0, 0) without flow."""
    if not isinstance(train.flow, FlowStore):  # of a training set, never of copies in memory
        return 0, 0
    height, width = train.flow.size
    return int(height), int(width)


def bank_of(cfg: ConfigDict, train: ClipData) -> PictureBank | None:
    """Pictures of all training videos, evenly spread; None where the score has no term of them."""
    if "bank" not in cfg.terms:
        return None
    video, frame = bank_places(train.lengths)
    parts = [train.frames.clip(v, frame[video == v]) for v in np.unique(video).tolist()]
    return PictureBank(small_pictures(np.concatenate(parts)), video)


def bank_places(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(video [K], its frame [K]) of the pictures of a bank, from videos of so many frames."""
    total = int(lengths.sum())
    keep = np.linspace(0, total - 1, min(PICTURES, total)).round().astype(int)
    video = np.repeat(np.arange(len(lengths)), lengths)[keep]
    return video, keep - (np.cumsum(lengths) - lengths)[video]


def events(
    cfg: ConfigDict,
    train: ClipData,
    split: Parts,
    model: tuple[Reader, TrainState],
    calibration: score_terms.Calibration,
) -> Iterator[tuple[dict[str, np.ndarray], list[str]]]:
    """(frame values of the terms, kind of event of each frame) of copies of held-out videos with
    synthetic events in them."""
    reader, state = model
    rng = np.random.default_rng(EVENTS_SEED)  # the same events for every seed of a model
    held = spread_pieces(train.lengths, split.validation, EVENT_FRAMES)
    videos = Perturbable(train, held, cfg.events)
    for copy in range(cfg.perturbations):
        for number, piece in enumerate(held):
            data, changed = videos.copy(number, rng, lambda text: None)
            label = f"perturbed copy {copy + 1} of {name_of(train, piece)}"
            found = reader.read(state, data, [0], label)[0]._replace(own=piece.video)
            yield score_terms.frame_values(found, calibration, cfg), changed.kinds


def streaming(cfg: ConfigDict) -> ConfigDict:
    """config.score with windows that end at the frame."""
    other = cfg.copy_and_resolve_references()
    other.causal = True
    return other


def frame_scores_of(
    readings: score_terms.Readings,
    calibration: score_terms.Calibration,
    chosen: term_weights.Chosen,
    cfg: Any,
) -> np.ndarray:
    """Frame scores [T] of one video."""
    values = score_terms.frame_values(readings, calibration, cfg)
    return score_terms.combine(
        score_terms.calibrated(values, calibration, cfg.terms), chosen.weights
    )


# ---- on disk


def path_of(workdir: Path, step: int, mark: str) -> Path:
    """Where the scorer of a checkpoint and of settings lies."""
    return workdir / f"scorer-{step}-{mark}.npz"


def write_rule(path: Path, scorer: ScoreRule) -> Path:
    """Writes a rule, whole or not at all. Raises OSError where that cannot be."""
    c = scorer.calibration
    arrays = {"speed": c.speed, "held": scorer.held, "held_causal": scorer.held_causal}
    for name in PAIRS:
        if pair := getattr(c, name):
            arrays |= {f"{name}/mean": pair[0], f"{name}/spread": pair[1]}
    if c.bank is not None:
        arrays |= {"bank": c.bank.pictures, "bank/videos": c.bank.videos}
    about = {
        "format": FORMAT,
        "mark": path.stem,
        "weights": scorer.chosen._asdict(),
        "inputs": dict(scorer.inputs),
        "flow_size": scorer.flow_size,
        "mean": c.mean,
        "std": c.std,
        "causal_mean": scorer.causal.mean,
        "causal_std": scorer.causal.std,
    }
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    return results.atomically(path, lambda file: np.savez(file, allow_pickle=True, **arrays))


def read_rule(path: Path) -> ScoreRule | None:
    """The rule in a file; None where there is none. Raises DataError for a file that is damaged,
    renamed or of another version."""
    if not os.path.lexists(path):
        return None
    remedy = "remove it; it is made again from the training set"
    try:
        arrays = load_npz(path)
        text, what = arrays["about"].tobytes().decode(), "what an evaluation writes"
        about = files.parse_json(text, f"{path}:about", what, finite=False)
        if (about["format"], about["mark"]) != (FORMAT, path.stem):
            raise DataError(
                f"{path}: format {about['format']} of {about['mark']}, expected format {FORMAT} of"
                f" {path.stem}: {remedy}"
            )
        relation, semantic = (
            (arrays[f"{n}/mean"], arrays[f"{n}/spread"]) if f"{n}/mean" in arrays else None
            for n in PAIRS
        )
        calibration = score_terms.Calibration(
            arrays["speed"],
            relation,
            semantic,
            about["mean"],
            about["std"],
            PictureBank(arrays["bank"], arrays["bank/videos"]) if "bank" in arrays else None,
        )
        causal = calibration._replace(mean=about["causal_mean"], std=about["causal_std"])
        inputs = {name: (tuple(shape), dtype) for name, (shape, dtype) in about["inputs"].items()}
        height, width = about["flow_size"]
        chosen, held = term_weights.Chosen(**about["weights"]), arrays["held"]
        sizes = inputs, (height, width)
        return ScoreRule(calibration, causal, chosen, held, arrays["held_causal"], *sizes)
    except DataError as error:
        raise DataError(f"{error}; {remedy}" if remedy not in str(error) else str(error)) from None
    except (*LIBRARY_ERRORS, zlib.error, struct.error) as error:
        raise DataError(
            f"{path}: not a scorer ({type(error).__name__}: {error}); expected what an evaluation"
            f" writes: {remedy}"
        ) from None
