# The project's few words: demo, test, test-all, check. Each makes the virtual environment that it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-all check format docs clean

$(STAMP): pyproject.toml setup.py $(wildcard igneous_ng/native/*.?pp)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "igneous_ng needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $(STAMP)

demo: $(STAMP)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python examples/demo.py demo

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

clean:
	rm -rf $(VENV) demo build dist
