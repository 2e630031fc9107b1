# The one tool needed beside make: a Python 3.11 or newer that can make virtual environments.
# For the dashboard's files also npm, with Node.js 20.19 or newer; without it they are not checked.
PYTHON ?= python3
BIN := .venv/bin
# Processes that share the tests of `make test`. Each starts servers of its own.
WORKERS ?= 2
# Where `make serve` serves.
PORT ?= 7071
PAGE_TOOLS := dev/page/node_modules/.package-lock.json
KQL_TOOLS := dev/kql/node_modules/.package-lock.json
AZURITE := dev/azurite/node_modules/.package-lock.json
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip

.DEFAULT_GOAL := help
.PHONY: help run serve screenshots test test-3.13 test-3.14 servers check check-page kql-parser azurite format bench bench-smoke experiments sbom soak clean

help: ## show this list
	@awk -F ':.*## ' '/^[.a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv/demo ## reclaim 20,000 abandoned tweets on a server of its own, or on REDIS_HOST
	@$(BIN)/python -m dev.demo

serve: .venv/demo $(if $(filter queue,$(FAN_OUT)),azurite) ## the app at work on http://127.0.0.1:7071 (PORT=8080), with live tweets (or on REDIS_HOST, without)
	@$(BIN)/python -m dev.serve --port $(PORT)

test: .venv kql-parser azurite ## run all tests, on servers that they start themselves; WORKERS=4: in four processes
	$(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal

# Microsoft's parser of KQL. Without npm its tests are skipped; where CI is set, they fail.
kql-parser:
	@if command -v npm >/dev/null; then $(MAKE) --silent $(KQL_TOOLS); fi

# Microsoft's emulator of a storage account, for FAN_OUT=queue. Without npm its tests are skipped; where CI is set, they fail.
azurite:
	@if command -v npm >/dev/null; then $(MAKE) --silent $(AZURITE); fi

check: .venv check-page ## lint, formatting and types; of the dashboard also the unit tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

check-page:
	@if command -v npm >/dev/null; then $(MAKE) --silent $(PAGE_TOOLS) && npm --prefix dev/page run --silent check; \
	elif [ "$(CI)" = true ]; then echo "npm is missing, so the dashboard's files cannot be checked"; exit 1; \
	else echo "npm is not installed here: the dashboard's files are not checked"; fi

format: .venv ## put the code into the house format
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format
	@if command -v npm >/dev/null; then $(MAKE) --silent $(PAGE_TOOLS) && npm --prefix dev/page run --silent fix; fi

bench: .venv ## measure it all in some thirteen minutes, and write docs/benchmarks.md
	@$(BIN)/python -m bench

bench-smoke: .venv ## the same with little of everything: see that it works
	@$(BIN)/python -m bench --quick

python-3.13 python-3.14: .venv ## another Python in build/, from Debian's packages, and the tests' packages in it
	@$(BIN)/python -m dev.pythons $(@:python-%=%)

experiments: .venv ## what the two articles showed, on reclaim, in some twenty minutes; writes docs/experiments.md
	@$(BIN)/python -m experiments

test-3.13 test-3.14: test-%: .venv python-% ## all tests on that Python, with the platform's own worker
	build/venv-$*/bin/python -m pytest --numprocesses $(WORKERS) --dist worksteal

servers: .venv ## more kinds of servers in build/, as far as they are to be had: TEST_SERVERS=all make test
	@$(BIN)/python -m dev.more_servers

sbom: .venv ## what is deployed: build/sbom.json (CycloneDX) and docs/licences.md
	@$(BIN)/python -m dev.materials

soak: .venv ## half an hour of random worlds with the faults of production: every entry is accounted for
	@$(BIN)/python -m dev.soak

screenshots: .venv ## make the README's pictures of the page and of the terminal anew
	@$(BIN)/python -m dev.screenshots

clean: ## remove the environment and everything that the tools left
	rm -rf .venv dev/page/node_modules dev/kql/node_modules dev/azurite/node_modules .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv: .venv/stamp ## make the environment

# What looks at the dashboard's files. The lock names each package and its checksum.
$(PAGE_TOOLS): dev/page/package.json dev/page/package-lock.json
	@npm --prefix dev/page ci --no-audit --no-fund --silent
	@touch $@

$(KQL_TOOLS): dev/kql/package.json dev/kql/package-lock.json
	@npm --prefix dev/kql ci --no-audit --no-fund --silent
	@touch $@

$(AZURITE): dev/azurite/package.json dev/azurite/package-lock.json
	@npm --prefix dev/azurite ci --no-audit --no-fund --silent
	@touch $@

# The stamps are written last, so an environment that was not finished is made again. The demo needs few packages: who
# only wants to see it does not wait for the tools of the tests. pip shows its progress.
.venv/demo: requirements.txt requirements-cli.txt requirements-demo.txt
	@echo "making .venv with what the demo needs; this is done once"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is not Python 3.11 or newer"; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(PIP) install --requirement requirements-demo.txt
	@touch $@

.venv/stamp: .venv/demo requirements-dev.txt
	@echo "adding the tools of the tests and the checks to .venv; this takes a minute or two, once"
	@$(PIP) install --requirement requirements-dev.txt
	@touch $@
