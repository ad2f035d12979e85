# Two commands matter: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/finetune-operator
VENV := $(CACHE)/venv-$(shell sha256sum tests/requirements.txt | cut -c1-12)
PYTHON := $(VENV)/bin/python
# The checkout is used as it is: two clones can share one virtual environment.
export PYTHONPATH := $(CURDIR)/operator:$(CURDIR)/trainer:$(CURDIR)
export PATH := $(VENV)/bin:$(PATH)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

.PHONY: venv
venv: $(VENV)/ready ## Make the virtual environment, cached by the lock file's hash
$(VENV)/ready:  # its name has the lock file's hash: a new clone finds it
	@python3.11 -c "import ensurepip" 2>/dev/null || { apt-get -qq update && apt-get -qq install -y python3-venv; }
	python3.11 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --require-hashes --no-deps -r tests/requirements.txt
	touch $@

# Debian packages that tests on the machine itself need: MXNet's libraries, promtool, Lua in the
# version of Argo CD's scripts, and jq, which a page uses.
PACKAGES := libgomp1 libquadmath0 prometheus lua5.1 jq
.PHONY: packages
packages:
	@dpkg -s $(PACKAGES) >/dev/null 2>&1 || { apt-get -qq update && \
		DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $(PACKAGES); }

# What draws pictures. Grafana's components need Node 20 and npm, which Debian 12 does not have.
BROWSER := chromium fonts-dejavu-core
.PHONY: browser
browser:
	@dpkg -s $(BROWSER) >/dev/null 2>&1 || { apt-get -qq update && \
		DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $(BROWSER); }

.PHONY: programs
programs: venv ## Build Kubernetes and what else the tests run, once (16 minutes)
	$(PYTHON) -m tests.cluster build

.PHONY: demo
demo: venv ## Everything from nothing: build, start a cluster, train on the demo photos (CLUSTER=node|kind|current)
	$(PYTHON) -m tests.demo $(or $(CLUSTER),node)

.PHONY: test
test: lint types programs images ## What CI runs: lint, types, and every test but the slow ones
	@$(PARTS) SELECT='-m "not slow"'

.PHONY: test-full
test-full: lint types programs images browser ## make test and the whole matrices
	@$(PARTS)

# Two parts at a time, the longest first: what needs the node mostly waits for it.
PARTS = $(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=target \
	test-node test-trainer test-operator
PYTEST := $(PYTHON) -m pytest
.PHONY: test-node test-trainer test-operator
test-node:
	$(PYTEST) $(SELECT) tests/cluster tests/e2e
test-trainer:
	$(PYTEST) $(SELECT) tests/trainer tests/docs tests/images
test-operator:
	$(PYTEST) $(SELECT) tests/unit tests/component tests/scale tests/chart

.PHONY: fmt
fmt: venv ## Format the code
	ruff format .
	ruff check --fix .

.PHONY: lint
lint: venv packages ## Style, spelling, layers, and that generated files are current
	ruff format --check .
	ruff check .
	yamllint --strict .
	codespell
	lint-imports
	$(PYTHON) -m deploy.render --check

.PHONY: types
types: venv ## Types, strictly
	mypy operator/finetune_operator trainer/finetune_trainer deploy/render tests bench

.PHONY: unit component scale trainer chart docs e2e
unit: venv ## Logic, without anything around it
	$(PYTEST) tests/unit
component: programs ## The operator against a real kube-apiserver
	$(PYTEST) tests/component
scale: programs ## What many FineTuneJobs cost, beside what was recorded
	$(PYTEST) tests/scale
trainer: programs packages ## The trainer with real MXNet
	$(PYTEST) tests/trainer
chart: programs packages ## The chart, the dashboards and the alert rules
	$(PYTEST) tests/chart
docs: programs packages ## The commands of the pages, as a user types them
	$(PYTEST) tests/docs
e2e: programs images packages ## The images on a real node
	$(PYTEST) tests/e2e

.PHONY: coverage
coverage: programs ## Branch coverage of the operator: at least 95 % of it is tested
	coverage erase
	coverage run -m pytest -m "not slow" tests/unit tests/component
	coverage combine --quiet
	coverage report --skip-covered --fail-under=95

.PHONY: cluster cluster-down
cluster: venv ## Start the one-node Kubernetes of tests/cluster
	$(PYTHON) -m tests.cluster up --gpus 4
cluster-down: venv ## Stop it; nothing of it stays
	$(PYTHON) -m tests.cluster down

.PHONY: images sbom trainer-gpu-image
images: venv ## Build the operator's and the CPU trainer's image
	$(PYTHON) -m tests.images build operator
	$(PYTHON) -m tests.images build trainer
sbom: venv ## Write what is in the two images, and of which licences, as CycloneDX
	@$(PYTHON) -m tests.images sbom operator trainer
trainer-gpu-image: venv ## Build and check the GPU trainer's image (2 GB of wheels)
	$(PYTHON) -m tests.images build trainer-gpu
	$(PYTHON) -m tests.images check trainer-gpu

.PHONY: render
render: venv ## Generate the CRD, deploy/, the dashboards and the contract's schema again
	$(PYTHON) -m deploy.render

.PHONY: pictures
pictures: venv packages browser ## Make the pictures of the pages again: a report and the dashboards
	$(PYTHON) -m bench.report_picture
	$(PYTHON) -m tests.grafana draw tests/grafana/recording.json.gz --into docs/pictures

.PHONY: bench
bench: venv ## Every figure that the documentation quotes
	$(PYTHON) -m bench.watch_memory
	$(PYTHON) -m bench.pack
	$(PYTHON) -m bench.pack --memory
	$(PYTHON) -m bench.read
	$(PYTHON) -m bench.recipes
	$(PYTHON) -m bench.recipes --data fashion
	$(PYTHON) -m bench.recipes --shuffled --only "auto 60 s"

.PHONY: bench-scale
bench-scale: programs ## Many FineTuneJobs beside plain Jobs, on KWOK's nodes (BENCH="--scenario restart --jobs 1000")
	$(PYTHON) -m bench.scale $(BENCH)

# PyTorch is here alone: nothing of the project needs it.
PARITY := $(CACHE)/parity-$(shell sha256sum bench/requirements-parity.txt | cut -c1-12)
.PHONY: parity
parity: venv $(PARITY)/ready ## Compare the networks with PyTorch's own, layer by layer (3 GB of wheels)
	$(PYTHON) -m bench.parity $(PARITY)/bin/python
.PHONY: bench-torch
bench-torch: venv $(PARITY)/ready ## Speed of training and of features against PyTorch (3 GB of wheels)
	$(PYTHON) -m bench.train $(PARITY)/bin/python
$(PARITY)/ready:
	python3.11 -m venv $(PARITY)
	$(PARITY)/bin/python -m pip install --quiet --require-hashes --no-deps -r bench/requirements-parity.txt
	touch $@

COMPILE := uv pip compile --quiet --generate-hashes --python-version 3.11 --no-header
.PHONY: lock
lock: ## Lock the dependencies again, with hashes
	cd operator && $(COMPILE) -o requirements.txt pyproject.toml
	cd trainer && $(COMPILE) --extra cpu -o requirements-cpu.txt pyproject.toml
	cd trainer && $(COMPILE) --extra cu112 -o requirements-cu112.txt pyproject.toml
	cd trainer && $(COMPILE) --extra models --override overrides-models.txt \
		-o requirements-models.txt requirements-models.in pyproject.toml
	cd bench && $(COMPILE) -o requirements-parity.txt requirements-parity.in
	cd tests && $(COMPILE) --extra cpu --extra exact --extra models \
		--override overrides.txt --override ../trainer/overrides-models.txt -o requirements.txt \
		requirements.in ../operator/pyproject.toml ../trainer/pyproject.toml ../trainer/requirements-models.in
