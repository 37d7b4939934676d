# Two commands for a fresh Debian machine, as root, from a clean clone:
#   make demo    build a real multi-service image, run it, break it, watch it heal
#   make test    pass every test
# Both do all set-up themselves.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# What building holdall needs, what holdall calls, and what only tests use.
BUILD_PACKAGES := gcc libc6-dev
RUN_PACKAGES   := mmdebstrap debian-archive-keyring
DEMO_PACKAGES  := curl
TEST_PACKAGES  := strace procps busybox-static python3 redis-server skopeo umoci docker.io podman buildah crun catatonit \
                  supervisor tini dumb-init \
                  qemu-system-x86 e2fsprogs xz-utils chromium
# libFuzzer is C++.
FUZZ_PACKAGES  := g++
# What `make bench` measures holdall beside.
BENCH_PACKAGES := util-linux busybox-static tini dumb-init catatonit crun runc docker.io podman buildah umoci pigz supervisor s6 runit e2fsprogs

.PHONY: help demo test faults check deny mutants fuzz bench build setup setup-test soak clean

help:
	@sed -n '1,4s/^# \{0,1\}//p' Makefile

# Installs only what is missing, so that a second run needs no network. What
# is a daemon elsewhere (docker.io) is not started: the policy of Debian's
# invoke-rc.d says no meanwhile.
define install
missing=$$(for p in $(1); do dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null | grep -qx installed || echo $$p; done); \
if [ -n "$$missing" ]; then \
  [ "$$(id -u)" = 0 ] || { echo "make: installing $$missing needs root" >&2; exit 1; }; \
  policy=/usr/sbin/policy-rc.d; \
  [ -e $$policy ] || { trap "rm -f $$policy" EXIT; printf '#!/bin/sh\nexit 101\n' >$$policy; chmod 755 $$policy; }; \
  apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
fi
endef

setup:
	@command -v cargo >/dev/null || { echo "make: cargo is missing: install Rust 1.95 or newer (https://rustup.rs)" >&2; exit 1; }
	@$(call install,$(BUILD_PACKAGES) $(RUN_PACKAGES) $(DEMO_PACKAGES))

# crun refuses version 1 of cgroups where version 2 has a controller left beside
# it; as a rule whoever mounts version 1 mounts hugetlb with it.
HUGETLB := /sys/fs/cgroup/hugetlb

setup-test: setup
	@$(call install,$(TEST_PACKAGES))
	@if grep -qsw hugetlb /sys/fs/cgroup/unified/cgroup.controllers; then mkdir -p $(HUGETLB); mount -t cgroup -o hugetlb cgroup $(HUGETLB); fi
	@cargo nextest --version >/dev/null 2>&1 || cargo install --locked cargo-nextest

build: setup
	cargo build --release --locked --quiet

demo: build
	@examples/demo

test: setup-test
	cargo test --doc -p holdall-protocol --locked --quiet
	cargo nextest run --workspace --locked

# Kills and failures at every system call of a build and a run, of which CI
# tries a few. Takes hours; `make faults POINTS=60` tries so many of each.
POINTS ?= 1000000
faults: setup-test
	HOLDALL_FAULT_POINTS=$(POINTS) cargo nextest run --profile faults --locked -p holdall --run-ignored all --no-fail-fast --success-output immediate -E 'test(/^(kills|failures)::/)'

# The gate in front of the tests: format, lints, documentation.
check: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked

# All of deny.toml by cargo-deny, which takes longer to compile than everything
# else here, even unoptimised: outside CI. What matters most of it is in
# `make test` as well.
deny:
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked --debug --no-default-features cargo-deny
	cargo deny --locked check bans licenses sources

# Changes the code in a thousand ways; a test must notice each. For hours, so
# outside CI. `make mutants ONLY=init/supervise` does one part. What survived,
# and why it may: docs/mutants.md.
mutants: setup-test
	@cargo mutants --version >/dev/null 2>&1 || cargo install --locked cargo-mutants
	nice -n 15 cargo mutants --workspace --output target $(foreach part,$(ONLY),--re '^$(part)')

# Hostile bytes into every reader of them, FUZZ_SECONDS each; see fuzz/run.
# `make fuzz ONLY="layer frames"` takes only these.
FUZZ_SECONDS ?= 300
fuzz: setup
	@$(call install,$(FUZZ_PACKAGES))
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
	fuzz/run $(FUZZ_SECONDS) $(ONLY)

# The same work beside the peers, into docs/benchmarks.md. Asserts nothing.
# `make bench ONLY="bundle logs"` measures only these again.
bench: build
	@$(call install,$(BENCH_PACKAGES))
	cargo build -p holdall-init --profile init --locked --quiet
	cargo run --release --locked --quiet -p holdall-bench -- $(ONLY)

# Random boxes through random deeds, for a long time, without one promise of
# the init's core broken: ten million events, then CASES of each property.
CASES ?= 200000
soak: setup
	cargo test --release --locked -p holdall-supervise --test simulated -- --ignored --nocapture ten_million
	PROPTEST_CASES=$(CASES) cargo test --release --locked -p holdall-supervise --test simulated properties

clean:
	cargo clean
