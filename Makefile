# The one dev loop: CI, the README and people call these targets and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUST := $(shell find rust -name '*.rs') Cargo.toml Cargo.lock pyproject.toml
PYTEST := $(BIN)/python -m pytest
JOBS ?= 2
SIDE_BY_SIDE := -n $(JOBS) --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-rust test-python test-heavy test-slow test-gpu test-arm test-avx512 fuzz lint format bench docs pages pictures wheel clean
.PHONY: audit version

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.venv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip 'maturin>=1.9,<2'
	@touch $@

$(VENV)/.built: $(VENV)/.venv $(RUST)
	$(BIN)/maturin develop --release --quiet
	@touch $@

$(VENV)/.%: $(VENV)/.venv pyproject.toml
	$(BIN)/python -m pip install --quiet --group $*
	@touch $@

# Where it cannot be had (no Triton for the platform, say), the tests that need it skip, and fail in CI.
$(VENV)/.mamba-reference: $(VENV)/.heavy
	@if MAMBA_SKIP_CUDA_BUILD=TRUE MAMBA_FORCE_BUILD=TRUE $(BIN)/python -m pip install --quiet --no-deps \
		--no-build-isolation --group mamba-reference; then touch $@; \
	else echo "mamba-ssm cannot be installed: the tests against it will be skipped" >&2; fi

setup: $(VENV)/.built  ## a virtual environment with lvmfast built into it

demo: $(VENV)/.built  ## scan two leaky splits of Python's own documentation
	@$(BIN)/lvmfast demo --out demo-out; test $$? -eq 1

test: test-rust test-python  ## the tests that take seconds and need neither torch, ray nor datasets

test-rust:  ## the Rust tests alone
	cargo test --quiet

test-python: $(VENV)/.built $(VENV)/.test  ## the Python tests of these alone, JOBS (2) files at a time
	$(PYTEST) -m 'not slow and not heavy' $(SIDE_BY_SIDE)

test-heavy: $(VENV)/.built $(VENV)/.test $(VENV)/.mamba-reference  ## the tests that take seconds and need torch, ray or datasets (gigabytes)
	$(PYTEST) -m 'heavy and not slow' $(SIDE_BY_SIDE)

test-slow: $(VENV)/.built $(VENV)/.test $(VENV)/.heavy $(VENV)/.harness $(VENV)/.notebooks $(VENV)/.loggers  ## the tests that take minutes: wheel, large inputs; JOBS (2) files at a time
	$(PYTEST) -m slow --timeout 1200 $(SIDE_BY_SIDE)

test-gpu: $(VENV)/.built $(VENV)/.test $(VENV)/.mamba-reference  ## the tests that need a GPU, skipped where there is none
	$(PYTEST) -m gpu -rs

ARM := aarch64-unknown-linux-gnu
ARM_TOOLS := aarch64-linux-gnu-gcc qemu-aarch64-static

test-arm:  ## the tests of the kernels for 64-bit ARM, emulated
	@for tool in $(ARM_TOOLS); do command -v $$tool >/dev/null || { echo "test-arm: no $$tool: on Debian," \
		"apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static" >&2; exit 1; }; done
	@test -e "$$(rustc --print target-libdir --target $(ARM))" || { echo "test-arm: no standard library for $(ARM):" \
		"rustup target add $(ARM)" >&2; exit 1; }
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -cpu max -L /usr/aarch64-linux-gnu" \
	cargo test --quiet --lib --target $(ARM) kernel::

# Miri carries out the instructions itself, one by one, and knows when memory is read that is not the program's.
test-avx512:  ## the tests of the kernels for AVX-512, interpreted
	@RUSTUP_AUTO_INSTALL=0 cargo +nightly miri --version >/dev/null 2>&1 || { echo "test-avx512: no Miri:" \
		"rustup toolchain install nightly --component miri,rust-src" >&2; exit 1; }
	RUSTFLAGS="-Ctarget-feature=+avx2,+fma,+avx512f,+avx512bw,+avx512vnni" MIRIFLAGS=-Zmiri-disable-isolation \
	PROPTEST_CASES=4 cargo +nightly miri test --quiet --lib kernel::

SECONDS ?= 600
fuzz: $(VENV)/.built $(VENV)/.test $(VENV)/.heavy  ## spoiled files for SECONDS each (600): readers in process, then commands; findings in .fuzz
	$(BIN)/python -m tests.fuzz readers --seconds $(SECONDS)
	$(BIN)/python -m tests.fuzz commands --seconds $(SECONDS)

lint: $(VENV)/.built $(VENV)/.test $(VENV)/.heavy $(VENV)/.lint  ## formatters, clippy, ruff, mypy, stubtest, import rules, workflows
	cargo fmt --check
	cargo clippy --quiet --all-targets -- -D warnings
	cargo clippy --quiet --all-targets --features python -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/stubtest lvmfast._core
	$(BIN)/lint-imports
	$(BIN)/actionlint
	$(BIN)/check-jsonschema --builtin-schema vendor.github-actions action.yml

format: $(VENV)/.lint  ## let the formatters write
	cargo fmt
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.built $(VENV)/.bench  ## measure, each figure beside its peer
	for bench in text corpora ids near leakscan 'leakscan --vectors' splits fingerprint overlap eval quality rerank train contexts start stores gpu; do \
		set -- $$bench; $(BIN)/python benches/$$1.py $$2 || exit 1; \
	done

docs: $(VENV)/.built $(VENV)/.docs  ## build README and docs/ as a site into site/; a link to nothing is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

pages: $(VENV)/.built $(VENV)/.test $(VENV)/.heavy $(VENV)/.notebooks  ## write into README, docs and notebooks what their commands print now
	$(BIN)/python -m tests.docs.test_pages
	$(BIN)/python -m tests.docs.test_notebooks

pictures: $(VENV)/.built $(VENV)/.test  ## draw the pictures of README: the demo's report (needs chromium) and its terminal
	$(BIN)/python docs/scripts/pictures.py

wheel: $(VENV)/.wheel  ## one abi3 wheel for manylinux into dist/
	rm -rf dist
	PATH="$(abspath $(BIN)):$$PATH" maturin build --release --zig --compatibility manylinux_2_17 --out dist

audit: $(VENV)/.built $(VENV)/.audit  ## known vulnerabilities and licenses of dependencies; asks the network
	@command -v cargo-deny >/dev/null || { echo "audit: no cargo-deny: cargo install --locked cargo-deny" >&2; exit 1; }
	cargo deny --locked check
	$(BIN)/pip-audit --skip-editable

version:  ## print the version, which Cargo.toml states
	@sed -n 's/^version = "\(.*\)"$$/\1/p' Cargo.toml | head -n 1

clean:  ## remove everything that the other targets made
	rm -rf $(VENV) target dist site demo-out .bench
