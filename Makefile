# Two commands matter: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/finetune-operator
VENV := $(CACHE)/venv-$(shell sha256sum tests/requirements.txt | cut -c1-12)
PYTHON := $(VENV)/bin/python
# The checkout is used as it is: two clones can share one virtual environment.
export PYTHONPATH := $(CURDIR)/operator:$(CURDIR)/trainer
export PATH := $(VENV)/bin:$(PATH)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: venv
venv: $(VENV)/ready ## Make the virtual environment, cached by the lock file's hash
$(VENV)/ready: tests/requirements.txt
	python3.11 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --require-hashes --no-deps -r tests/requirements.txt
	touch $@

COMPILE := pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe \
	--no-emit-index-url --no-emit-find-links --no-header
.PHONY: lock
lock: ## Lock the dependencies again, with hashes
	cd operator && $(COMPILE) -o requirements.txt pyproject.toml
	cd trainer && $(COMPILE) --extra cpu -o requirements-cpu.txt pyproject.toml
	cd trainer && $(COMPILE) --extra cu112 -o requirements-cu112.txt pyproject.toml
	cd trainer && $(COMPILE) --extra models -o requirements-models.txt pyproject.toml
	cd tests && $(COMPILE) --extra cpu --extra models -o requirements.txt \
		requirements.in ../operator/pyproject.toml ../trainer/pyproject.toml
