# What people and CI type. Everything is installed into .venv from uv.lock; jars go to the user's cache.
#   make install | demo | test | bench | fire | clean          arguments: make demo ARGS="--keep"

PYTHON ?= python3.11
UV_VERSION := 0.13.9
BIN := .venv/bin
UV := $(BIN)/uv
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install demo test check bench fire clean

help:
	@sed -n 's/^#   //p' Makefile

# --inexact: uv lives in the environment that it fills.
.venv/installed: pyproject.toml uv.lock
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11, or make PYTHON=/path/to/it" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || \
	    { echo "cannot create .venv: on Debian install python3.11-venv" >&2; rm -rf .venv; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@test "$$($(UV) --version 2>/dev/null | cut -d' ' -f2)" = "$(UV_VERSION)" || \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(UV) sync --frozen --inexact --compile-bytecode
	@touch $@

install: .venv/installed
	$(BIN)/wardstream doctor --install

demo: install
	$(BIN)/wardstream demo $(ARGS)

# All that CI runs. pytest comes last, so that its closing line is the last line.
test: install check
	$(BIN)/pytest -n 2 --dist worksteal $(ARGS)

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ty check
	$(BIN)/lint-imports

bench: install
	$(BIN)/python -m infra.bench $(ARGS)

# Every long form under fire: many hours. Writes infra/bench/FIRE.md.
fire: install
	$(BIN)/python -m tests.crash $(ARGS)

# The data (.wardstream) and the user's cache stay.
clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
