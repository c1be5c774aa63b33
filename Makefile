# libisr: `make demo` and `make test` do all the set-up on a machine with rustc, Python 3.11, Node 20, gcc and apt.
# `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PY := .venv/bin/python
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# gcc's headers and libraries for the C tests and the example site, valgrind, and what the tests with real processes need.
APT := g++ libkainjow-mustache-dev libmicrohttpd-dev libsqlite3-dev nlohmann-json3-dev pkg-config strace util-linux valgrind
CFLAGS_C := -O2 -g -Wall -Wextra -Wpedantic -Werror -Iinclude
RELEASE := target/release
CORE_SOURCES := $(shell find core/src core/Cargo.toml Cargo.toml Cargo.lock -name '*.rs' -o -name 'Cargo.*' 2>/dev/null)
SCENARIOS := tests/scenarios

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

# ---- set-up -------------------------------------------------------------------------------------------------------

build/.apt: Makefile
	@mkdir -p build
	@missing=$$(for p in $(APT); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  root=; [ "$$(id -u)" = 0 ] || root=sudo; \
	  echo "installing Debian packages:" $$missing; \
	  $$root apt-get update -qq; \
	  DEBIAN_FRONTEND=noninteractive $$root apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
	@touch $@

build/.venv: bindings/python/requirements-dev.txt examples/python/requirements.txt
	@mkdir -p build
	[ -x $(PY) ] || python3 -m venv .venv
	$(PY) -m pip install -q --disable-pip-version-check -r bindings/python/requirements-dev.txt -r examples/python/requirements.txt
	@touch $@

build/.npm: bindings/node/package-lock.json examples/node/package-lock.json examples/site/package-lock.json
	@mkdir -p build
	npm ci --prefix bindings/node --no-audit --no-fund --loglevel=error
	npm ci --prefix examples/node --no-audit --no-fund --loglevel=error
	npm ci --prefix examples/site --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: setup
setup: build/.apt build/.venv build/.npm ## Install what the builds and tests need

# ---- builds -------------------------------------------------------------------------------------------------------

.PHONY: build build-c build-python build-node
build: build-c build-python build-node ## Build the C library, the wheel and the addon

build-c: build/.apt ## Build libisr.so and libisr.a in target/release
	cargo build --release --locked -p libisr
	ln -sf libisr.so $(RELEASE)/libisr.so.0.1

build-python: build/.venv ## Build the wheel and install it into .venv
	$(PY) -m maturin build --release --locked -q -m bindings/python/Cargo.toml -o build/wheels
	$(PY) -m pip install -q --disable-pip-version-check --force-reinstall --no-deps build/wheels/*.whl

build-node: build/.npm ## Build the addon and its TypeScript
	npm run build --prefix bindings/node --silent

# ---- the example site ---------------------------------------------------------------------------------------------

build/site.sqlite: build/.npm examples/site/import_wordnet.py examples/site/schema.sql examples/site/posts.json examples/site/abouts.json
	python3 examples/site/import_wordnet.py

.PHONY: site demo
site: setup build build/site.sqlite
	$(MAKE) -C examples

demo: site ## The example site from C, Python and Node: walk through the story (ARGS=--once ends by itself)
	$(PY) examples/demo.py $(ARGS)

# ---- tests --------------------------------------------------------------------------------------------------------

.PHONY: test lint test-core test-model test-machine test-c test-python test-node test-site test-servers test-demo scenarios \
    test-directory runners bench-guard
# The scenarios come last: their closing line counts.
test: setup lint test-core test-model test-machine test-c test-python test-node test-site test-servers test-demo test-directory bench-guard scenarios ## Everything

lint: build-python build-node ## Formats, clippy, ruff, mypy
	cargo fmt --all --check
	PYO3_BUILD_EXTENSION_MODULE=1 cargo clippy --locked --workspace --all-targets --features libisr-bench/peers -- -D warnings
	.venv/bin/ruff check bindings/python examples tests benches
	.venv/bin/ruff format --check bindings/python examples tests benches

test-core: build/.apt ## Unit, property and many-threads tests of the core
	cargo test --locked -q -p libisr-core

test-model: build/.apt ## Model checks of the core's concurrency (shuttle)
	cargo test --locked -q -p libisr-core --profile shuttle --features shuttle --test shuttle

WORKER := $(RELEASE)/examples/worker

.PHONY: worker
worker: build/.apt
	cargo build --release --locked -q -p libisr-core --example worker

# Root alone can do all of it; what is left out says why. A third of the moments to be killed at: `make test-crash` has them all.
test-machine: worker ## Processes that share a directory, killed at system calls and at random; damage and trouble
	cd tests/machine && LIBISR_WORKER=$(CURDIR)/$(WORKER) LIBISR_CRASH_STEP=3 python3 -m unittest \
	    test_shared test_one_render test_damage_pages test_damage_at_rest test_damage_running \
	    test_clocks_and_restart test_trouble test_crash crash_points

.PHONY: test-crash
test-crash: worker ## Killed at every system call, then the long kill loop (ARGS='--rounds 20 --seconds 30'; --help)
	cd tests/machine && LIBISR_WORKER=$(CURDIR)/$(WORKER) python3 -m unittest crash_points
	LIBISR_WORKER=$(CURDIR)/$(WORKER) python3 tests/machine/crash.py $(ARGS)

.PHONY: bench-open
bench-open: worker ## A million stored pages: opening, and the first hits (ARGS='--pages 100000 --cold')
	LIBISR_WORKER=$(CURDIR)/$(WORKER) python3 tests/machine/bench_open.py $(ARGS)

test-c: build/.apt ## The C library: ABI, header, symbols, valgrind
	cargo test --locked -q -p libisr --features testing

test-python: build-python ## The Python module
	cd bindings/python && ../../$(PY) -m pytest -q

test-node: build-node ## The Node addon
	npm test --prefix bindings/node --silent

test-site: site ## The three servers of the example site give the same bytes
	$(PY) -m unittest discover -s examples/tests

test-servers: site ## gunicorn, uvicorn, a Node cluster and the C server on one directory, under load
	cd tests/machine && ../../$(PY) -m unittest test_servers

.PHONY: test-load
test-load: site ## The same for ten minutes (LIBISR_LOAD_SECONDS=600)
	cd tests/machine && LIBISR_LOAD_SECONDS=$${LIBISR_LOAD_SECONDS:-600} ../../$(PY) -m unittest test_servers

test-demo: site ## The story of the demo, every line as said
	$(PY) examples/demo.py --once

# The C runner is compiled against the release library.
build/c/runner: build-c $(wildcard tests/c/runner/*) tests/c/runner.cpp
	@mkdir -p $(@D)
	$(CXX) -std=c++17 -O1 -g -Wall -Wextra -pthread -Iinclude tests/c/runner.cpp -o $@ \
	    -L$(RELEASE) -Wl,-rpath,'$$ORIGIN/../../$(RELEASE)' -lisr

runners: build build/c/runner
	cargo build --release --locked -q -p libisr-core --example scenarios
	install -D $(RELEASE)/examples/scenarios build/runner-rust

scenarios: runners ## All four runners on a folder: make scenarios DIR=tests/scenarios
	python3 tests/run_scenarios.py $(or $(DIR),$(SCENARIOS))

test-directory: runners ## The scenarios with a directory each, which must change nothing
	python3 tests/run_scenarios.py --directory $(or $(DIR),$(SCENARIOS))

# What the benches need beyond the tests: a load generator, glib as a peer, and a venv, so that the tests' one keeps what they know.
BENCH_APT := libglib2.0-dev libmicrohttpd-dev wrk
BENCH_PY := build/bench-venv/bin/python

build/.bench-apt: Makefile
	@mkdir -p build
	@missing=$$(for p in $(BENCH_APT); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  root=; [ "$$(id -u)" = 0 ] || root=sudo; \
	  $$root apt-get update -qq; \
	  DEBIAN_FRONTEND=noninteractive $$root apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi
	@touch $@

build/.bench-venv: benches/python/requirements.txt
	@mkdir -p build
	[ -x $(BENCH_PY) ] || python3 -m venv build/bench-venv
	$(BENCH_PY) -m pip install -q --disable-pip-version-check -r benches/python/requirements.txt
	@touch $@

build/.bench-npm: benches/node/package-lock.json
	@mkdir -p build
	npm ci --prefix benches/node --no-audit --no-fund --loglevel=error
	@touch $@

build/bench/%: benches/c/%.c build-c build/.bench-apt
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_C) $(BENCH_CFLAGS) $< -o $@ -L$(RELEASE) -Wl,-rpath,'$$ORIGIN/../../$(RELEASE)' -lisr $(BENCH_LIBS)
build/bench/hit: BENCH_CFLAGS = -DHAVE_GLIB $$(pkg-config --cflags glib-2.0)
build/bench/hit: BENCH_LIBS = $$(pkg-config --libs glib-2.0) -lm
build/bench/server: BENCH_LIBS = -lmicrohttpd

.PHONY: bench bench-guard
bench: build-python build-node build/bench/hit build/bench/server build/.bench-venv build/.bench-npm ## libisr beside its peers, docs/benchmarks.md (ARGS=--quick: a look)
	$(BENCH_PY) -m pip install -q --disable-pip-version-check --force-reinstall --no-deps build/wheels/*.whl
	cargo build --release --locked -q -p libisr-bench --features peers
	$(BENCH_PY) benches/run.py $(ARGS)

bench-guard: build/.apt ## Instructions of the hit path: 3 % more than in benches/guard.json fail (ARGS=--renew)
	python3 benches/guard.py $(ARGS)

.PHONY: bench-storm
bench-storm: build/.apt ## Stampedes, storms and early refresh in real time (ARGS=stampede|storm|early)
	cargo run -q --release --locked -p libisr-bench --bin bench-storm -- $(ARGS)

.PHONY: bench-eviction
bench-eviction: ## The eviction order on traces, beside its peers, and the memory taken (ARGS=--help, or a run of your own)
ifdef ARGS
	cargo run -q --release --locked -p libisr-bench --features peers --bin bench-eviction -- $(ARGS)
else
	cargo run -q --release --locked -p libisr-bench --features peers --bin bench-eviction
	cargo run -q --release --locked -p libisr-bench --features peers --bin bench-eviction -- --memory 64
	cargo run -q --release --locked -p libisr-bench --features peers --bin bench-eviction -- --memory 256
endif

# ---- install ------------------------------------------------------------------------------------------------------

PREFIX ?= /usr/local
DESTDIR ?=
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
SONAME := libisr.so.$(basename $(VERSION))

.PHONY: install
install: build-c ## Install the C library and its headers (PREFIX=, DESTDIR=)
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include/isr
	install -m 755 $(RELEASE)/libisr.so $(DESTDIR)$(PREFIX)/lib/libisr.so.$(VERSION)
	ln -sf libisr.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(PREFIX)/lib/libisr.so
	install -m 644 $(RELEASE)/libisr.a $(DESTDIR)$(PREFIX)/lib/
	install -m 644 include/isr.h include/isr.hpp $(DESTDIR)$(PREFIX)/include/
	install -m 644 include/isr/* $(DESTDIR)$(PREFIX)/include/isr/
	printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$${prefix}/lib' 'includedir=$${prefix}/include' '' 'Name: libisr' \
	    'Description: Incremental static regeneration for every server' 'Version: $(VERSION)' \
	    'Libs: -L$${libdir} -lisr' 'Libs.private: -lpthread -ldl -lm' 'Cflags: -I$${includedir}' \
	    > $(DESTDIR)$(PREFIX)/lib/pkgconfig/libisr.pc

.PHONY: clean
clean: ## Remove everything that was built
	rm -rf build target .venv bindings/node/node_modules bindings/node/dist examples/*/node_modules
