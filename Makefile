# The verbs. Each works on a fresh machine with nothing done before, and each is a script under scripts/.
.DEFAULT_GOAL := help
.PHONY: help run test check deps soak mutants bench install uninstall screenshots fmt generate
MAKEFLAGS += --no-print-directory
# Bash counts in SECONDS itself; the soak gets it as an argument.
unexport SECONDS

help:
	@echo 'Verbs:'
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile | expand -t 20

run: ## install what is missing, build, open Asgard
	@scripts/run

test: ## install what is missing and pass every test (SUITE="a b" for some of them)
	@SUITE="$(SUITE)" scripts/test

check: ## formatting, lints, types, stale generated files, licences; no test
	@scripts/check

deps: ## only install what is missing (DRY=1 prints it; TEST=1 with what tests need; OS_RELEASE=FILE)
	@DRY="$(DRY)" TEST="$(TEST)" OS_RELEASE="$(OS_RELEASE)" scripts/deps

soak: ## the random campaigns (SEED=1 CASES=100000 DAYS=10000 SECONDS=600 FUZZ_SECONDS=60)
	@scripts/soak "$(SEED)" "$(SECONDS)"

mutants: ## change the memory's pure core and see which changes no test notices (FILE=pool.rs)
	@scripts/mutants $(FILE)

bench: ## the benchmarks: a table, and target/bench/*.json
	@scripts/bench

install: ## programs, icons and menu entry, for this user (PREFIX=DIR, PROFILE=dev)
	@PREFIX="$(PREFIX)" PROFILE="$(PROFILE)" scripts/install

uninstall: ## take away what install placed; chats and settings stay
	@PREFIX="$(PREFIX)" scripts/uninstall

screenshots: ## the real app's screens, dark and light, to target/screenshots
	@scripts/screenshots

fmt: ## format Rust and the UI
	@scripts/fmt

generate: ## write the generated TypeScript types again
	@scripts/generate
