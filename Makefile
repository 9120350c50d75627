# Every target needs Python 3.11 or newer and nothing else, and can be repeated.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: demo test test-all test-oldest fuzz lint docs bench board
.DEFAULT_GOAL := test

$(READY): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

demo: $(READY)
	$(BIN)/eeg demo --out demo

# Each of two processes takes whole modules, whose fixtures it builds once, and at the end tests of the other.
PARALLEL := -n 2 --dist worksteal

# make test VARIATION=17: as on another processor, which the number draws
test: $(READY)
	$(if $(VARIATION),$(BIN)/python -m tests.variation $(VARIATION)) $(BIN)/python -m pytest $(PARALLEL)

test-all: $(READY)
	$(if $(VARIATION),$(BIN)/python -m tests.variation $(VARIATION)) $(BIN)/python -m pytest $(PARALLEL) -m ""

# With the lowest versions that setup.cfg allows, whose own warnings are no errors here.
OLDEST := .venv-oldest
test-oldest:
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(OLDEST)/bin/uv pip install --quiet --python $(OLDEST)/bin/python --resolution lowest-direct -e '.[test]'
	$(OLDEST)/bin/python -m pytest $(PARALLEL) -o filterwarnings=default

FUZZ_SECONDS ?= 60
fuzz: $(READY)
	$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS)
	$(BIN)/python -m tests.fuzz.models --seconds $(FUZZ_SECONDS)

# The ratios in docs/speed.md; continues where it stopped.
bench: $(READY)
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/growth.py

# The published figures in docs/rules.md, from $HEBBIAN_DATA and $IMAGES; continues where it stopped, takes days.
board: $(READY)
	nice -n 19 $(BIN)/python benchmarks/published.py --jobs 2 $(if $(IMAGES),--images $(IMAGES))

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

$(VENV)/docs-ready: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	touch $@

docs: $(VENV)/docs-ready
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build
