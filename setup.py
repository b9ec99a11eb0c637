"""The compiled part: each C++ source in igneous_ng/native is a module. All else is in pyproject.toml."""

import os
from pathlib import Path

from pybind11.setup_helpers import Pybind11Extension
from setuptools import setup

NATIVE = Path("igneous_ng/native")
HEADERS = sorted(map(str, NATIVE.glob("*.hpp")))
FLAGS = ["-O3", "-Wall", "-Wextra", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]

setup(
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
    ext_modules=[
        Pybind11Extension(
            f"igneous_ng.native.{source.stem}",
            [str(source)],
            cxx_std=17,
            extra_compile_args=FLAGS,
            depends=HEADERS,
        )
        for source in sorted(NATIVE.glob("*.cpp"))
    ],
)
