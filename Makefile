# The commands of the README, nothing else. Each installs what it needs itself.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV := target/clients
CLIENTS := $(VENV)/.installed

.PHONY: help demo test test-clients lint bench sim-long fmt

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: ## Build, and run a whole network on this machine (Ctrl-C ends it).
	.ci/setup build
	cargo build --release --locked --bin quorate
	./target/release/quorate dev

test: ## Every test, those with real processes included.
	.ci/setup build
	cargo build --locked --bin quorate
	@if cargo nextest --version >/dev/null 2>&1; then \
	    QUORATE_BIN=$(CURDIR)/target/debug/quorate cargo nextest run --locked --workspace; \
	    cargo nextest run --locked -p quorate-simulator --features mutants --test mutants; \
	    cargo nextest run --locked -p quorate-replica --features mutants said_before_the_loss; \
	else \
	    QUORATE_BIN=$(CURDIR)/target/debug/quorate cargo test --locked --workspace --lib --bins --tests; \
	    cargo test --locked -p quorate-simulator --features mutants --test mutants; \
	    cargo test --locked -p quorate-replica --features mutants --lib said_before_the_loss; \
	fi

test-clients: $(CLIENTS) ## Third-party Python clients against a real node.
	cargo build --locked --bin quorate
	cargo build --locked -p quorate-ledger --example ccf_ledger
	QUORATE_BIN=$(CURDIR)/target/debug/quorate $(VENV)/bin/python -m unittest discover \
	    --start-directory tests/clients --pattern '*_test.py' --verbose

$(CLIENTS): tests/clients/requirements.txt
	.ci/setup build python
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/clients/requirements.txt
	touch $@

lint: ## Format and lints, warnings are errors.
	.ci/setup build
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

fmt: ## Format the code.
	cargo fmt --all

bench: ## The figures of docs/benchmarks.md.
	.ci/setup build etcd
	cargo build --release --locked --bin quorate
	./target/release/quorate bench load --seconds 60 --clients 2400 --write docs/benchmarks.md
	./target/release/quorate bench kv --kill-leader --retire-leader --write docs/benchmarks.md

sim-long: ## Ten thousand seeds of the simulator for each protocol.
	.ci/setup build
	cargo build --release --locked --bin quorate
	./target/release/quorate sim --protocol poa --nodes 4 --faulty 1 --seeds 5000
	./target/release/quorate sim --protocol poa --nodes 7 --faulty 2 --seeds 5000
	./target/release/quorate sim --protocol cft --nodes 3 --seeds 5000
	./target/release/quorate sim --protocol cft --nodes 5 --seeds 5000
	cargo test --locked -p quorate-consensus -p quorate-replica --lib -- model::tests --ignored --nocapture
