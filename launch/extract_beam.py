"""The work of `gfvad extract` for corpora beyond one machine: an Apache Beam pipeline through
tensorflow-datasets (no TensorFlow).

    pip install -r requirements.txt -r launch/requirements-video.txt \\
        -r launch/requirements-beam.txt
    python launch/extract_beam.py VIDEO_OR_FOLDER... --out=DIR
    python launch/extract_beam.py /mnt/videos --out=/mnt/features --runner=FlinkRunner \\
        -- --flink_master=HOST:8081
    python launch/extract_beam.py /mnt/videos --out=/mnt/features --runner=SparkRunner \\
        -- --spark_master_url=spark://HOST:7077
    python launch/extract_beam.py /mnt/videos --out=/mnt/features --runner=DataflowRunner \\
        -- --project=P --region=R --temp_location=gs://B/tmp --sdk_container_image=IMAGE

Without --runner it runs on this machine. Arguments are those of `gfvad extract` but --workers; what
stands behind `--` goes to Beam. Its files are the same to the bit: elements are files, workers run
the same function and write MODALITY/NAME.npy. So the videos and DIR have to be paths that every
worker sees (a network file system, a mounted bucket), and the workers need gfvad and
launch/requirements-video.txt (an image, or --setup_file). What the workers say of each file comes
back as a small tensorflow-datasets set of ArrayRecords and is joined into manifest.json and the
tables, --files-per-pipeline files at a time: an interrupt costs those that are in work, and the
same command goes on. Exit codes as there.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import apache_beam as beam  # noqa: E402
import tensorflow_datasets as tfds  # noqa: E402
from apache_beam.options.pipeline_options import PipelineOptions  # noqa: E402

from gfvad.base.types import ConfigError, DataError  # noqa: E402
from gfvad.encoders.registry import UnitEncoder, open_encoder  # noqa: E402
from gfvad.extraction import job, planning, workers  # noqa: E402
from gfvad.extraction.one_video import Failure, Task, work  # noqa: E402

RUNNERS = ("DirectRunner", "SparkRunner", "FlinkRunner", "DataflowRunner", "PortableRunner")
FILES = 2000  # of one pipeline
SPLIT = "files"
EXIT_BAD_INPUT = 2


def told(task: Task) -> tuple[str, dict[str, str]]:
    """What a worker says of a file: its name and, as JSON, the record or the failure."""
    result = work(task)
    kind = "failure" if isinstance(result, Failure) else "record"
    return task.name, {
        "name": task.name,
        "result": json.dumps([kind, list(result) if kind == "failure" else result]),
    }


class Told(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The set of what workers said, an example a file."""

    name = "gfvad_extracted"
    VERSION = tfds.core.Version("1.0.0")
    code_path = None  # nothing is downloaded

    def __init__(self, tasks: Sequence[Task], data_dir: str):
        self._tasks = tasks
        super().__init__(data_dir=data_dir, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {"name": tfds.features.Text(), "result": tfds.features.Text()}
            ),
        )

    def _split_generators(self, dl_manager, pipeline) -> dict:
        # reshuffled: a runner would otherwise fuse the two steps, and one worker would do all
        return {
            SPLIT: pipeline | beam.Create(list(self._tasks)) | beam.Reshuffle() | beam.Map(told)
        }

    def _generate_examples(self) -> Iterator:
        return iter(())  # the split comes as a collection

    # nothing is downloaded: keep the library's banner off stdout
    def _log_download_bytes(self) -> None:
        pass

    def _log_download_done(self) -> None:
        pass


def runner_of(
    name: str, options: Sequence[str], files: int
) -> Callable[..., Iterator[tuple[Task, Any]]]:
    """A stand-in for `workers.spread` that runs pipelines of so many files."""

    def run(
        function, tasks: Sequence[Task], count: int, stop: workers.Stop, tick
    ) -> Iterator[tuple[Task, Any]]:
        done = workers.counter()
        for k in range(0, len(tasks), files):
            if stop.now:
                return
            part = {task.name: task for task in tasks[k : k + files]}
            folder = tempfile.mkdtemp(prefix=".beam-", dir=next(iter(part.values())).out)
            try:
                builder = Told(list(part.values()), folder)
                config = tfds.download.DownloadConfig(
                    beam_runner=name, beam_options=PipelineOptions(list(options), runner=name)
                )
                # reaches workers of this process, as the direct runner has them
                with workers.sharing(stop, done):
                    builder.download_and_prepare(download_config=config)
                for example in builder.as_data_source(split=SPLIT):
                    kind, result = json.loads(example["result"].decode())
                    yield (
                        part[example["name"].decode()],
                        (Failure(*result) if kind == "failure" else result),
                    )
                tick(done.value)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    return run


def main(argv: Sequence[str], opener: Callable[..., UnitEncoder] = open_encoder) -> int:
    """Runs one command line; returns the exit code."""
    own, options = (
        (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    )
    parser = planning.argument_parser("python launch/extract_beam.py", __doc__)
    parser.add_argument(
        "--runner", default="DirectRunner", choices=RUNNERS, help="who runs the pipeline"
    )
    parser.add_argument(
        "--files-per-pipeline",
        type=int,
        default=FILES,
        help=f"files after which the manifest is brought up to date (default {FILES})",
    )
    arguments = parser.parse_args(own)
    try:
        if arguments.files_per_pipeline < 1:
            raise ConfigError(
                f"--files-per-pipeline={arguments.files_per_pipeline}: expected at least 1"
            )
        plan = planning.make_plan(arguments, opener)
        plan = plan._replace(
            videos=[video._replace(path=Path(os.path.abspath(video.path))) for video in plan.videos]
        )
        out = Path(arguments.out).expanduser().absolute()
        return job.extract(
            plan,
            out,
            arguments.layout,
            0,
            runner_of(arguments.runner, options, arguments.files_per_pipeline),
        )
    except (ConfigError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
