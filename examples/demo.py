"""The demo: synthetic tissue through a real queue with two workers, then a look at it. ``make demo`` runs it.

usage: demo.py FOLDER
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

WORKERS = "2"


def igneous(*words: str) -> None:
    """Run one command of the tool, showing it as a user would type it."""
    print("$ igneous-ng", *words, flush=True)
    subprocess.run(["igneous-ng", *words], check=True)


def main(folder: Path) -> None:
    """Synthesise, create, downsample, mesh, skeletonise, report and take a picture."""
    began = time.monotonic()
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    queue, truth = f"fq://{folder.absolute()}/queue", folder / "synth"
    image, labels = str(truth / "image"), str(truth / "segmentation")
    steps = [
        ["synth", "volume", str(truth)],
        ["image", "downsample", image, "--num-mips", "2", "--factor", "2,2,2"],
        ["image", "downsample", labels, "--num-mips", "2", "--factor", "2,2,2"],
        ["mesh", "forge", labels, "--cell", "128,128,128"],
        ["mesh", "merge", labels, "--dust", "1000"],
        ["skeleton", "forge", labels, "--cell", "128,128,128"],
        ["skeleton", "merge", labels, "--dust", "1000"],
    ]
    for step in steps:
        igneous(*step, "--queue", queue)
        igneous("execute", queue, "-p", WORKERS)
    report(Path(labels), time.monotonic() - began)
    picture(folder / "demo.png", image, labels)


def report(labels: Path, seconds: float) -> None:
    """Say what came out."""
    info = json.loads((labels / "info").read_text())
    meshes = sum(1 for _ in (labels / "mesh").glob("*:0"))
    skeletons = sum(1 for _ in (labels / "skeletons").glob("[0-9]*"))
    runs = sum(1 for _ in labels.glob("runs/*/finished.json"))
    print(f"\n{info['scales'][0]['size']} voxels of {info['scales'][0]['resolution']} nm, {len(info['scales'])} mips")
    print(f"{meshes} meshes, {skeletons} skeletons; {runs} finished runs on record, in {seconds:.0f} s")


def picture(path: Path, image: str, labels: str) -> None:
    """Take a screenshot where chromium is, and say how to look at the layers."""
    if shutil.which("chromium") and shutil.which("chromedriver"):
        igneous("view", image, labels, "--screenshot", str(path))
        print(f"a screenshot is in {path}")
    else:
        print("no screenshot: chromium and chromedriver are not installed (Debian: chromium chromium-driver)")
    print(f"\nlook at it yourself:  igneous-ng view {image} {labels}")
    print("(igneous-ng is in the environment's bin folder; for `make demo` that is .venv/bin)")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
