# Everything from a fresh clone: each target does all of its own set-up, and only what is absent.
#   make demo    the whole loop on this machine          (ACTS=all make demo: every act)
#   make test    every check and test, on real parts     (PYTEST_ARGS="-k topics" make test)
#   make setup   the program in .venv, and nothing else  (then: export PATH=$PWD/.venv/bin:$PATH)
#   make check   style, types, layers, documents in step
#   make bench | gates | sets | sweep | flux | argo-cd | fuzz    what docs/ publishes, measured again   (SWEEP=kubernetes ARGS="--plans 50" make sweep)
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTEST_ARGS ACTS

# Each of these scripts writes something from the code, and with --check says whether it is in step with it.
IN_STEP := generate_schemas json_schemas topics_doc settings_doc metrics_doc policies_doc rollout_doc scenarios_doc spans_doc commands_doc

.PHONY: help setup broker demo test check bench gates sets sweep flux argo-cd fuzz clean

help:
	@sed -n '2,6s/^# *//p' Makefile

setup:
	@scripts/setup.sh python

broker:
	@scripts/setup.sh python broker

demo: broker
	@ctrlplane-stream demo $(if $(ACTS),--acts "$(ACTS)") $(DEMO_ARGS)

check: setup
	@scripts/check.sh $(IN_STEP)

test:
	@scripts/setup.sh python broker test
	@scripts/check.sh $(IN_STEP)
	@scripts/test.sh

# bench runs every module of bench/; gates and sets are packages of their own there. BENCH="router" make bench runs one.
bench: broker
	@for name in $(or $(BENCH),$(filter-out sweep,$(patsubst bench/%.py,%,$(wildcard bench/[a-z]*.py)))); do echo "== $$name"; python -m bench.$$name $(ARGS); done

gates sets: setup
	@python -m bench.$@ $(ARGS)

# Both sweeps, or one: SWEEP=engine plays workers killed on a real broker, SWEEP=kubernetes an actuator disturbed on a real API server.
sweep: broker
	@for name in $(or $(SWEEP),engine kubernetes); do \
	  case $$name in engine) module=bench.sweep;; kubernetes) module=ctrlplane_stream.local.control_plane.sweep;; \
	    *) echo "SWEEP is engine or kubernetes, not $$name" >&2; exit 2;; esac; \
	  echo "== $$name"; python -m $$module $(ARGS); done

# What Flux and Argo CD do to the fields that are ours, by their own controllers: 6 minutes of CPU to build each once, after which make test
# has it too.
flux: setup
	@python -m tests.kubernetes.flux.kustomize_controller && python -m pytest -q tests/kubernetes/test_flux.py $(ARGS)

argo-cd: setup
	@python -m tests.kubernetes.argo_cd.application_controller && python -m pytest -q tests/kubernetes/test_argo_cd.py $(ARGS)

# Damaged spans and batches through the C of the span engine, under gcc's sanitizers. ARGS="--seconds 600 --seed 7"
fuzz: setup
	@python scripts/fuzz_native.py $(ARGS)

clean:
	rm -rf .venv .pytest_cache .hypothesis .ruff_cache .mypy_cache .import_linter_cache dist
