# I/O Model Lab. `make` alone prints what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
LAB := $(VENV)/bin/lab
PY := $(VENV)/bin/python
# What `make lab` needs, and what the tests need on top. Each is installed when its list has changed.
RUN := requirements/host.txt requirements/swarm.txt requirements/server.txt
RUN_STAMP := $(VENV)/run.stamp
DEV_STAMP := $(VENV)/dev.stamp

SCENARIO ?= smoke
RUNTIME ?=
ARGS ?=
ENGINE ?=
PYTEST := $(PY) -m pytest

.PHONY: help lab doctor images down test check lint generated bench soak clean

help: ## print this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+(%)?:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

lab: $(RUN_STAMP) ## run SCENARIO=smoke (or a folder of scenarios); RUNTIME=auto|docker|local, ARGS='--set swarm.users=100'
	@$(LAB) run $(SCENARIO) $(if $(RUNTIME),--runtime $(RUNTIME)) $(ARGS)

doctor: $(RUN_STAMP) ## check whether this host is fit: what it lacks, and what to run
	@$(LAB) doctor $(ARGS)

images: $(RUN_STAMP) ## build the images that are missing
	@$(LAB) images

down: $(RUN_STAMP) ## remove what killed runs left; ENGINE=1 also stops an engine that the lab started
	@$(LAB) down --all $(if $(ENGINE),--engine)

test: $(DEV_STAMP) ## run all tests: unit, contract, integration; with a real engine and a real netem where there is one
	@tests/install-packages
	@$(LAB) images || echo "no images: the tests that need Docker are skipped, with the reason"
	@tests/all $(PY) $(ARGS)

check: lint ## run format, lint, types, and the unit and contract tests that need no Docker
	@$(PYTEST) -m "not soak and not docker and not uml and not root" tests/unit tests/contract bench/tests $(ARGS)

lint: $(DEV_STAMP) ## check format, lint and types only
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy lab images/wire images/server/iomodels images/swarm images/nettools images/kernel

generated: $(RUN_STAMP) ## write generated files again: schemas, tables in docs, Compose files (a test compares them)
	@$(LAB) schema --write
	@$(PY) -m lab.report.figures_table docs/validity.md
	@$(PY) -m lab.analysis.checks.catalogue docs/validity.md
	@PYTHONPATH=images:images/server $(PY) -m iomodels.catalogue docs/models.md
	@$(LAB) compose --all

bench: $(patsubst bench/%.py,bench-%,$(filter-out bench/_%,$(wildcard bench/*.py))) ## run every benchmark, one after the other

bench-%: $(DEV_STAMP) ## run one benchmark: print its table, write results/bench/NAME.json
	@test -f bench/$*.py || { echo "no benchmark '$*'; there are: $(basename $(notdir $(wildcard bench/*.py)))" >&2; exit 2; }
	@$(PY) bench/$*.py $(ARGS)

soak: $(DEV_STAMP) ## run long campaigns of faults, fuzzing and load: hours
	@$(PYTEST) -m soak --timeout 14400 $(ARGS)

clean: ## remove build products and caches; keep results and images
	@rm -rf build .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	@find lab images testbed tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

$(RUN_STAMP): $(RUN) pyproject.toml
	@requirements/install "$(PYTHON)" $(VENV) $(RUN)
	@touch $@

$(DEV_STAMP): requirements/dev.txt $(RUN_STAMP)
	@requirements/install "$(PYTHON)" $(VENV) requirements/dev.txt
	@touch $@
