"""A pretended Kubernetes: runs the pods of a rendered JobSet as processes here, and follows its
podFailurePolicy and failurePolicy as the controllers of Jobs and JobSets do."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workers import Moment, Workers

INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
DISRUPTED = "disrupted"  # stands for the exit code of a pod whose node went away


def signalled(group: int, number: int) -> None:
    """A signal to a group of processes, which may have ended just now."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


@dataclass
class Cluster:
    """One JobSet at work.

    Fields: folder: where the pods run; environment: of every pod, beside its own; moment: when
    the machine acts; act: what it does then: `drain` (SIGTERM to the first pod), `lose` (the last
    pod is killed with its node), `kill` (the last pod is killed by itself); events: what happened.
    """

    jobset: Mapping[str, Any]
    folder: Path
    environment: Mapping[str, str]
    moment: Moment
    act: str = "drain"
    events: list[str] = field(default_factory=list)

    def run(self) -> str:
        """'Completed' or 'Failed'."""
        policy, restarts = self.jobset["spec"]["failurePolicy"], 0
        while True:
            reason = self.run_job()
            if not reason:
                return self.event("Completed")
            action = next(
                (
                    rule["action"]
                    for rule in policy["rules"]
                    if reason in rule["onJobFailureReasons"]
                ),
                "RestartJobSet",
            )
            if action == "FailJobSet" or restarts >= policy["maxRestarts"]:
                return self.event("Failed", reason)
            restarts += 1
            self.event("RestartJobSet", reason)

    def event(self, what: str, why: str = "") -> str:
        self.events.append(f"{what} {why}".strip())
        return what

    def run_job(self) -> str:
        """Runs all pods to their end; returns the reason of the Job's failure, '' for none."""
        job = self.jobset["spec"]["replicatedJobs"][0]["template"]["spec"]
        with socket.create_server(("localhost", 0)) as free:
            port = free.getsockname()[1]
        workers, open_pods, disrupted = Workers(), [], set()
        try:
            for i in range(job["completions"]):
                self.start(job, i, port, workers)
                open_pods.append(i)
            while open_pods:
                self.wait_for_one(workers, open_pods, disrupted)
                for place in [i for i in open_pods if workers.codes()[i] is not None]:
                    code = workers.codes()[place]
                    if code == 0:
                        open_pods.remove(place)
                        continue
                    action = decide(job, DISRUPTED if place in disrupted else code)
                    self.event(action, f"pod {place}: {code}")
                    if action != "Ignore":
                        return "PodFailurePolicy" if action == "FailJob" else "BackoffLimitExceeded"
                    disrupted.discard(place)
                    fresh = Workers()
                    self.start(job, place, port, fresh)
                    workers.children[place] = fresh.children[0]
            return ""
        finally:
            workers.end()

    def wait_for_one(self, workers: Workers, open_pods: list[int], disrupted: set[int]) -> None:
        """Returns when a pod that was running has ended; acts on the way when it is time."""

        def each() -> bool:
            if self.moment.come():
                if self.act == "drain":
                    signalled(workers.children[0].pid, signal.SIGTERM)
                else:
                    signalled(workers.children[-1].pid, signal.SIGKILL)
                    if self.act == "lose":
                        disrupted.add(len(workers.children) - 1)
            return any(workers.codes()[i] is not None for i in open_pods)

        workers.watch(each)

    def start(self, job: Mapping[str, Any], index: int, port: int, workers: Workers) -> None:
        """Begins a pod's container; its peers' name leads to this machine."""
        container = job["template"]["spec"]["containers"][0]
        own = {"JOB_COMPLETION_INDEX": str(index)}
        for variable in container["env"]:
            value = variable.get("value")
            if value is None:
                assert variable["valueFrom"]["fieldRef"]["fieldPath"] == INDEX
                value = str(index)
            own[variable["name"]] = value
        name = self.jobset["metadata"]["name"]
        job_name = self.jobset["spec"]["replicatedJobs"][0]["name"]
        if host := own.get("GFVAD_COORDINATOR"):
            first, _, _ = host.partition(":")
            assert first == f"{name}-{job_name}-0-0.{name}", first
            own["GFVAD_COORDINATOR"] = f"localhost:{port}"
        words = [*container["command"], *(w.replace("$$(", "$(") for w in container["args"])]
        workers.start(words, {**self.environment, **own}, self.folder)


def decide(job: Mapping[str, Any], code: int | str | None) -> str:
    """What the Job's podFailurePolicy does about a pod: FailJob, Ignore, or Count."""
    for rule in job["podFailurePolicy"]["rules"]:
        codes = rule.get("onExitCodes", {}).get("values", [])
        conditions = [each["type"] for each in rule.get("onPodConditions", [])]
        if code in codes or (code == DISRUPTED and "DisruptionTarget" in conditions):
            return rule["action"]
    return "Count"
