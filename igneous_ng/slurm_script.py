"""The script of an array job whose elements are workers on one queue. What `slurm submit` hands to sbatch.

``python -m igneous_ng.slurm_script`` writes those in the folder ``slurm``.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from igneous_ng.errors import SpecError

FOLDER = Path(__file__).parent.parent / "slurm"
WORKERS, CPUS, MEMORY_MIB, SECONDS = 10, 4, 4096, 4 * 3600
NOTICE_S = 120  # how long before the time limit the worker is told; SLURM may do so a minute earlier
SHORTEST_S = 600  # a time limit that leaves some work between start and notice
SHARE = 0.9  # of the job's memory that tasks may take: the rest is for Python itself

_HEAD = """\
#!/bin/bash
# Workers of igneous-ng on one queue, as an array job; made by `igneous-ng slurm submit`. See docs/slurm.md.
#   sbatch [OPTIONS OF SBATCH] THIS_SCRIPT [QUEUE [OPTIONS OF igneous-ng execute]]
"""
_BODY = """\
set -u
job="${{SLURM_ARRAY_JOB_ID:?give this script to sbatch}}_$SLURM_ARRAY_TASK_ID" # a bare job id may mean the whole array
queue={queue}
if [ $# -gt 0 ]; then
  queue="$1"
  shift
fi

# Tasks share most of the job's memory. SLURM says it in MiB: for the node, or for each processor.
memory=$((${{SLURM_MEM_PER_NODE:-$((${{SLURM_MEM_PER_CPU:-0}} * SLURM_CPUS_PER_TASK))}} * {percent} / 100))
options=(-p "$SLURM_CPUS_PER_TASK"{options})
if [ "$memory" -gt 0 ]; then options+=(--memory "${{memory}}Mi"); fi
echo "$(date +%FT%T) $job on $(hostname -s): ${{options[*]}}, requeued ${{SLURM_RESTART_COUNT:-0}} times"

# Status 75: interrupted, leases given back. 143: TERM came before the worker could mind it. Then the job waits anew,
# unless somebody else has ended it meanwhile (scancel), or queued it again (preemption): it is not running any more.
finish() {{
  trap '' TERM
  state="$(squeue --noheader --jobs "$job" --format %T)"
  echo "$(date +%FT%T) $job: the worker ended with status $1, the job is ${{state:-gone}}"
  if [[ "$1" =~ ^(75|143)$ && "$state" == RUNNING ]]; then scontrol requeue "$job"; fi
  exit "$1"
}}

stop() {{
  trap '' TERM
  [ -n "${{!:-}}" ] || finish 143
  kill -TERM $!
  wait $!
  finish $?
}}

# Not by srun, which ends its tasks with KILL. This shell stays, for a worker cannot queue its own job again.
trap stop TERM
{command} "$queue" "${{options[@]}}" "$@" &
wait $!
finish $?
"""


@dataclass(frozen=True)
class Script:
    """What an array of workers asks of SLURM, and what they work on.

    ``workers`` are the elements of the array, of which ``at_once`` run at one time (None: all that SLURM lets). Each
    has so many ``cpus`` and processes, ``memory_mib`` for each of them, and ``gpus``. ``directives`` are further
    options of sbatch, each in a line of its own. ``container`` is an Apptainer image, which sees the folders ``binds``.
    ``wait`` is for workers that stay when the queue is empty. Logs go to the folder ``logs``, which must exist.
    """

    queue: str = "fq:///shared/queue"
    workers: int = WORKERS
    at_once: int | None = None
    cpus: int = CPUS
    memory_mib: int = MEMORY_MIB
    seconds: float = SECONDS
    gpus: int = 0
    partition: str = ""
    account: str = ""
    container: str = ""
    binds: tuple[str, ...] = ()
    directives: tuple[str, ...] = ()
    wait: bool = False
    logs: str = ""

    def __post_init__(self) -> None:
        if self.seconds < SHORTEST_S:
            raise SpecError(
                f"a time limit of {self.seconds:g} s: workers are told {NOTICE_S} s before its end, by SLURM up to a "
                f"minute earlier; give at least {SHORTEST_S // 60} minutes"
            )
        if self.binds and not self.container:
            raise SpecError("folders to bind, and no container; name its image, too")
        for text in (self.partition, self.account, self.logs, *self.directives):
            if "\n" in text:
                raise SpecError(f"{text!r} has two lines; a directive of sbatch is one")

    def text(self) -> str:
        """The script."""
        body = _BODY.format(
            queue=shlex.quote(self.queue),
            percent=round(100 * SHARE),
            options="".join(self._options()),
            command=shlex.join(self._command()),
        )
        return _HEAD + "".join(f"#SBATCH {line}\n" for line in self._directives()) + body

    def _directives(self) -> list[str]:
        array = f"1-{self.workers}"
        if self.at_once is not None and self.at_once < self.workers:
            array += f"%{self.at_once}"
        folder = f"{self.logs.rstrip('/')}/" if self.logs else ""
        return [
            "--job-name=igneous-ng",
            f"--array={array}",
            "--nodes=1",
            "--ntasks=1",
            f"--cpus-per-task={self.cpus}",
            f"--mem-per-cpu={mebibytes(self.memory_mib)}",
            f"--time={clock(self.seconds)}",
            f"--signal=B:TERM@{NOTICE_S}",
            "--requeue",
            "--open-mode=append",
            f"--output={_worded(folder)}igneous-ng-%A_%a.log",
            *([f"--gres=gpu:{self.gpus}"] if self.gpus else []),
            *([f"--partition={_worded(self.partition)}"] if self.partition else []),
            *([f"--account={_worded(self.account)}"] if self.account else []),
            *self.directives,
        ]

    def _options(self) -> list[str]:
        devices = [' --gpus "${CUDA_VISIBLE_DEVICES:-auto}"'] if self.gpus else []
        return devices + ([" --wait"] if self.wait else [])

    def _command(self) -> list[str]:
        if not self.container:
            return ["igneous-ng", "execute"]
        nvidia = ["--nv"] if self.gpus else []
        binds = [word for folder in self.binds for word in ("--bind", folder)]
        return ["apptainer", "exec", *nvidia, *binds, self.container, "igneous-ng", "execute"]


def _worded(text: str) -> str:
    """A value as sbatch reads it from a script: one word."""
    return shlex.quote(text) if text.split() != [text] and text else text


def mebibytes(count: int) -> str:
    """Memory as SLURM writes it, whose G are of 1024 M."""
    return f"{count // 1024}G" if count % 1024 == 0 else f"{count}M"


def clock(seconds: float) -> str:
    """A time limit as SLURM writes it: ``[days-]hours:minutes:seconds``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return (f"{days}-" if days else "") + f"{hours:02}:{minutes:02}:{rest:02}"


def shipped() -> dict[str, str]:
    """The scripts in the folder ``slurm`` by name: what is written where nothing but this is asked for."""
    image, shared = "igneous-ng.sif", ("/shared",)
    scripts = {
        "array.sh": Script(),
        "gpu.sh": Script(gpus=1, partition="gpu"),
        "apptainer.sh": Script(container=image, binds=shared),
        "apptainer_gpu.sh": Script(gpus=1, partition="gpu", container=image, binds=shared),
    }
    return {name: script.text() for name, script in scripts.items()}


def stale(folder: Path) -> list[str]:
    """Names of the scripts in ``folder`` that are not what they should be."""
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*")}
    made = shipped()
    return sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))


def write(folder: Path) -> None:
    """Write the scripts into ``folder``."""
    for name, text in shipped().items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)


if __name__ == "__main__":
    write(FOLDER)
