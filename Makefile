# The project's few words: demo, test, test-all, check, docs, site, image. Each makes the virtual environment that it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ENGINE ?= docker
IMAGE ?= igneous-ng
IMAGE_FLAGS ?=
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' igneous_ng/__init__.py)
CUDA_FLAGS := --build-arg BASE=nvidia/cuda:13.1.1-cudnn-runtime-ubuntu24.04 \
  --build-arg PACKAGES='python3=3.12.*' --build-arg BUILD_PACKAGES='g++=4:13.2.* python3-dev=3.12.* python3-venv=3.12.*' \
  --build-arg EXTRAS=parquet,networkx,sql,onnx-gpu,torch

.PHONY: demo test test-all check format docs site image image-cuda clean

$(STAMP): pyproject.toml setup.py $(wildcard igneous_ng/native/*.?pp)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "igneous_ng needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $(STAMP)

demo: $(STAMP)
	rm -rf demo
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/igneous-ng demo demo

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not long"

test-all: $(STAMP)
	IGNEOUS_NG_INSTALL=1 $(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m igneous_ng.reference --check

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP)
	$(BIN)/python -m igneous_ng.reference
	$(BIN)/python -m igneous_ng.slurm_script

site: docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

image:
	$(ENGINE) build -f docker/Dockerfile -t $(IMAGE):$(VERSION) --build-arg VERSION=$(VERSION) \
	  --build-arg REVISION="$$(git describe --always --dirty --abbrev=40 --exclude='*')" $(IMAGE_FLAGS) .

image-cuda:
	$(MAKE) image IMAGE=$(IMAGE)-cuda IMAGE_FLAGS="$(CUDA_FLAGS) $(IMAGE_FLAGS)"

clean:
	rm -rf $(VENV) demo site build dist
