"""What a call of the extraction has to do, from its arguments: videos, labels, encoders. All that
can be wrong before work begins is found here."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gfvad.base.names import matched, nearest
from gfvad.base.options import Parser
from gfvad.base.types import ConfigError
from gfvad.data import annotations
from gfvad.encoders.registry import (
    DEFAULT,
    ENCODERS,
    UnitEncoder,
    find_encoder,
    open_encoder,
    settings_known,
)
from gfvad.extraction import labels as labels_lib
from gfvad.extraction.feature_files import LAYOUTS, describe_encoder, feature_file
from gfvad.extraction.labels import Label
from gfvad.extraction.one_video import Spec, open_spec
from gfvad.extraction.videos import VideoSource, find_videos, video_name

TEST_FRACTION = 0.2


class Plan(NamedTuple):
    """What a call has to do."""

    videos: Sequence[VideoSource]
    labels: Mapping[str, Label]  # {} where none were given
    spans: Mapping[str, Sequence[tuple[int, int, str]]]
    specs: Mapping[str, Spec]  # modality -> encoder
    encoders: Mapping[str, dict[str, Any]]  # modality -> its description for the manifest
    passed: Sequence[Path] = ()  # files in the given folders that hold no video
    own: bool = True  # what encoders look up was given for these videos


def argument_parser(prog: str, about: str | None) -> Parser:
    """The arguments that a job on one machine and a pipeline share."""
    made = Parser(prog, about)
    given = "video files, and folders that are searched through for them"
    made.add_argument("inputs", nargs="+", metavar="VIDEO_OR_FOLDER", help=given)
    made.add_argument("--out", required=True, help="folder of the features")
    form, other = "MODALITY=NAME[:key=value,...]", "another encoder than the modality's own"
    made.add_argument("--encoder", action="append", default=[], metavar=form, help=other)
    lies = "folders and names of the features"
    made.add_argument("--layout", default="generic", choices=LAYOUTS, help=lies)
    for name, default, help in (
        (
            "modalities",
            "",
            f"joined by commas (default: {','.join(DEFAULT)}, and those of --encoder and"
            " --descriptions)",
        ),
        (
            "descriptions",
            "",
            "JSON lines of descriptions, or a local vision-language model: the modality text",
        ),
        ("labels", "", "CSV name,label[,split][,class] (0 normal, 1 abnormal)"),
        (
            "spans",
            "",
            "CSV name,start,end[,class] of abnormal frames from 0, end excluded (default: whole"
            " videos)",
        ),
        ("normal", "", "names of folders that hold normal videos, joined by commas"),
        ("abnormal", "", "names of folders that hold abnormal videos, joined by commas"),
        (
            "test-fraction",
            TEST_FRACTION,
            "part of the videos of each label for testing, where no split is given (default"
            f" {TEST_FRACTION})",
        ),
        (
            "fold",
            0,
            "which such part (default 0, the first): 0 to 4 test every video once where a fifth is"
            " tested",
        ),
    ):
        made.add_argument(f"--{name}", type=type(default), default=default, help=help)
    return made


def make_plan(
    arguments: argparse.Namespace, opener: Callable[..., UnitEncoder] = open_encoder
) -> Plan:
    """Everything that can be wrong before work begins is found here. Raises ConfigError and
    DataError."""
    specs = read_specs(arguments.modalities, arguments.encoder, arguments.descriptions, opener)
    for m in specs if arguments.layout == "xd" else ():
        feature_file("xd", m, "", "")
    passed: list[Path] = []
    videos = find_videos(arguments.inputs, passed)
    found = read_labels(arguments, videos)
    spans = read_spans(Path(arguments.spans).expanduser(), videos, found) if arguments.spans else {}
    return Plan(
        videos,
        found,
        spans,
        specs,
        {m: describe_encoder(open_spec(spec)) for m, spec in specs.items()},
        passed,
    )


def read_spans(
    path: Path, videos: Sequence[VideoSource], labels: Mapping[str, Label]
) -> dict[str, list[tuple[int, int, str]]]:
    """{name: [(start, end, class)]} of spans.csv, names with or without folders and suffix.

    Raises DataError where none is of a given video, although abnormal test videos are among them.
    """
    table: dict[str, list[tuple[int, int, str]]] = {}
    for name, found in annotations.parse_spans_csv(path).items():
        table[video_name(name)] = sorted([*table.get(video_name(name), []), *found])
    own = labels_lib.fit(table, videos, path)
    taken = set(own.values())
    if not taken and any(line.label and line.split == "test" for line in labels.values()):
        matched(str(path), table, labels, "spans")
    # those of no video are named in the summary
    rest = {name: found for name, found in table.items() if name not in taken}
    return {**rest, **{video: table[name] for video, name in own.items()}}


def read_specs(
    modalities: str,
    given: Sequence[str],
    descriptions: str,
    opener: Callable[..., UnitEncoder] = open_encoder,
) -> dict[str, Spec]:
    """{modality: encoder to open}. Raises ConfigError for a modality without an encoder, a
    malformed --encoder, two for one modality."""
    chosen: dict[str, Spec] = {}
    for text in given:
        modality, _, rest = text.partition("=")
        name, _, listed = rest.partition(":")
        pairs = [pair.partition("=") for pair in listed.split(",") if pair]
        if (
            not modality
            or not name
            or not all(equals for _, equals, _ in pairs)
            or modality in chosen
        ):
            raise ConfigError(
                f"--encoder={text}: expected MODALITY=NAME or MODALITY=NAME:key=value,..., once a"
                " modality"
            )
        settings = {key.strip(): _value(value) for key, _, value in pairs}
        if "modality" in settings_known(name):
            settings.setdefault("modality", modality)
        chosen[modality] = Spec(modality, name, tuple(sorted(settings.items())), opener)
    if descriptions:
        if "text" in chosen:
            raise ConfigError("--descriptions and --encoder=text=...: expected one of them")
        chosen["text"] = Spec("text", "text", (("path", descriptions),), opener)
    asked = tuple(m.strip() for m in modalities.split(",") if m.strip()) or tuple(
        dict.fromkeys((*DEFAULT, *chosen))
    )
    if len(set(asked)) < len(asked) or not set(chosen) <= set(asked):
        raise ConfigError(
            f"--modalities={modalities}: expected each once, and those of --encoder and"
            f" --descriptions ({', '.join(chosen) or 'none'}) among them"
        )
    for m in (m for m in asked if m not in chosen):
        if getattr(find_encoder(m), "modality", "") != m:
            raise ConfigError(
                f"--modalities={modalities}: {m!r} has no encoder of its"
                f" own{nearest(m, list(ENCODERS['units']))}; give --encoder={m}=NAME:..."
            )
    return {m: chosen.get(m, Spec(m, m, (), opener)) for m in asked}


def _value(text: str) -> Any:
    """A number, tuple, True or False as Python writes it; anything else is text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def read_labels(arguments: argparse.Namespace, videos: Sequence[VideoSource]) -> dict[str, Label]:
    """{name: Label}; {} where no labels are asked for. Raises ConfigError, DataError."""
    fraction, fold = arguments.test_fraction, arguments.fold
    if not 0 <= fraction <= 1:
        raise ConfigError(f"--test-fraction={fraction}: expected a part from 0 to 1")
    normal, abnormal = (
        [f.strip("/ ") for f in text.split(",") if f.strip("/ ")]
        for text in (arguments.normal, arguments.abnormal)
    )
    if arguments.labels and (normal or abnormal):
        raise ConfigError("--labels and --normal, --abnormal: expected one of them")
    if arguments.labels:
        found = labels_lib.from_table(Path(arguments.labels).expanduser(), videos, fraction, fold)
    elif normal or abnormal:
        found = labels_lib.from_folders(videos, normal, abnormal, fraction, fold)
    elif arguments.spans and arguments.layout != "xd":
        raise ConfigError(
            "--spans without labels: give --labels=FILE or --normal=FOLDER --abnormal=FOLDER too"
        )
    else:
        found = {}
    if fold and not found and arguments.layout != "xd":
        raise ConfigError(
            f"--fold={fold} without labels: give --labels=FILE or --normal=FOLDER"
            " --abnormal=FOLDER too"
        )
    if arguments.layout == "xd":
        by_name = labels_lib.from_xd_names(videos)
        split = found or labels_lib.with_split(by_name, videos, fraction, fold)
        return {name: line._replace(split=split[name].split) for name, line in by_name.items()}
    return found
