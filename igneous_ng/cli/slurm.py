"""The command that starts workers on SLURM: slurm submit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from igneous_ng.cli.commands import Group
from igneous_ng.cli.fields import Duration, Size
from igneous_ng.cli.telling import JSON, tell
from igneous_ng.errors import ConfigurationError, SpecError, TransientError

if TYPE_CHECKING:
    from igneous_ng.queues import Queue
    from igneous_ng.slurm_script import Script
    from igneous_ng.slurm_size import Load, Wishes

_WISHES = ("workers", "at_once", "cpus", "gpus")
_PATIENCE_S = 120


class Walltime(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic from click 8.4 on
    """Seconds: as SLURM writes them, ``[days-]hours:minutes:seconds``, or a number with s, m, h or d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number of seconds, or a usage error; a bare number is minutes for sbatch and seconds here: refused."""
        from igneous_ng.worker.machine import slurm_seconds

        if not isinstance(value, str):
            return value
        if value.strip().isdigit():
            self.fail(f"{value!r}: minutes or hours? Write {value}m, {value}h or hours:minutes:seconds", param, ctx)
        if value.count(":") == 2 and (seconds := slurm_seconds(value)) is not None:
            return seconds
        return Duration().convert(value, param, ctx)


@click.group(cls=Group)
def slurm() -> None:
    """Start workers on SLURM: submit."""


@slurm.command(example="fq:///scratch/queue --max-workers 20 --time 4h")
@click.argument("queue")
@click.option("--run", "where", metavar="RUN", help="Size the array for this run alone: its folder, or its layer.")
@click.option("--workers", type=click.IntRange(1, 100_000), help="Elements of the array; by default from the work.")
@click.option("--max-workers", "at_once", type=click.IntRange(1), help="How many run at one time; 100 by default.")
@click.option("-c", "--cpus", type=click.IntRange(1), default=4, show_default=True, help="Processes of each worker.")
@click.option("--memory-per-cpu", "memory", type=Size(), help="Memory of each process; by default what tasks take.")
@click.option("--time", "seconds", type=Walltime(), help="Time limit: 4h, or 04:00:00; by default from the work.")
@click.option("--gpus", type=click.IntRange(0), default=0, help="Accelerators of each worker. By default none.")
@click.option("--partition", default="", help="Where to run; by default where SLURM says.")
@click.option("--account", default="", help="Who pays.")
@click.option("--container", metavar="IMAGE", default="", help="An Apptainer image that has igneous-ng.")
@click.option("--bind", "binds", metavar="FOLDER", multiple=True, help="A folder it sees, too. May be repeated.")
@click.option(
    "--directive", "directives", metavar="OPTION", multiple=True,
    help="A further line of the script, such as --directive=--qos=low. May be repeated.",
)  # fmt: skip
@click.option("--logs", type=click.Path(path_type=Path), default=".", help="Folder of the logs; made if needed.")
@click.option("--wait", is_flag=True, help="Workers stay when the queue is empty: for a pipeline. End them by scancel.")
@click.option("--script", "copy", type=click.Path(path_type=Path), help="Keep the script in this file, too.")
@click.option("--dry-run", is_flag=True, help="Write the script to the output; submit nothing.")
@JSON
def submit(queue: str, where: str | None, copy: Path | None, dry_run: bool, as_json: bool, **asked: Any) -> None:
    """Start an array job of workers on QUEUE, sized by the work that waits there; says the number of the job."""
    from igneous_ng import slurm_size

    logs = asked.pop("logs")
    target = slurm_size.reachable(queue)
    found = _load(target, where, asked["wait"])
    script = slurm_size.fitted(_script(target.url, asked, logs), _wishes(asked), found)
    _tell(script, found)
    if dry_run:
        tell(as_json, {"script": script.text()}, script.text().rstrip("\n"))
        return
    sbatch = _program()
    if asked["wait"]:
        target.put(())  # workers that wait need a queue, and the pipeline may not have made it yet
    _keep(script, logs, copy)
    job = _submit(sbatch, script)
    click.echo(f"end it:  scancel {job}\nsee it:  igneous-ng queue status {target.url}", err=True)
    tell(as_json, {"job": job, "workers": script.workers}, job)


def _load(target: Queue, where: str | None, wait: bool) -> Load:
    """What is to be done; SpecError where that is nothing."""
    from igneous_ng import slurm_size
    from igneous_ng.cli.steering import found as run_at
    from igneous_ng.store import Store

    run = run_at(where, "")[1] if where else None
    try:
        load = slurm_size.load(Store(), target, run)
    except SpecError:
        if not wait:
            raise
        return slurm_size.Load(0)  # nobody has made the queue yet
    if not load.messages and not wait:
        raise SpecError(f"nothing waits on {target.url}; enqueue something first, or give --wait for a pipeline")
    return load


def _wishes(asked: dict[str, Any]) -> Wishes:
    from igneous_ng import slurm_size

    mib = asked["memory"] and -(-asked["memory"] // 2**20)
    return slurm_size.Wishes(memory_mib=mib, seconds=asked["seconds"], **{name: asked[name] for name in _WISHES})


def _script(url: str, asked: dict[str, Any], logs: Path) -> Script:
    """The script but for the sizes."""
    from igneous_ng.slurm_script import Script

    image = asked["container"]
    return Script(
        queue=url,
        logs="" if logs == Path() else str(logs.absolute()),
        container=str(Path(image).absolute()) if image and "://" not in image else image,
        binds=asked["binds"],
        partition=asked["partition"],
        account=asked["account"],
        directives=asked["directives"],
        wait=asked["wait"],
    )


def _tell(script: Script, found: Load) -> None:
    """Say what was found, and what follows from it."""
    from igneous_ng import words
    from igneous_ng.slurm_script import clock, mebibytes

    total = "" if found.seconds is None else f"\n{words.cpu(found.seconds)} of work in all"
    each = "1 process" if script.cpus == 1 else f"{script.cpus} processes"
    devices = f", {words.count(script.gpus, 'accelerator')}" if script.gpus else ""
    at_once = f", {script.at_once} at one time" if script.at_once and script.at_once < script.workers else ""
    size = f"{words.count(script.workers, 'worker')}{at_once}: {each} with {mebibytes(script.memory_mib)} each{devices}"
    click.echo(f"{found.said()}{total}\n{size}; time limit {clock(script.seconds)}", err=True)


def _program() -> str:
    found = shutil.which("sbatch")
    if found is None:
        raise ConfigurationError(
            "there is no sbatch here: give this command where jobs are submitted, or --dry-run to get the script"
        )
    return found


def _keep(script: Script, logs: Path, copy: Path | None) -> None:
    """Make the folder of the logs, without which SLURM ends a job in silence, and write the copy."""
    try:
        logs.mkdir(parents=True, exist_ok=True)
        if copy is not None:
            copy.write_text(script.text(), encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{error.filename}: cannot be written ({error.strerror}); choose another place") from error


def _submit(sbatch: str, script: Script) -> str:
    """The number of the job."""
    try:
        done = subprocess.run(
            [sbatch, "--parsable"],
            input=script.text(), env=_environment(), capture_output=True, text=True, timeout=_PATIENCE_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise TransientError(
            f"sbatch did not answer within {_PATIENCE_S} s; look with squeue, then try again"
        ) from None
    said = done.stderr.strip()
    if done.returncode:
        if "contact" in said or "connect" in said:
            raise TransientError(f"SLURM's controller cannot be reached: {said}")
        raise SpecError(f"sbatch refused: {said}")
    if said:
        click.echo(said, err=True)
    return done.stdout.strip().partition(";")[0]  # behind it, the name of the cluster


def _environment() -> dict[str, str]:
    """What jobs inherit: this program first on the path, and nothing of the job, if any, in which this runs."""
    kept = {name: value for name, value in os.environ.items() if name == "SLURM_CONF" or not name.startswith("SLURM_")}
    folder = Path(sys.executable).parent
    if (folder / "igneous-ng").exists():
        kept["PATH"] = f"{folder}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return kept
