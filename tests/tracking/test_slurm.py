"""A real Slurm of one machine: jobs share the sequences; one is cancelled, one killed, one pre-empted midway."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import tnllt
from tests.tracking.conftest import LENGTHS, TRACKERS, results, tnllt_run
from tnllt.errors import UsageError
from tnllt.slurm import FOLDER, job_numbers, job_states

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scancel", "scontrol")
missing = [name for name in PROGRAMS if shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin") is None]
pytestmark = pytest.mark.slow
needs_slurm = pytest.mark.skipif(
    bool(missing) or os.geteuid() != 0, reason=f"needs root and a Slurm (Debian's slurm-wlm); not here: {missing}"
)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Controller and one node of four processors, on the loopback device, with a key and state of their own."""
    folder = tmp_path_factory.mktemp("slurm")
    node = socket.gethostname().split(".")[0]
    key, wire = folder / "munge.key", folder / "munge.socket"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    folder.chmod(0o755)
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir(mode=0o700)
    munge = [f"--key-file={key}", f"--socket={wire}", "--force", "--foreground",
             *(f"--{n}-file={folder / 'munge' / n}" for n in ("log", "pid", "seed"))]  # fmt: skip
    settings = {
        "ClusterName": "test", "SlurmctldHost": f"{node}(127.0.0.1)", "SlurmUser": "root", "SlurmdUser": "root",
        "AuthType": "auth/munge", "AuthInfo": f"socket={wire}", "CredType": "cred/munge",
        "SlurmctldPort": free_port(), "SlurmdPort": free_port(),
        "CommunicationParameters": "NoInAddrAny,NoCtldInAddrAny",
        "StateSaveLocation": folder / "state", "SlurmdSpoolDir": folder / "spool",
        "SlurmctldPidFile": folder / "ctld.pid", "SlurmdPidFile": folder / "slurmd.pid",
        "SlurmctldLogFile": folder / "ctld.log", "SlurmdLogFile": folder / "slurmd.log",
        "ProctrackType": "proctrack/pgid", "TaskPlugin": "task/none", "MailProg": "/bin/true",
        "SelectType": "select/cons_tres", "SelectTypeParameters": "CR_CPU", "SlurmdParameters": "config_overrides",
        "SchedulerParameters": "sched_interval=1,batch_sched_delay=0,requeue_delay=1", "JobRequeue": 1, "KillWait": 2,
        "ReturnToService": 2, "MpiDefault": "none",
    }  # fmt: skip
    lines = [f"{name}={value}" for name, value in settings.items()]
    lines += [f"NodeName={node} NodeAddr=127.0.0.1 CPUs=4 RealMemory=4000 State=UNKNOWN",
              f"PartitionName=main Nodes={node} Default=YES MaxTime=INFINITE State=UP"]  # fmt: skip
    (folder / "slurm.conf").write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", os.environ["PATH"] + ":/usr/sbin")
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        daemons = [subprocess.Popen(["munged", *munge], stderr=subprocess.DEVNULL)]
        try:
            wait_for(wire.exists)
            daemons.append(subprocess.Popen(["slurmctld", "-D", "-i"], stderr=subprocess.DEVNULL))
            wait_for(lambda: subprocess.run(["scontrol", "ping"], capture_output=True).returncode == 0)
            daemons.append(subprocess.Popen(["slurmd", "-D", "-N", node], stderr=subprocess.DEVNULL))
            wait_for(lambda: "idle" in subprocess.run(["sinfo", "-h"], capture_output=True, text=True).stdout)
            yield folder
            subprocess.run(["scancel", "--me"], check=False)
        finally:
            for daemon in reversed(daemons):
                daemon.terminate()
            for daemon in daemons:
                daemon.wait(30)


def submitted(data: Path, folder: Path, *words: object, workers: int = 3) -> list[str]:
    done = tnllt_run(
        f"{TRACKERS}:Drift", "-d", data, "--results", folder, "--threads", 1, "--workers", workers, *words,
        "--slurm", "time=10,mem=1G",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"{workers} Slurm jobs submitted" in done.stdout and "tnllt-run status" in done.stdout
    jobs = job_numbers(folder / "Drift_tracking_result" / FOLDER)
    assert len(jobs) == workers
    return jobs


def locked(folder: Path) -> int:
    return len(list((folder / "Drift_tracking_result" / ".locks").glob("*")))


def pids_of(job: str) -> list[int]:
    listed = subprocess.run(["scontrol", "listpids", job], capture_output=True, text=True).stdout.splitlines()[1:]
    return [int(line.split()[0]) for line in listed if line.split() and line.split()[0].isdigit()]


@needs_slurm
def test_jobs_cancelled_killed_and_pre_empted_lose_nothing(data: Path, tmp_path: Path, cluster: Path) -> None:
    jobs = submitted(data, tmp_path / "slurm", "--set", "pause=0.15")
    folder = tmp_path / "slurm"
    wait_for(lambda: locked(folder) == 3)
    status = tnllt_run("status", "--results", folder)
    assert "jobs     Drift  3 running" in status.stdout
    subprocess.run(["scancel", jobs[0]], check=True)
    for pid in pids_of(jobs[1]):
        os.kill(pid, signal.SIGKILL)
    subprocess.run(["scancel", "--signal=USR2", jobs[2]], check=True)
    states = folder / "Drift_tracking_result" / FOLDER
    wait_for(lambda: not {"running", "pending", "completing"} & set(job_states(states)), 240)
    log = "".join(path.read_text() for path in states.glob(f"{jobs[2]}*_log.err"))
    assert "Requeuing" in log or "requeue" in log.lower(), log
    # The pre-empted job came back and did what the other two left.
    again = tnllt_run(f"{TRACKERS}:Drift", "-d", data, "--results", folder, "--threads", 1, "--set", "pause=0.15")
    assert "0 of 5 sequences to track" in again.stderr or "5 done, 0 failed" in again.stdout
    here = tmp_path / "here"
    assert tnllt_run(f"{TRACKERS}:Drift", "-d", data, "--results", here, "--set", "pause=0").returncode == 0
    assert results(folder, "Drift") == results(here, "Drift") and len(results(here, "Drift")) == len(LENGTHS)


@needs_slurm
def test_a_training_is_a_job_that_continues(tmp_path: Path, cluster: Path) -> None:
    pytest.importorskip("torch")
    sets = [word for pair in ("batch=1", "samples_per_epoch=3", "epochs=3", "warmup=1") for word in ("--set", pair)]
    words = ["tracker", "--out", str(tmp_path / "out"), *sets, "--save-every", "1", "--validate-every", "0", "-w", "0"]
    assert train("--slurm", "time=10,mem=3G", "tracker", "--nonsense").returncode == 2, "refused before it is submitted"
    assert not (tmp_path / "out").exists()
    done = train("--slurm", "time=10,mem=3G", *words)
    assert done.returncode == 0 and "Slurm job" in done.stdout, done.stderr
    folder = tmp_path / "out" / FOLDER
    (number,) = job_numbers(folder)
    wait_for(lambda: any((tmp_path / "out").glob("*state*")) or not job_states(folder).get("running"))
    subprocess.run(["scancel", "--signal=USR2", number], check=True)
    wait_for(lambda: not {"running", "pending", "completing"} & set(job_states(folder)), 240)
    assert train(*words).stdout.count("weights:") == 1 and (tmp_path / "out" / "weights.safetensors").is_file()


def train(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tnllt.cli.train", *words], capture_output=True, text=True)


@needs_slurm
def test_an_unknown_partition_is_refused_before_anything_runs(data: Path, tmp_path: Path, cluster: Path) -> None:
    with pytest.raises(UsageError, match=r"--slurm: sbatch refuses the job: .*partition"):
        tnllt.run("still", dataset=data, results=tmp_path, slurm={"partition": "nowhere"})
    assert not results(tmp_path, "still")


def test_no_slurm_here(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit", reason='needs the extra "cluster"')
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="no sbatch and srun here"):
        tnllt.run("still", dataset=data, results=tmp_path, slurm="partition=main")
    with pytest.raises(UsageError, match="leave --again, --cluster and --shard out"):
        tnllt.run("still", dataset=data, results=tmp_path, slurm="partition=main", again=True)
