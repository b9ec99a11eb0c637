"""One stage on many layers by your own code: what it would take, then onto a queue, then what it took, as a table.

usage: layers.py QUEUE LAYER... [--processes N]

Without --processes nothing is executed here: it waits for workers (`igneous-ng execute QUEUE --wait`) anywhere.
"""

from __future__ import annotations

import argparse

from igneous_ng import chains, records, run
from igneous_ng.records import Run
from igneous_ng.sizing import Estimator
from igneous_ng.stage import Stage
from igneous_ng.stages.image_downsample import Downsample
from igneous_ng.store import Store
from igneous_ng.worker.policy import Policy


def foretold(stages: list[Stage]) -> None:
    """Say what all of them take, as far as records or rates tell; nothing is written."""
    estimator = Estimator()
    parts = [part for stage in stages for part in estimator.stage(stage)]
    hours = sum(part.work.cpu_seconds for part in parts if part.work is not None) / 3600
    print(f"{sum(part.units or 0 for part in parts):,} units, about {hours:.3g} CPU-hours")


def told(ready: Run) -> str:
    """A line of the table: the layer, its units, CPU seconds and bytes written, from records alone."""
    lines = list(records.all_lines(Store(), ready))
    written = sum(one.get("bytes", 0) for line in lines for one in line["writes"])
    return f"{ready.home},{len(lines)},{sum(line['cpu_seconds'] for line in lines):.3f},{written}"


def main() -> None:
    """Read the command line, enqueue, execute or wait, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("queue", help="fq://DIR or sqs://NAME")
    parser.add_argument("layers", nargs="+")
    parser.add_argument("--processes", type=int, default=0)
    given = parser.parse_args()
    stages: list[Stage] = [Downsample(layer=layer, factor=(2, 2, 2)) for layer in given.layers]
    foretold(stages)
    begun = [run.enqueue(stage, given.queue) for stage in stages]
    if given.processes:
        run.execute(given.queue, Policy(processes=given.processes))
    for ready in begun:
        chains.wait(ready)
    print("layer,units,cpu_seconds,bytes_written")
    for ready in begun:
        print(told(ready))


if __name__ == "__main__":
    main()
