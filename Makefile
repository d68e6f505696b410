# Two commands do everything on a machine with Python (>= 3.11) and make: `make demo` and `make test`.
#
#   make demo ARGS="--seed 1 --out runs/demo-1"            options for the demo
#   make demo PYTHON=python3.13 VENV=.venv-313             another Python, another environment
#   make demo TORCH=torch                                  another torch than the one the numbers were measured with
#   make demo VENV_ARGS=--system-site-packages TORCH=      the torch that is installed already

PYTHON ?= python3
VENV ?= .venv
VENV_ARGS ?=
TORCH ?= torch==2.13.0
ARGS ?=
BIN = $(VENV)/bin

.PHONY: demo test check clean

demo: $(VENV)/.ready
	@echo "== demo: four models, equal but for their data; about 3 minutes (Ctrl-C stops, the same command goes on)"
	@$(BIN)/noiseworth demo $(ARGS)

test: check
	@echo "== tests (about 5 minutes)"
	@$(BIN)/python -m pytest

check: $(VENV)/.ready-dev
	@echo "== ruff, mypy, import-linter"
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache --no-logo

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "noiseworth needs Python 3.11 or newer; name one with PYTHON="; exit 2; }
	@echo "== first use: making $(VENV) and installing into it (a minute or so, and what torch takes to download)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV_ARGS) $(VENV)
	@test -z "$(TORCH)" || $(BIN)/pip install --quiet --disable-pip-version-check "$(TORCH)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	@echo "== first use: installing what the tests need"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
