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
KILLS ?= 50
# One fixed run in CI; SEED=... tries another.
SEED ?= 2
# Where the kill loop's interceptor drops records.
DROPPED := plain txn.first txn.second __ingress.txn.placed

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
interop: binary clients foreign-clients rust-clients guests ## Clients and tools that we did not write, against a broker
	$(PYTHON) tests/interop/run.py target/debug/tidemill

.PHONY: compatibility
compatibility: binary clients foreign-clients rust-clients guests ## The same; writes docs/compatibility.md and docs/clients.md
	$(PYTHON) tests/interop/run.py target/debug/tidemill --write-pages

.PHONY: kill-loop
kill-loop: binary clients guests $(INTEROP)/tools/ready ## kill -9 at random moments under load, and a check of everything
	$(PYTHON) tests/kill_loop/kill_loop.py target/debug/tidemill target/guests --kills $(KILLS) --seed $(SEED) --keep target/kill-loop
	$(PYTHON) tests/interop/dump_directory.py target/kill-loop/killed target/kill-loop/stopped $(DROPPED:%=--dropped %)

.PHONY: demo-dev
demo-dev: ## The demo with the dev build and less data
	DEMO_RECORDS=$${DEMO_RECORDS:-40000} $(MAKE) --no-print-directory demo PROFILE=dev

.PHONY: bench
bench: guests ## The benchmark; writes benches/RESULTS.md
	cargo bench --bench tidemill_bench

.PHONY: binary
binary:
	cargo build --quiet --features testing --bin tidemill

# Clients that we did not write: kcat from the system's packages, Python's (one of them librdkafka) from PyPI.
.PHONY: clients
clients: $(VENV)/ready
	@command -v kcat >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends kcat; }

$(VENV)/ready: tests/interop/python/requirements.txt
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --requirement $<
	touch $@

# Apache Kafka's own clients and tools, franz-go and kafkajs, as programs for the interop tests; pom.xml, go.sum and
# package-lock.json pin all of it. go.mod says which Go it takes; what Debian 12 packages is too old for it, and then
# the build says so.
.PHONY: foreign-clients
foreign-clients: $(INTEROP)/java/ready $(INTEROP)/java-3.9/ready $(INTEROP)/tools/ready $(INTEROP)/go/ready $(INTEROP)/node/ready

# rdkafka's programs are examples of the crate, whose dependency it is already.
.PHONY: rust-clients
rust-clients:
	cargo build --quiet --features testing --example interop-client --example interop-produce --example interop-consume

JAVA_CLIENT := tests/interop/java/pom.xml $(wildcard tests/interop/java/src/main/java/tidemill/interop/*.java)
MVN := mvn --quiet --batch-mode

$(INTEROP)/java/ready: $(JAVA_CLIENT) | jdk
	$(MVN) --file tests/interop/java/pom.xml compile
	touch $@

$(INTEROP)/java-3.9/ready: $(JAVA_CLIENT) | jdk
	$(MVN) --file tests/interop/java/pom.xml --activate-profiles kafka-3.9 compile
	touch $@

$(INTEROP)/tools/ready: tests/interop/tools/pom.xml $(wildcard tests/interop/tools/src/main/java/tidemill/tools/*.java) | jdk
	$(MVN) --file tests/interop/tools/pom.xml compile
	touch $@

.PHONY: jdk
jdk:
	@command -v javac >/dev/null && command -v mvn >/dev/null || { apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends default-jdk-headless maven; }

$(INTEROP)/go/ready: $(wildcard tests/interop/go/* tests/interop/go/*/*/*)
	@command -v go >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends golang; }
	cd tests/interop/go && go build -trimpath -o ../../../$(INTEROP)/go/client . && \
		go build -trimpath -o ../../../$(INTEROP)/go/ ./snippets/produce ./snippets/consume
	touch $@

# The program is copied to where npm puts what it needs.
$(INTEROP)/node/ready: $(wildcard tests/interop/node/*)
	@command -v npm >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs npm; }
	mkdir -p $(INTEROP)/node
	cp $^ $(INTEROP)/node/
	cd $(INTEROP)/node && npm ci --silent --no-audit --no-fund
	touch $@

# The United States Geological Survey's earthquakes (public domain), as an npm package ships them.
$(DATA):
	mkdir -p target/demo
	cd target/demo && npm pack --silent $(VEGA_DATASETS) >/dev/null
	tar -xzf target/demo/vega-datasets-*.tgz -C target/demo --strip-components=2 package/data/earthquakes.json
	touch $@
