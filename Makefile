PYTHON ?= python3
VENV := .venv
OLDEST := .venv-oldest
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help test test-oldest lint demo demo-check bench clean

help:  ## Show this list
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: $(VENV)/.installed-dev  ## Run the tests; ARGS='-k name' goes to pytest
	$(VENV)/bin/python -m pytest $(ARGS)

test-oldest: $(OLDEST)/.installed  ## Run the tests on the oldest supported dependencies
	$(OLDEST)/bin/python -m pytest -m 'not slow' $(ARGS)

lint: $(VENV)/.installed-lint $(OLDEST)/.installed  ## Run ruff, mypy and pyright
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python
	@echo "The samples of typed code, on the oldest supported dependencies:"
	$(VENV)/bin/mypy --python-executable $(OLDEST)/bin/python --cache-dir .mypy_cache/oldest --follow-imports silent tests/typing
	$(VENV)/bin/pyright --pythonpath $(OLDEST)/bin/python tests/typing

demo: $(VENV)/.installed-demo  ## Start the demo service: web, worker and data
	$(VENV)/bin/python -m demo_app.run

demo-check: $(VENV)/.installed-demo  ## Start the demo service, try it over HTTP, stop it
	$(VENV)/bin/python -m demo_app.run --check

bench: $(VENV)/.installed-bench  ## Run the benchmarks; ARGS=--quick for a look
	$(VENV)/bin/python -m benchmarks $(ARGS)

clean:  ## Remove everything that make and the tools have made
	rm -rf $(VENV) $(OLDEST) build dist *.egg-info .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed-%: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

$(OLDEST)/.installed: setup.cfg pyproject.toml tests/oldest.txt | $(OLDEST)/bin/python
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' --constraint tests/oldest.txt
	@touch $@

$(VENV)/bin/python $(OLDEST)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "activebase needs Python 3.11 or later; '$(PYTHON)' is not. Try: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(@:/bin/python=) || { rm -rf $(@:/bin/python=); exit 1; }
