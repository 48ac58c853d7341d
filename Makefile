# Two commands do everything: `make run` sets up and runs the main job, `make test` sets up and passes the tests.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: slow chaos run test lint check bench audit clean

run: $(STAMP)
	$(BIN)/tuner launch --space wd_maxnorm.yaml

test: $(STAMP) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

slow: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

chaos: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.chaos

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks

audit: $(STAMP)
	$(BIN)/python -m benchmarks.audit

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tuner needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
