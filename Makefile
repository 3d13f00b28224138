# Everyday commands; `make help` lists them. The work is done by CMake presets and scripts/.
MODEL ?= models/tiny
HOST ?= 127.0.0.1
PORT ?= 8080
PRESET ?= all-on
BENCH_ARGS ?= --mode ablate
JOBS ?= $(shell getconf _NPROCESSORS_ONLN)
export JOBS

KRSERVE := build/release/bin/krserve

.DEFAULT_GOAL := help
.PHONY: help setup build program serve demo bench test metal-sim asan tsan format lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "Variables: MODEL=$(MODEL) HOST=$(HOST) PORT=$(PORT) PRESET=$(PRESET) JOBS=$(JOBS)"

setup: ## install what building and testing need; says what it installs
	@scripts/setup.sh

build: ## build the release preset into build/release
	@scripts/build.sh release

program:
	@scripts/build.sh release krserve

serve: setup program ## serve MODEL on HOST:PORT with every optimization on
	$(KRSERVE) serve --model $(MODEL) --host $(HOST) --port $(PORT) --preset $(PRESET)

demo: setup program ## ask MODEL one question on the command line
	$(KRSERVE) generate --model $(MODEL) --preset $(PRESET) --chat "What is 17 + 25?" --temperature 0

bench: setup program ## measure MODEL with the optimizations on and off (BENCH_ARGS)
	$(KRSERVE) bench --model $(MODEL) $(BENCH_ARGS)

test: setup ## every check and test; ends with "N passed, N failed"
	@scripts/run_tests.sh

metal-sim: setup ## the program with the Metal back end on a model of Metal, and its suites
	@scripts/run_tests.sh metal metal3

asan: setup ## the runtime, engine and device suites under AddressSanitizer and UBSan
	@scripts/run_tests.sh asan

tsan: setup ## the runtime, engine and device suites under ThreadSanitizer
	@scripts/run_tests.sh tsan

format: setup ## rewrite C++ with clang-format and mend what ruff can mend
	scripts/clang_format.sh --fix
	.venv/bin/ruff check --quiet --fix .

lint: build ## clang-tidy over src
	scripts/lint.sh

clean: ## remove build/ (ccache stays warm)
	rm -rf build
