# SPDX-License-Identifier: Apache-2.0
# A front to Meson: everything is built in build/. See README.md.

SHELL := /bin/sh
export PKG_CONFIG_PATH := $(CURDIR)/build/deps/pkgconfig:$(PKG_CONFIG_PATH)

.PHONY: all setup coverage demo demo-postgres test mutants reliability soak bench bench-leases bench-notion bench-postgres fuzz install format lint clean

all: build/build.ninja
	@ninja -C build --quiet

setup:
	@scripts/setup

build/build.ninja: | setup
	@meson setup build --reconfigure >build/setup.log 2>&1 || meson setup build

demo: setup all
	@demo/run

demo-postgres: setup all
	@demo/postgres

test: setup all
	@tests/run

mutants: setup all
	@sim/mutants.py

reliability: setup all
	@sim/report

soak: setup all
	@docs/model/run --all
	@build/onerow simulate --protocol guarded --schedules 10000000
	@build/onerow simulate --protocol direct --schedules 10000000
	@ONEROW_LEASE_TURNS=1000 meson test -C build lease_race --timeout-multiplier 20

bench: setup all
	@bench/run

bench-leases: setup all
	@bench/leases/run

bench-notion: setup all
	@bench/notion/run

bench-postgres: setup all
	@bench/postgres/run

coverage: setup
	@scripts/coverage

fuzz: setup
	@fuzz/run

install: all
	meson install -C build --no-rebuild

format: setup
	@clang-format -i $$(git ls-files '*.[ch]')

lint: setup all
	@scripts/lint

clean:
	@rm -rf build build-asan build-tsan build-coverage
