# make demo [FAULT=late|duplicates|missing|drift]   set up, then close April 2026 on the real samples
# make test | lint | ui | spark | lock | clean
# VENV=/somewhere keeps the environment elsewhere; PYTHON=python3.13 chooses the interpreter; PYTEST_ARGS narrows the tests.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test lint format ui spark lock clean

PYTHON ?= python3
VENV ?= .venv
FAULT ?=
PYTEST_ARGS ?= -n auto --dist loadfile
UV ?= uv

BIN := $(VENV)/bin
LOCKED := $(VENV)/.locked
READY := $(VENV)/.ready
SPARK := $(VENV)/.spark
LOG := $(VENV)/set-up.log
PIP := $(BIN)/python -m pip --disable-pip-version-check

help:
	@sed -n '1,3s/^# //p' Makefile

setup: $(READY)

# The lock is complete, so pip resolves nothing (--no-deps). bagit has no wheel: it is built second, with the locked setuptools, so that no build tool is fetched past the lock.
# Two stamps: an edit of pyproject.toml alone does not walk through the whole lock again.
$(LOCKED): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "set-up: $$($(PYTHON) --version 2>&1) found, 3.11 or newer is needed; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "set-up 1/4: virtual environment in $(VENV) with $$($(PYTHON) --version)"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV) || \
	  { echo "set-up: python -m venv failed; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "set-up 2/4: packages of requirements.lock, each checked against its hash"
	@$(PIP) install --no-compile --no-deps --require-hashes --only-binary :all: --progress-bar off \
	  -r <(awk '/^[a-z0-9]/ { sdist = /^bagit==/ } !sdist' requirements.lock) 2> $(LOG) | \
	  { n=0; while read -r verb name _; do case "$$verb $$name" in \
	      Collecting*|Processing*) n=$$((n + 1)); name=$${name##*/}; name=$${name%%==*}; echo "  $$n $${name%%-[0-9]*}";; \
	      "Installing collected") echo "  unpacking";; \
	    esac; done; } || { cat $(LOG) >&2; exit 1; }
	@$(PIP) install -q --no-compile --require-hashes --no-deps --no-build-isolation \
	  -r <(awk '/^[a-z0-9]/ { sdist = /^bagit==/ } sdist' requirements.lock) 2> $(LOG) || { cat $(LOG) >&2; exit 1; }
	@echo "set-up 3/4: compiling bytecode"
	@$(BIN)/python -m compileall -q -j 0 "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" >/dev/null || true
	@touch $@

# --no-build-isolation: setuptools comes from the lock, so nothing unlocked is fetched.
$(READY): $(LOCKED) pyproject.toml
	@echo "set-up 4/4: this checkout, editable"
	@$(PIP) install -q --no-deps --no-build-isolation --no-index -e . 2> $(LOG) || { cat $(LOG) >&2; exit 1; }
	@touch $@

demo: $(READY)
	@$(BIN)/mission demo $(if $(FAULT),--fault $(FAULT))

# pytest's own closing line is the last one printed.
test: $(READY)
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mission lint

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

ui: $(READY)
	@$(BIN)/mission ui

# The other engine: 430 MB that most never need. pyspark has no wheel; it is built with the locked setuptools.
spark: $(SPARK)

$(SPARK): $(READY) requirements-spark.lock
	@echo "set-up: packages of requirements-spark.lock, each checked against its hash"
	@$(PIP) install -q --no-compile --require-hashes --no-deps --no-build-isolation -r requirements-spark.lock 2> $(LOG) || { cat $(LOG) >&2; exit 1; }
	@$(BIN)/python -m compileall -q -j 0 "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pyspark" >/dev/null || true
	@touch $@

# The index stays out of the file: whoever installs chooses where packages come from, the hashes say what they are.
lock:
	$(UV) pip compile pyproject.toml --group build --group test --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url \
	  --custom-compile-command "make lock" --output-file requirements.lock
	$(UV) pip compile --group spark --constraint requirements.lock --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url \
	  --custom-compile-command "make lock" --output-file requirements-spark.lock

# What was made, never what was given: samples and reference data stay. A MISSION_HOME elsewhere is not touched.
clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf data/landing data/lake data/journal data/evidence data/site data/dagster data/keys data/drills data/checkpoint.json
	if grep -qs '^# Made by the demo' data/reference/people.yaml; then rm -rf data/reference/people.yaml data/reference/marketplace/packets; fi
	find mc_pipelines tests -name __pycache__ -type d -prune -exec rm -rf {} +
