# Needs Python 3.11 or newer; the demo and the tests also a JDK (17 or newer) and Maven, for a real Kafka, and the tests
# a C compiler.

PYTHON ?= python3
UV_VERSION := 0.13.9
# Any uv that runs will do; without one, PyPI's is kept in .cache.
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo .cache/uv/bin/uv)
BIN := .venv/bin

# The program as the image has it: what every message passes is compiled. It needs a C compiler.
COMPILED := PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/.cache/compiled

.DELETE_ON_ERROR:
.PHONY: help setup demo compiled test test-system check bench lock

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.ready ## Make .venv with what requirements.lock pins

demo: setup ## Run a sample campaign through Kafka, the dispatcher and Twilio's stand-in
	$(BIN)/dispatcher demo

compiled: .cache/compiled/.ready ## Compile what every message passes, for tests and benchmarks of the program as the image has it

test: setup compiled .cache/prometheus ## Run the tests: unit, integration, and the short ones of the whole program
	$(BIN)/pytest -m "not slow and not system"
	$(COMPILED) $(BIN)/pytest -m "not slow and system"
	$(BIN)/pytest -q -o pythonpath=".cache/compiled ." tests/integration/transport

test-system: setup compiled ## Run the tests that take minutes
	$(COMPILED) $(BIN)/pytest -m slow

check: setup ## Check form, types and the rules between the parts
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/pytest -q tests/unit/docker

# One after the other, on a machine that does nothing else: first what a message costs and why, then how exactly and how
# soon it leaves, then everything around it; last a page of it all.
BENCHMARKS := throughput bytecodes stages journal workers message_cost family limits pacing latency \
    recovery rebalance memory publish show webhooks plots
# These look at the steps of the interpreter, or put something else into a part's place.
INTERPRETED := bytecodes stages journal

bench: setup compiled ## Measure, and print the figures that the README quotes
	@for one in $(BENCHMARKS); do echo "== $$one"; \
	    case " $(INTERPRETED) " in *" $$one "*) as="" ;; *) as="$(COMPILED)" ;; esac; \
	    env $$as $(BIN)/python -m benchmarks.$$one || failed="$$failed $$one"; \
	done; test -z "$$failed" || { echo "out of bounds, or failed:$$failed"; exit 1; }

lock: $(filter-out uv,$(UV)) ## Pin anew what pyproject.toml asks for
	$(UV) pip compile pyproject.toml --group dev --upgrade --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-header --quiet --output-file requirements.lock

.venv/.ready: requirements.lock pyproject.toml $(filter-out uv,$(UV))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	rm -rf .venv
	$(UV) venv --quiet --python $(PYTHON) .venv
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.cache/uv/bin/uv:
	rm -rf .cache/uv
	$(PYTHON) -m pip install --quiet --target .cache/uv uv==$(UV_VERSION) \
	    || { $(PYTHON) -m venv --clear .cache/uv && .cache/uv/bin/pip install --quiet uv==$(UV_VERSION); }

# In a copy, which no editor ever sees: what is compiled comes before what is newer.
.cache/compiled/.ready: .venv/.ready $(shell find dispatcher -name '*.py')
	rm -rf .cache/compiled; mkdir -p .cache/compiled
	cp -R pyproject.toml README.md LICENSE dispatcher configs .cache/compiled
	cd .cache/compiled && HATCH_BUILD_HOOKS_ENABLE=1 ../../$(BIN)/python -m hatchling build -t wheel
	@touch $@

# promtool and amtool check and test the alerts. Where Debian's packages cannot be had, those tests are skipped.
.cache/prometheus:
	@rm -rf $@.part; mkdir -p $@.part; cd $@.part; get="apt-get -qq -o APT::Sandbox::User=root download prometheus prometheus-alertmanager"; \
	{ $$get 2>/dev/null || { apt-get -qq update && $$get; }; } && for one in *.deb; do dpkg-deb -x $$one tree; done \
	    && mkdir -p ../prometheus/usr && mv tree/usr/bin ../prometheus/usr/ \
	    || echo "promtool and amtool cannot be fetched; the alerts are not tested"
	@rm -rf $@.part
