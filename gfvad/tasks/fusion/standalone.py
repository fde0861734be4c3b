"""Scores units of videos by an exported model. Needs numpy and jax alone; `python -m gfvad.export`
puts a copy of this file, named score.py, beside the model.

    python score.py FEATURES.npz SCORES.npz

FEATURES.npz holds an array a modality and video, named 'VIDEO/MODALITY' [N, D] (VIDEO may hold
slashes), float32, and, where the manifest says "clock", 'VIDEO/clock' [N] seconds. A modality that
a video has not is left out. SCORES.npz gets 'VIDEO' [N] for each.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

MODEL, MANIFEST = "model.jaxexport", "manifest.json"
FORMAT = 1
SEAL = "manifest_sha256"  # key of the manifest's own checksum
CLOCK = "clock"
LARGEST = 1e17  # of a feature: the sum of 30,000 squares of such stays in the range of float32
CLIP = 1e-6  # keeps the logit of a score finite

# {modality: [B, N, D]}, mask bool [B, N] -> {"scores": [B, N], "graph": [B, N, N]}
Program = Callable[[Mapping[str, np.ndarray], np.ndarray], Mapping[str, Any]]


class Refused(ValueError):
    """Input or an artefact that cannot be used; the message says what was found, what was
    expected and what to do."""


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
        if self.rules.get(CLOCK) and np.shape(features.get(CLOCK)) != (min(lengths),):
            raise Refused(
                f"{name}: clock {np.shape(features.get(CLOCK))}; this model takes the middles of"
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
        x = {
            m: np.asarray(features.get(m, np.zeros((units, d))), np.float32)
            for m, d in self.modalities.items()
        }
        if self.rules.get(CLOCK):
            x[CLOCK] = np.asarray(features[CLOCK], np.float32)[:, None]
        segments = int(self.rules.get("segments") or 0)
        if segments:
            x = {m: means(v, segments) for m, v in x.items()}
        found: dict[str, Any] = {}
        scores, fused = self._run(x, graph)
        there = [m for m in self.modalities if x[m].any()]
        if not np.isfinite(scores).all():
            guilty = [
                m
                for m in there
                if len(there) == 1
                or np.isfinite(self._run({**x, m: np.zeros_like(x[m])}, False)[0]).all()
            ] or there
            peaks = ", ".join(f"{m} (values up to {np.abs(x[m]).max():.3g})" for m in guilty)
            raise Refused(
                f"{name}: {int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not"
                f" finite numbers, because of {peaks}; expected all of them finite: extract this"
                " video again, on the scale of training"
            )
        if parts:
            full = logit(scores)
            left_out = (
                {m: self._run({**x, m: np.zeros_like(x[m])}, False)[0] for m in there}
                if len(there) > 1
                else {}
            )
            found["parts"] = {
                m: (
                    full - logit(left_out[m])
                    if m in left_out
                    else (full if m in there else np.zeros_like(full))
                )
                for m in self.modalities
            }
            if lost := [m for m, part in found["parts"].items() if not np.isfinite(part).all()]:
                raise Refused(
                    f"{name}: scores without {', '.join(lost)} are not finite numbers; expected all"
                    " of them finite: extract this video again"
                )
        if segments:
            scores = np.interp(
                (np.arange(units) + 0.5) / units, (np.arange(segments) + 0.5) / segments, scores
            )
            if parts:
                found["parts"] = {
                    m: np.interp(
                        (np.arange(units) + 0.5) / units, (np.arange(segments) + 0.5) / segments, v
                    )
                    for m, v in found["parts"].items()
                }
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


def is_artefact(folder: str | Path) -> bool:
    """Whether a folder is an export, whole or not, rather than a run."""
    has = lambda name: os.path.lexists(Path(folder) / name)  # noqa: E731  a pipe or a link to nothing is there too
    return has(MODEL) or (has(MANIFEST) and not has("config.json"))


def read_regular(path: Path, expected: str) -> bytes:
    """A whole regular file. Raises Refused for what is none: reading a pipe would never end."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            return path.read_bytes()
    except OSError as error:
        raise Refused(f"{path}: cannot be read ({error.strerror}); expected {expected}") from None
    raise Refused(
        f"{path}: {'a folder' if stat.S_ISDIR(mode) else 'no regular file'}; expected {expected}"
    )


def seal(manifest: Mapping[str, Any]) -> str:
    """The checksum of a manifest, which stands in it under SEAL."""
    stated = {key: value for key, value in manifest.items() if key != SEAL}
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of an artefact; one of an earlier version has no checksum. Raises Refused."""
    path = Path(folder) / MANIFEST
    content = read_regular(
        path, "the folder that `python -m gfvad.export` wrote: copy the whole folder"
    )
    again = (
        "expected the manifest of an artefact: copy the whole folder again, or export the run again"
    )
    try:
        manifest = json.loads(
            content.decode("utf-8-sig"), object_pairs_hook=_unique, parse_constant=_no_number
        )
    except RecursionError:
        raise Refused(f"{path}: JSON nested too deep; {again}") from None
    except ValueError as error:
        raise Refused(f"{path}: not usable JSON ({error}); {again}") from None
    if not isinstance(manifest, dict):
        raise Refused(f"{path}: a JSON {type(manifest).__name__}; {again}")
    if manifest.get("format") != FORMAT or manifest.get("kind") != "weak":
        raise Refused(
            f"{path}: format {manifest.get('format')!r}, kind {manifest.get('kind')!r}; expected"
            f" format {FORMAT} of kind 'weak': export the run again with this version"
        )
    if SEAL in manifest and manifest[SEAL] != seal(manifest):
        raise Refused(
            f"{path}: its checksum ({SEAL}) is not that of its content: it was changed or is"
            f" damaged; {again}"
        )
    if wrong := wrong_keys(manifest):
        raise Refused(
            f"{path}: {', '.join(wrong)} missing, or not what an export writes there; {again}"
        )
    return manifest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if twice := [key for key in dict.fromkeys(keys) if keys.count(key) > 1]:
        raise ValueError(f"key {twice[0]!r} stands twice")
    return dict(pairs)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no finite number")


def _counts(values: Any) -> bool:
    return bool(values) and all(
        isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in values
    )


def _text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def wrong_keys(manifest: Mapping[str, Any]) -> list[str]:
    """Keys of a manifest that scoring needs and that do not hold what `python -m gfvad.export`
    writes."""
    rules, threshold, encoders = (manifest.get(key) for key in ("rules", "threshold", "encoders"))
    sound = {key: _text(manifest.get(key)) for key in ("name", "threshold_rule", "sha256")}
    sound["threshold"] = (
        isinstance(threshold, (int, float))
        and not isinstance(threshold, bool)
        and abs(threshold) < float("inf")
    )
    sound["encoders"] = encoders is None or (
        isinstance(encoders, dict) and all(isinstance(e, dict) for e in encoders.values())
    )
    if not isinstance(rules, dict):
        return [key for key, right in sound.items() if not right] + ["rules"]
    widths, segments = rules.get("modalities"), rules.get("segments", 0)
    sound["rules.modalities"] = (
        isinstance(widths, dict) and _counts(widths.values()) and all(map(_text, widths))
    )
    sound["rules.lengths"] = isinstance(rules.get("lengths"), list) and _counts(rules["lengths"])
    sound["rules.segments"] = (
        isinstance(segments, int) and not isinstance(segments, bool) and segments >= 0
    )
    sound[f"rules.{CLOCK}"] = isinstance(rules.get(CLOCK, False), bool)
    return [key for key, right in sound.items() if not right]


def open_artefact(folder: str | Path) -> UnitScorer:
    """The scorer of an artefact's folder. Raises Refused where a file is missing, damaged, or
    made for other devices than this machine's."""
    import jax
    from jax import export

    manifest, path = read_manifest(folder), Path(folder) / MODEL
    content = read_regular(path, "the model beside its manifest: copy the whole folder")
    if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
        raise Refused(
            f"{path}: its hash is not the manifest's; expected the file that was exported with it:"
            " copy the whole folder again"
        )
    try:
        exported = export.deserialize(bytearray(content))
    except (ValueError, TypeError, AssertionError, RuntimeError) as error:
        # of another version of jax
        raise Refused(
            f"{path}: this jax ({jax.__version__}) cannot read it ({error}); expected the versions"
            " of requirements.txt beside it: install those, or export again"
        ) from None
    platform = jax.default_backend()
    names = {"gpu": "cuda"}
    if names.get(platform, platform) not in exported.platforms:
        raise Refused(
            f"{path}: exported for {', '.join(exported.platforms)}, and this machine runs"
            f" {platform}: set JAX_PLATFORMS=cpu, or export for it (--platforms)"
        )
    call = jax.jit(exported.call)
    return UnitScorer(lambda features, mask: call(dict(features), mask), manifest["rules"])


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
    except (
        ValueError,
        KeyError,
        EOFError,
        RuntimeError,
        OSError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
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
