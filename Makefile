# The one tool needed beside make: a Python 3.11 or newer that can make virtual environments.
PYTHON ?= python3
BIN := .venv/bin
# Processes that share the tests of `make test`. Each starts servers of its own.
WORKERS ?= 2
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip --quiet

.DEFAULT_GOAL := help
.PHONY: help run serve test check format bench bench-smoke clean

help: ## show this list
	@awk -F ':.*## ' '/^[.a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv ## reclaim 20,000 abandoned tweets on a server of its own, or on REDIS_HOST
	@$(BIN)/python -m dev.demo

serve: .venv ## the app at work on http://127.0.0.1:7071, with live tweets (or on REDIS_HOST, without)
	@$(BIN)/python -m dev.serve

test: .venv ## run all tests, on servers that they start themselves; WORKERS=4: in four processes
	$(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal

check: .venv ## lint, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv ## put the code into the house format
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: .venv ## measure it all in some thirteen minutes, and write docs/benchmarks.md
	@$(BIN)/python -m bench

bench-smoke: .venv ## the same with little of everything: see that it works
	@$(BIN)/python -m bench --quick

clean: ## remove the environment and everything that the tools left
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv: .venv/stamp ## make the environment

# The stamp is written last, so an environment that was not finished is made again.
.venv/stamp: requirements.txt requirements-cli.txt requirements-dev.txt
	@echo "making .venv"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is not Python 3.11 or newer"; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(PIP) install --requirement requirements-dev.txt
	@touch $@
