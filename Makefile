# What one can ask for. `make` alone lists it.

# Rust comes from rustup, the rest from here.
PYTHON ?= python3

# How long `make fuzz` runs each of its targets.
FUZZ_SECONDS ?= 600

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
FOREIGN := tests/foreign
VENV := $(TARGET)/venv
MODULES := $(FOREIGN)/js/node_modules/.package-lock.json
UNPACKED := $(TARGET)/prometheus
FAKETIME := $(TARGET)/faketime
PEER := $(TARGET)/peers/node

# The binary that the foreign clients talk to.
export ANTIPHON ?= $(TARGET)/debug/antiphon
export PYTHON

# Where drills leave their results, and what they need besides the binary.
DRILL_ENVIRONMENT = DRILL_RESULTS=$(TARGET)/drills DRILL_FAKETIME=$(FAKETIME)/libfaketime.so.1 DRILL_PEER=$(PEER)

# What judges the metrics: the installed one, or Debian's package unpacked, which starts nothing and needs no root.
export PROMETHEUS ?= $(or $(shell command -v prometheus),$(UNPACKED)/usr/bin/prometheus)
export PROMTOOL ?= $(or $(shell command -v promtool),$(UNPACKED)/usr/bin/promtool)

.PHONY: help
help: ## list what one can ask for
	@awk -F ' ?:.*## ' '/^[a-z-]+:.*## /{ printf "make %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: ## build and serve the demo on http://127.0.0.1:3000 and :8000
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
test-foreign: test-js test-python test-drills ## run the official JavaScript client and python-socketio against the server

.PHONY: test-js
test-js: debug-binary $(MODULES) $(PROMTOOL)
	cd $(FOREIGN)/js && npm test --silent

.PHONY: test-python
test-python: debug-binary $(VENV)/installed
	cd $(FOREIGN)/python && PYTHONDONTWRITEBYTECODE=1 $(VENV)/bin/python -m pytest

# The flock is built by itself: together with the server its dependencies would be others.
.PHONY: test-drills
test-drills: debug-binary $(MODULES) $(VENV)/installed $(FAKETIME)/unpacked ## rehearse the drills, or those that ONLY names
	cargo build --locked -p antiphon-bench
	PYTHON=$(VENV)/bin/python $(DRILL_ENVIRONMENT) node --test --test-force-exit --test-reporter=spec tests/drills/short.test.mjs

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

# What moves a wall clock: Debian's package unpacked, which needs no root.
$(FAKETIME)/unpacked:
	rm -rf $(FAKETIME) && mkdir -p $(FAKETIME)
	cd $(FAKETIME) && { apt-get download libfaketime || { apt-get update && apt-get download libfaketime; }; }
	dpkg -x $(FAKETIME)/libfaketime_*.deb $(FAKETIME)
	ln -s $$(cd $(FAKETIME) && find usr -name libfaketime.so.1) $(FAKETIME)/libfaketime.so.1
	touch $@

# The reference server, where the bench has it too.
$(PEER)/installed.lock: crates/antiphon-bench/peers/node/package-lock.json
	mkdir -p $(PEER)
	cp crates/antiphon-bench/peers/node/*.js* $(PEER)
	cd $(PEER) && npm ci --omit=optional --no-audit --no-fund
	cp $< $@

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
drills: $(MODULES) $(VENV)/installed $(FAKETIME)/unpacked $(PEER)/installed.lock ## every drill in full, or those that ONLY names (d1,d6,…); writes docs/drills.md; ROUNDS: how often, how many
	cargo build --release --locked -p antiphon-server -p antiphon-bench
	ANTIPHON=$(TARGET)/release/antiphon PYTHON=$(VENV)/bin/python $(DRILL_ENVIRONMENT) node tests/drills/run.mjs
	$(if $(ONLY),,ROUNDS=$(or $(ROUNDS),100) cargo test --locked -p antiphon-server --test wallet -- --nocapture)
	$(if $(ONLY),,DAMAGE_ROUNDS=500 cargo test --locked -p antiphon-server --lib a_damaged_directory -- --nocapture)
