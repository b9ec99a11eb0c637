"""A SLURM of its own for tests: munged, slurmctld and slurmd in a PID namespace, all their files in one folder.

It has one machine with 4 processors and two accelerators, which are pretended: the files ``null`` and ``zero``.

The settings that matter: ``proctrack/pgid`` and ``task/none`` need no control groups; ``cred_expire=6``, for a job that
is queued again waits about as long as credentials live, 120 s by default; jobs of the partition ``urgent`` push those
of ``batch`` aside.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from igneous_ng.worker import machine

INSTALL = "IGNEOUS_NG_INSTALL"  # the environment variable that lets tests install Debian's packages
_PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "munged", "unshare")
_CONF = """
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={home}/munge.socket,cred_expire=6
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{more}
KillWait=30
MinJobAge=600
ReturnToService=2
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 Gres=gpu:2 CPUs=4 RealMemory=16000 State=UNKNOWN
PartitionName=batch Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime={grace}
PartitionName=urgent Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""
_DAEMONS = """
cd {home}
munged --foreground --force --socket {home}/munge.socket --key-file {home}/munge.key --pid-file {home}/munged.pid \
  --log-file {home}/munged.log --seed-file {home}/munged.seed >{home}/munged.out 2>&1 &
until [ -S {home}/munge.socket ]; do sleep 0.05; done
slurmctld -D >{home}/slurmctld.out 2>&1 &
slurmd -D -N {host} >{home}/slurmd.out 2>&1 &
wait
"""


@dataclass(frozen=True)
class Lab:
    """A running SLURM."""

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        """What its commands need to find it, and jobs to find this program."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        return {**kept, "SLURM_CONF": f"{self.home}/slurm.conf", "PATH": path}

    def __call__(self, *command: str, cwd: Path | None = None) -> str:
        """What a command says that is to find this SLURM; it must succeed."""
        asked = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=300, cwd=cwd)
        assert asked.returncode == 0, f"{command}: {asked.stderr}\n{self.log()}"
        return asked.stdout.strip()

    def urgent(self, seconds: float) -> str:
        """A job that takes the whole machine for a while; the others must make room."""
        what = ["--ntasks=4", "--mem=100M", "--output=/dev/null", f"--wrap=sleep {seconds}"]
        return self("sbatch", "--parsable", "--partition=urgent", *what)

    def jobs(self) -> dict[str, str]:
        """The state of each job, and of each element of an array, ended ones too."""
        lines = self("squeue", "--noheader", "--array", "--states=all", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def states(self, array: str) -> list[str]:
        """The states of the elements of an array, each once."""
        return sorted({state for job, state in self.jobs().items() if job.startswith(f"{array}_")})

    def restarts(self, job: str) -> int:
        """How often a job, or an element ``ARRAY_N``, was queued again."""
        words = self("scontrol", "show", "job", job).split()
        return int(next(word.partition("=")[2] for word in words if word.startswith("Restarts=")))

    def processes(self, job: str) -> list[int]:
        """The processes of an element of an array, by their numbers here; the batch script is the first."""
        array, _, number = job.partition("_")
        wanted = {f"SLURM_CONF={self.home}/slurm.conf".encode()}
        wanted |= {f"SLURM_ARRAY_JOB_ID={array}".encode(), f"SLURM_ARRAY_TASK_ID={number}".encode()}
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if wanted <= set((folder / "environ").read_bytes().split(b"\0")):
                    found.append(int(folder.name))
        return sorted(found)

    def until(self, reached: Callable[[], bool], seconds: float = 120) -> None:
        """Wait for something; the logs of the daemons where it does not come."""
        end = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < end, f"jobs: {self.jobs()}\n{self.log()}"
            time.sleep(0.2)

    def log(self) -> str:
        """The ends of the daemons' logs."""
        files = sorted(self.home.glob("*.log")) + sorted(self.home.glob("*.out"))
        return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')[-3000:]}" for file in files)


def missing() -> str:
    """Why SLURM cannot be started here; empty where it can. It is installed where that is allowed."""
    if os.geteuid() != 0:
        return "daemons of SLURM need root"
    if os.environ.get(INSTALL):
        said = subprocess.run(["bash", str(Path(__file__).parent / "install_slurm.sh")], capture_output=True, text=True)
        if said.returncode:
            return said.stderr.strip().rpartition("\n")[2]
    absent = [name for name in _PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"{', '.join(absent)} not installed; {INSTALL}=1 lets the tests do it"
    tried = subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True)
    return "this machine grants no PID namespaces" if tried.returncode else ""


@contextlib.contextmanager
def lab(more: str = "", grace: int = 0) -> Iterator[Lab]:
    """Start a SLURM with ``more`` settings, and ``grace`` seconds before a job is pushed aside; end it afterwards."""
    home = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))  # a socket's path must be short
    host = socket.gethostname().partition(".")[0]
    home.joinpath("state").mkdir()
    home.joinpath("spool").mkdir()
    home.joinpath("munge.key").write_bytes(os.urandom(128))
    home.joinpath("munge.key").chmod(0o400)
    conf = home / "slurm.conf"
    conf.write_text(_CONF.format(home=home, host=host, ports=_free_ports(2), more=more, grace=grace))
    home.joinpath("gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
    found = Lab(home)
    script = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c"]
    daemons = subprocess.Popen(
        [*script, _DAEMONS.format(home=home, host=host)], env=found.environment, preexec_fn=machine.die_with_parent
    )
    try:
        found.until(lambda: _idle(found), 60)
        yield found
    finally:
        daemons.kill()  # and with it, by the kernel, all in the namespace
        daemons.wait()
        shutil.rmtree(home, ignore_errors=True)


def _idle(found: Lab) -> bool:
    asked = subprocess.run(["sinfo", "-h", "-o", "%T"], env=found.environment, capture_output=True, text=True)
    return asked.stdout.split()[:1] == ["idle"]


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on at this moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
