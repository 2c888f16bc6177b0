# Tidemill: every target does its own set-up. `make help` lists them.
#
# Continuous integration runs `make test`. One set of features (`testing`) and one profile (dev) for
# all of its steps, so that nothing is built twice; the demo and the benchmark use release.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# The profile of the demo: release, or dev where a dev build is there already.
PROFILE ?= release
TARGET := target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
FEATURES := $(if $(filter dev,$(PROFILE)),--features testing)
VENV := target/venv
INTEROP := target/interop
PYTHON := $(VENV)/bin/python
DATA := target/demo/earthquakes.json
VEGA_DATASETS := vega-datasets@3.2.1
CONFLUENT_KAFKA := confluent-kafka==2.16.1
KILLS ?= 50
# One fixed run in CI; SEED=... tries another.
SEED ?= 2

.PHONY: help
help: ## What there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.PHONY: demo
demo: guests $(DATA) ## The main job on real data, across a kill -9, checked
	cargo build --quiet --profile $(PROFILE) $(FEATURES) --bin tidemill
	tools/demo $(TARGET)/tidemill target/guests/quake-alerts.wasm $(DATA)

.PHONY: test
test: ## Everything that CI runs
	tools/steps lint unit integration guest-tests interop kill-loop demo-dev

.PHONY: lint
lint: ## Formatting and lints
	cargo fmt --check
	cargo clippy --features testing --all-targets -- -D warnings

.PHONY: unit
unit: guests ## The library's own tests
	cargo test --features testing --lib

.PHONY: integration
integration: guests ## The integration tests, with librdkafka and raw clients
	cargo test --features testing --test it

.PHONY: guests
guests: foreign-guests ## The example plugins and the tests' plugins, from source
	tools/build-guests

.PHONY: foreign-guests
foreign-guests:
	tools/build-foreign-guests

.PHONY: guest-tests
guest-tests: foreign-guests ## The SDK's and the examples' own tests
	cd guest-sdk && CARGO_TARGET_DIR=../target/guest-tests cargo test --quiet
	cd examples && CARGO_TARGET_DIR=../target/guest-tests cargo test --quiet
	tools/test-foreign-guests

.PHONY: interop
interop: binary clients foreign-clients guests ## kcat, librdkafka, Java's and Go's clients against a broker
	$(PYTHON) tests/interop/run.py target/debug/tidemill

.PHONY: kill-loop
kill-loop: binary clients guests ## kill -9 at random moments under load, and a check of everything
	$(PYTHON) tests/kill_loop/kill_loop.py target/debug/tidemill target/guests --kills $(KILLS) --seed $(SEED)

.PHONY: demo-dev
demo-dev: ## The demo with the dev build and less data
	DEMO_RECORDS=$${DEMO_RECORDS:-40000} $(MAKE) --no-print-directory demo PROFILE=dev

.PHONY: bench
bench: guests ## The benchmark; writes benches/RESULTS.md
	cargo bench --bench tidemill_bench

.PHONY: binary
binary:
	cargo build --quiet --features testing --bin tidemill

# Clients that we did not write: kcat from the system's packages, librdkafka's Python client from PyPI.
.PHONY: clients
clients: $(VENV)/ready
	@command -v kcat >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends kcat; }

$(VENV)/ready:
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check $(CONFLUENT_KAFKA)
	touch $@

# Apache Kafka's own client and franz-go, as programs for the interop tests; pom.xml and go.sum pin all of it.
# go.mod says which Go it takes; what Debian 12 packages is too old for it, and then the build says so.
.PHONY: foreign-clients
foreign-clients: $(INTEROP)/java/ready $(INTEROP)/go/client

$(INTEROP)/java/ready: tests/interop/java/pom.xml $(wildcard tests/interop/java/src/main/java/tidemill/interop/*.java)
	@command -v javac >/dev/null && command -v mvn >/dev/null || { apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends default-jdk-headless maven; }
	mvn --quiet --batch-mode --file tests/interop/java/pom.xml compile
	touch $@

$(INTEROP)/go/client: $(wildcard tests/interop/go/*)
	@command -v go >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends golang; }
	cd tests/interop/go && go build -trimpath -o ../../../$@ .

# The United States Geological Survey's earthquakes (public domain), as an npm package ships them.
$(DATA):
	mkdir -p target/demo
	cd target/demo && npm pack --silent $(VEGA_DATASETS) >/dev/null
	tar -xzf target/demo/vega-datasets-*.tgz -C target/demo --strip-components=2 package/data/earthquakes.json
	touch $@
