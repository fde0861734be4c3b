"""Scores units of videos by an exported model. Needs numpy and jax alone; `gfvad export` puts
this file and what it imports of gfvad, as one file score.py, beside the model.

    python score.py FEATURES.npz SCORES.npz

FEATURES.npz holds an array a modality and video, named 'VIDEO/MODALITY' [N, D] (VIDEO may hold
slashes), float32, and, where the manifest says "clock", 'VIDEO/clock' [N] seconds. A modality that
a video has not is left out. SCORES.npz gets 'VIDEO' [N] for each.
"""

from __future__ import annotations

import io
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gfvad.tasks.exported import Refused, is_text, manifest_of, open_program, read_regular

CLOCK = "clock"
LARGEST = 1e17  # of a feature: the sum of 30,000 squares of such stays in the range of float32
# what numpy raises for bytes that it cannot read
UNREADABLE = (ValueError, KeyError, EOFError, RuntimeError, OSError, MemoryError)
CLIP = 1e-6  # keeps the logit of a score finite

# {modality: [B, N, D]}, mask bool [B, N] -> {"scores": [B, N], "graph": [B, N, N]}
Program = Callable[[Mapping[str, np.ndarray], np.ndarray], Mapping[str, Any]]


class UnitScorer:
    """A model's program with the rules by which videos are brought to it: windows, static lengths,
    what a modality adds.

    rules: modalities {name: D}, lengths [static N, ascending], segments (0, or the N that every
    video is brought to by means), clock (bool).
    """

    def __init__(self, program: Program, rules: Mapping[str, Any]):
        self.program, self.rules = program, rules
        self.modalities: dict[str, int] = dict(rules["modalities"])
        self.lengths = sorted(int(n) for n in rules["lengths"])

    def check(self, name: str, features: Mapping[str, np.ndarray]) -> int:
        """Number of units of a video. Raises Refused for other modalities, widths or lengths
        than the model's, and for numbers that are not finite."""
        known = {m: x for m, x in features.items() if m in self.modalities}
        expected = ", ".join(f"{m} [N, {d}]" for m, d in self.modalities.items())
        found = ", ".join(f"{m} {list(np.shape(x))}" for m, x in features.items()) or "nothing"
        lengths = {len(x) for x in known.values()}
        wrong = [
            m for m, x in known.items() if np.ndim(x) != 2 or np.shape(x)[1] != self.modalities[m]
        ]
        if not known or wrong or len(lengths) != 1 or not min(lengths):
            raise Refused(
                f"{name}: features {found}; this model takes {expected} with the same N: give"
                " features of the layout it was trained on"
            )
        for m, x in known.items():
            if not np.isfinite(x).all():
                raise Refused(
                    f"{name}: {int((~np.isfinite(x)).sum())} values of {m} are not finite numbers;"
                    " expected all of them finite: extract this video again"
                )
            if np.abs(x).max() > LARGEST:
                raise Refused(
                    f"{name}: {m} has values up to {np.abs(x).max():.3g}; expected at most"
                    f" {LARGEST:g}, for squares of larger ones overflow float32: extract this video"
                    " again, on the scale of training"
                )
        clock = np.shape(features[CLOCK]) if CLOCK in features else ()
        if self.rules.get(CLOCK) and clock != (min(lengths),):
            raise Refused(
                f"{name}: clock {clock}; this model takes the middles of"
                f" the units in seconds [{min(lengths)}]"
            )
        return min(lengths)

    def score(
        self,
        name: str,
        features: Mapping[str, np.ndarray],
        graph: bool = False,
        parts: bool = False,
    ) -> dict[str, Any]:
        """Unit scores [N] of one video; with `parts` {modality: what the logit would lack without
        it [N]}, with `graph` the fused graph [N, N].

        A modality that is not there is zeros. Videos longer than the longest static length are
        scored in windows; the graph is of the first window then.
        Raises Refused as `check`, and where a score or a part would not be a finite number.
        """
        units = self.check(name, features)
        absent = {m: np.zeros((units, d)) for m, d in self.modalities.items()}
        x = {m: np.asarray(features.get(m, absent[m]), np.float32) for m in self.modalities}
        if self.rules.get(CLOCK):
            x[CLOCK] = np.asarray(features[CLOCK], np.float32)[:, None]
        segments = int(self.rules.get("segments") or 0)
        if segments:
            x = {m: means(v, segments) for m, v in x.items()}
        found: dict[str, Any] = {}
        scores, fused = self._run(x, graph)
        there = [m for m in self.modalities if x[m].any()]
        without = lambda m: self._run({**x, m: np.zeros_like(x[m])}, False)[0]
        if not np.isfinite(scores).all():
            alone = len(there) == 1
            guilty = [m for m in there if alone or np.isfinite(without(m)).all()] or there
            peaks = ", ".join(f"{m} (values up to {np.abs(x[m]).max():.3g})" for m in guilty)
            raise Refused(
                f"{name}: {int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not"
                f" finite numbers, because of {peaks}; expected all of them finite: extract this"
                " video again, on the scale of training"
            )
        if parts:
            full = logit(scores)
            found["parts"] = {m: np.zeros_like(full) for m in self.modalities}
            for m in there:
                found["parts"][m] = full - logit(without(m)) if len(there) > 1 else full
            if lost := [m for m, part in found["parts"].items() if not np.isfinite(part).all()]:
                raise Refused(
                    f"{name}: scores without {', '.join(lost)} are not finite numbers; expected all"
                    " of them finite: extract this video again"
                )
        if segments:
            middles, own = ((np.arange(n) + 0.5) / n for n in (units, segments))
            scores = np.interp(middles, own, scores)
            if parts:
                found["parts"] = {m: np.interp(middles, own, v) for m, v in found["parts"].items()}
        return found | {"scores": scores, "graph": fused if not segments else None}

    def _run(
        self, x: Mapping[str, np.ndarray], graph: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        units, longest = len(next(iter(x.values()))), self.lengths[-1]
        scores, first = [], None
        pieces = -(-units // longest)  # the fewest windows, of equal size up to one unit
        edges = [k * units // pieces for k in range(pieces + 1)]
        for start, end in zip(edges, edges[1:]):
            window, n = {m: v[start:end] for m, v in x.items()}, end - start
            size = next(length for length in self.lengths if length >= n)
            padded = {m: np.pad(v, ((0, size - n), (0, 0)))[None] for m, v in window.items()}
            out = self.program(padded, (np.arange(size) < n)[None])
            scores.append(np.asarray(out["scores"], np.float64)[0, :n])
            if graph and first is None:
                first = np.asarray(out["graph"], np.float32)[0, :n, :n]
        return np.concatenate(scores), first


def means(x: np.ndarray, segments: int) -> np.ndarray:
    """[N, D] -> the means over `segments` equal spans [segments, D]; a span shorter than a unit
    is the unit it lies in."""
    n = len(x)
    edges = np.linspace(0, n, segments + 1).astype(np.int64)
    start, end = edges[:-1], np.maximum(edges[1:], edges[:-1] + 1)
    total = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, 0, dtype=np.float64)])
    return ((total[end] - total[start]) / (end - start)[:, None]).astype(np.float32)


def logit(scores: np.ndarray) -> np.ndarray:
    """log(s / (1 - s)) of scores in [0, 1]."""
    s = np.clip(scores, CLIP, 1 - CLIP)
    return np.log(s) - np.log1p(-s)


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of an artefact's folder. Raises Refused."""
    return manifest_of(folder, "weak", wrong_keys)


def open_artefact(folder: str | Path) -> UnitScorer:
    """The scorer of an artefact's folder. Raises Refused where a file is missing, damaged, or
    made for other devices than this machine's."""
    manifest = read_manifest(folder)
    call = open_program(folder, manifest)
    return UnitScorer(lambda features, mask: call(dict(features), mask), manifest["rules"])


def _counts(values: Any) -> bool:
    return bool(values) and all(
        isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in values
    )


def wrong_keys(manifest: Mapping[str, Any]) -> list[str]:
    """Keys of a manifest that scoring of units needs and that do not hold what `gfvad export`
    writes."""
    rules, encoders = manifest.get("rules"), manifest.get("encoders")
    tables = [encoders, *encoders.values()] if isinstance(encoders, dict) else [encoders]
    sound = {"encoders": encoders is None or all(isinstance(e, dict) for e in tables)}
    if not isinstance(rules, dict):
        return ["rules"] if sound["encoders"] else ["encoders", "rules"]
    widths, segments = rules.get("modalities"), rules.get("segments", 0)
    sound["rules.modalities"] = (
        isinstance(widths, dict) and _counts(widths.values()) and all(map(is_text, widths))
    )
    sound["rules.lengths"] = isinstance(rules.get("lengths"), list) and _counts(rules["lengths"])
    sound["rules.segments"] = (
        isinstance(segments, int) and not isinstance(segments, bool) and segments >= 0
    )
    sound[f"rules.{CLOCK}"] = isinstance(rules.get(CLOCK, False), bool)
    return [key for key, right in sound.items() if not right]


def read_features(path: str) -> dict[str, dict[str, np.ndarray]]:
    """{video: {modality: [N, D], clock: [N]}} of FEATURES.npz. Raises Refused."""
    content = read_regular(Path(path), "an .npz of features named 'VIDEO/MODALITY'")
    videos: dict[str, dict[str, np.ndarray]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)):
            pass  # np.load takes other files too
        with np.load(io.BytesIO(content)) as arrays:
            for key in arrays.files:
                name, _, modality = key.rpartition("/")
                x = arrays[key]
                videos.setdefault(name, {})[modality] = (
                    x[:, 0] if modality == CLOCK and x.ndim == 2 and x.shape[1] else x
                )
    except (*UNREADABLE, zipfile.BadZipFile, zlib.error) as error:
        raise Refused(
            f"{path}: not a usable .npz ({error}); expected arrays of numbers named"
            " 'VIDEO/MODALITY': write it again by numpy.savez"
        ) from None
    return videos


def main(argv: list[str]) -> int:
    """The command; 1 where some videos gave no scores, 2 where none did or something cannot be
    used."""
    if len(argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        scorer = open_artefact(Path(__file__).resolve().parent)
        videos = read_features(argv[0])
        scores, failed = {}, []
        for name, features in videos.items():
            try:
                scores[name] = scorer.score(name, features)["scores"]
            except Refused as error:
                failed.append(str(error))
        if failed and not scores:
            raise Refused(failed[0])
        np.savez(argv[1], **scores)
    except (Refused, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"scores   {argv[1]}: {len(scores)} videos")
    for reason in failed:
        print(f"no scores of {reason}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
