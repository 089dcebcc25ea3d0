# make test: all that has to hold before a change is merged. Everything it needs and a distribution ships, it installs.

CARGO ?= cargo
NEXTEST := $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo yes)

.PHONY: test tools format clippy tests docs deny incidents conformance dataset
.NOTPARALLEL:

test: tools format clippy tests docs deny

# What is missing on this machine.
tools:
	CARGO='$(CARGO)' .ci/install-tools

format:
	$(CARGO) fmt --check

clippy:
	$(CARGO) clippy --all-targets -- -D warnings

# nextest runs no documentation tests; cargo test runs all.
tests:
ifeq ($(NEXTEST),yes)
	$(CARGO) nextest run --no-fail-fast
	$(CARGO) test --doc
else
	$(CARGO) test --no-fail-fast
endif

docs:
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps

deny:
	$(CARGO) deny check bans licenses sources

# The proof on recorded incidents: its table of figures, also when they are as they should be.
incidents: tools
ifeq ($(NEXTEST),yes)
	$(CARGO) nextest run --test incidents --no-capture
else
	$(CARGO) test --test incidents -- --nocapture
endif

# Against corpora that stand beside the checkout.
conformance:
	@test -d ../shared/corpora || { echo 'make conformance needs the corpora in ../shared/corpora' >&2; exit 1; }
	$(CARGO) test --test conformance -- --nocapture

# Records datasets/shop anew: make dataset SEED=42
SEED ?= 42
dataset: tools
	$(CARGO) run --example record_shop -- --seed $(SEED)
