"""Prints the main job as a Kubernetes JobSet.

    python launch/k8s_jobset.py --name=xd --image=IMAGE --pods=4 --gpus=1 --claim=data:/mnt -- --config=xd --config.data.root=/mnt/xd --workdir=/mnt/runs/xd

What stands after `--` is the argument list of the other launchers. IMAGE is one in which
`python -m gfvad.main` runs; --claim names a PersistentVolumeClaim that every pod mounts (with data
and workdir on gs:// or s3:// none is needed). A slice of Cloud TPUs on GKE: --tpu=tpu-v5-lite-podslice
--topology=4x4 --chips=4. Only the standard library is used.
"""  # noqa: E501

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

TEMPLATE = Path(__file__).with_name("k8s_jobset.yaml")
PORT = 8476  # of the coordinator; jax's own choice on Cloud TPU
JOB = "job"  # the replicated job's name in the template
NAME = r"[a-z]([-a-z0-9]{0,39}[a-z0-9])?"  # pods are NAME-job-0-INDEX-xxxxx, 63 characters
EXIT_BAD_INPUT = 2


def main(argv: Sequence[str]) -> int:
    """Prints the JobSet of a command line; returns the exit code."""
    parser = argparse.ArgumentParser(usage=(__doc__ or "").strip())
    parser.add_argument("--name", required=True)
    parser.add_argument("--image", required=True)
    parser.add_argument("--pods", type=int, default=1)
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--tpu", default="")
    parser.add_argument("--topology", default="")
    parser.add_argument("--chips", type=int, default=0)
    parser.add_argument("--claim", default="")
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--wait", type=int, default=600, help="seconds to wait for peers")
    words = list(argv)
    cut = words.index("--") if "--" in words else len(words)
    options, arguments = parser.parse_args(words[:cut]), words[cut + 1 :]
    if problem := wrong(options, arguments):
        print(f"k8s_jobset: {problem}", file=sys.stderr)
        return EXIT_BAD_INPUT
    print(render(options, arguments), end="")
    return 0


def wrong(options: argparse.Namespace, arguments: Sequence[str]) -> str:
    """What is wrong with a command line; '' where nothing is."""
    given = {word.split("=")[0] for word in arguments if "=" in word}
    if not {"--config", "--workdir"} <= given:
        return (
            "expected -- --config=NAME --workdir=FOLDER (that every pod and every restart sees),"
            f" found {' '.join(arguments) or 'nothing'}"
        )
    if not re.fullmatch(NAME, options.name):
        return (
            f"--name={options.name}: expected small letters, digits and dashes, beginning with a"
            " letter, at most 41"
        )
    if options.pods < 1 or options.restarts < 0 or options.wait < 1:
        return "--pods and --wait: expected at least 1, and --restarts at least 0"
    if bool(options.tpu) != bool(options.topology and options.chips):
        return "--tpu, --topology and --chips (a pod): expected all three or none"
    if options.claim and not re.fullmatch(r"[^:]+:/.+", options.claim):
        return f"--claim={options.claim}: expected CLAIM:/FOLDER"
    return ""


def render(options: argparse.Namespace, arguments: Sequence[str]) -> str:
    """The template filled in; JSON is YAML, so that no word needs a quoting of its own."""
    claim, _, folder = options.claim.partition(":")
    devices = {"google.com/tpu": options.chips, "nvidia.com/gpu": options.gpus}
    node = {
        "cloud.google.com/gke-tpu-accelerator": options.tpu,
        "cloud.google.com/gke-tpu-topology": options.topology,
    }
    exclusive = {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"}
    volume = {"name": "shared", "persistentVolumeClaim": {"claimName": claim}}
    values = {
        "NAME": options.name,
        "ANNOTATIONS": exclusive if options.tpu else {},
        "RESTARTS": options.restarts,
        "PODS": options.pods,
        "NODE_SELECTOR": node if options.tpu else {},
        "VOLUMES": [volume] if claim else [],
        "IMAGE": options.image,
        "COMMAND": ["python", "-m", "gfvad.main"],
        # Kubernetes would replace $(NAME) in an argument
        "ARGUMENTS": [word.replace("$(", "$$(") for word in arguments],
        "ENVIRONMENT": environment(options),
        "RESOURCES": {"limits": {name: count for name, count in devices.items() if count}},
        "MOUNTS": [{"name": "shared", "mountPath": folder}] if claim else [],
    }
    filled = {name: json.dumps(value) for name, value in values.items()}
    lines = TEMPLATE.read_text().splitlines(keepends=True)
    body = "".join(line for line in lines if not line.startswith("#"))
    return Template(body).substitute(filled)


def environment(options: argparse.Namespace) -> list[dict[str, Any]]:
    """How a pod finds its peers: the first pod's name in the JobSet's headless service, the number
    of pods, and the pod's index in the Job. On Cloud TPU jax finds them by itself."""
    wait = {"name": "GFVAD_WAIT_SECONDS", "value": str(options.wait)}
    if options.tpu:
        return (
            [wait, {"name": "GFVAD_DISTRIBUTED", "value": "auto"}] if options.pods > 1 else [wait]
        )
    if options.pods == 1:
        return [wait]
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    first = f"{options.name}-{JOB}-0-0.{options.name}:{PORT}"
    return [
        wait,
        {"name": "GFVAD_COORDINATOR", "value": first},
        {"name": "GFVAD_PROCESSES", "value": str(options.pods)},
        {"name": "GFVAD_PROCESS", "valueFrom": {"fieldRef": {"fieldPath": index}}},
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
