# What one can ask for. `make` alone lists it.

# Rust comes from rustup, the rest from here.
PYTHON ?= python3

# How long `make fuzz` runs each of its targets.
FUZZ_SECONDS ?= 600

# How often `make drills` kills the server.
DRILL_ROUNDS = $(or $(ROUNDS),100)

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
FOREIGN := tests/foreign
VENV := $(TARGET)/venv
MODULES := $(FOREIGN)/js/node_modules/.package-lock.json
UNPACKED := $(TARGET)/prometheus

# The binary that the foreign clients talk to.
export ANTIPHON ?= $(TARGET)/debug/antiphon
export PYTHON

# What judges the metrics: the installed one, or Debian's package unpacked, which starts nothing and needs no root.
export PROMETHEUS ?= $(or $(shell command -v prometheus),$(UNPACKED)/usr/bin/prometheus)
export PROMTOOL ?= $(or $(shell command -v promtool),$(UNPACKED)/usr/bin/promtool)

.PHONY: help
help: ## list what one can ask for
	@awk -F ' ?:.*## ' '/^[a-z-]+:.*## /{ printf "make %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: ## build and serve the demo on http://127.0.0.1:3000
	cargo run --release --locked -p antiphon-server --bin antiphon -- serve --demo

.PHONY: build
build: ## build the server: target/release/antiphon
	cargo build --release --locked -p antiphon-server

.PHONY: test
test: test-rust test-foreign ## run every test

.PHONY: test-rust
test-rust: ## run the tests that are written in Rust
	cargo test --workspace --locked

.PHONY: test-foreign
test-foreign: test-js test-python ## run the official JavaScript client and python-socketio against the server

.PHONY: test-js
test-js: debug-binary $(MODULES) $(PROMTOOL)
	cd $(FOREIGN)/js && npm test --silent

.PHONY: test-python
test-python: debug-binary $(VENV)/installed
	cd $(FOREIGN)/python && PYTHONDONTWRITEBYTECODE=1 $(VENV)/bin/python -m pytest

.PHONY: debug-binary
debug-binary:
	cargo build --locked -p antiphon-server

$(MODULES): $(FOREIGN)/js/package-lock.json $(FOREIGN)/js/package.json
	cd $(FOREIGN)/js && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

$(UNPACKED)/usr/bin/promtool:
	rm -rf $(UNPACKED) && mkdir -p $(UNPACKED)
	cd $(UNPACKED) && { apt-get download prometheus || { apt-get update && apt-get download prometheus; }; }
	dpkg -x $(UNPACKED)/prometheus_*.deb $(UNPACKED)
	touch $@

$(VENV)/installed: $(FOREIGN)/python/requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

.PHONY: check
check: ## format, lints, documentation, licences, advisories
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
	command -v cargo-deny >/dev/null || cargo install cargo-deny --locked
	cargo deny --locked check licenses bans sources
	@# Only a database that cannot be fetched is forgiven: without the internet there is none.
	@if cargo deny --locked fetch db; then \
		cargo deny --locked check --disable-fetch advisories; \
	else \
		echo "The advisory database cannot be fetched from here: known vulnerabilities were NOT looked for."; \
	fi

.PHONY: reference
reference: ## write docs/reference anew from the code
	cargo run --quiet --locked -p antiphon-server -- config print --format markdown > $(TARGET)/configuration.md
	mv $(TARGET)/configuration.md docs/reference/configuration.md

.PHONY: bench
bench: ## measure the server beside the cheapest possible one and its peers; writes docs/benchmarks.md
	cargo build --release --locked -p antiphon-server -p antiphon-bench
	$(TARGET)/release/antiphon-bench run

# What is found goes to the target directory; what is kept by hand beside the targets is only read.
.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZ_SECONDS each (600); needs a nightly toolchain
	command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked
	set -eu; for crate in crates/*/fuzz; do \
		cd "$(CURDIR)/$${crate%/fuzz}"; \
		for target in $$(cargo +nightly fuzz list); do \
			found=$(TARGET)/fuzz/$$target; mkdir -p $$found; \
			kept=$$(ls -d fuzz/seeds/$$target fuzz/corpus/$$target 2>/dev/null || true); \
			cargo +nightly fuzz run $$target $$found $$kept -- -max_total_time=$(FUZZ_SECONDS); \
		done; \
	done

.PHONY: drills
drills: debug-binary $(MODULES) ## kill the server ROUNDS times (100) under load and look for lost or doubled messages and tokens
	cd $(FOREIGN)/js && ROUNDS=$(DRILL_ROUNDS) node --test --test-reporter=spec kill.test.mjs
	ROUNDS=$(DRILL_ROUNDS) cargo test --locked -p antiphon-server --test wallet -- --nocapture
	DAMAGE_ROUNDS=500 cargo test --locked -p antiphon-server --lib a_damaged_directory -- --nocapture
