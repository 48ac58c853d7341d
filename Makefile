# Two commands do everything: `make run` sets up and runs the main job, `make test` sets up and passes the tests.
# `make run` installs the product alone; the other targets add what developers need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
# --no-compile: Python compiles the modules that it imports, which are a quarter of what is installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt

.PHONY: run dev test pytest slow chaos lint bench audit clean

run: $(STAMP)
	$(BIN)/tuner launch --space wd_maxnorm.yaml

dev: $(DEV_STAMP)

test: $(DEV_STAMP) lint pytest

pytest: $(DEV_STAMP)
	$(TEST)

slow: $(DEV_STAMP)
	$(TEST) -m slow

chaos: $(DEV_STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.chaos

lint: $(DEV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(DEV_STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks

audit: $(DEV_STAMP)
	$(BIN)/python -m benchmarks.audit

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tuner needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	touch $(STAMP)

# older pips know no --group
$(DEV_STAMP): $(STAMP)
	$(PIP) 'pip>=25.1'
	$(PIP) --group dev -e '.[postgres,images,onnx]'
	touch $(DEV_STAMP)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
