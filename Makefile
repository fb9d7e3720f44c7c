# make demo   set up and run the main job (recipes/quickstart.yaml)
# make test   set up and run the fast tests
# make check  lint, types and import order
# make docs   the docs site, into site/; a broken link fails
# make slow   the slow tests: the real embedded model, killed and resumed studies

PYTHON ?= python3
# torch's index decides which build arrives; name another build here, for example: make demo TORCH="torch==2.13.0 --index-url URL"
TORCH ?= torch==2.13.0
BIN := .venv/bin

.PHONY: demo test slow check clean FORCE

demo: .venv/.installed
	$(BIN)/sottovoce study recipes/quickstart.yaml

test: .venv/.installed-dev
	$(BIN)/python -m pytest

slow: .venv/.installed-dev
	$(BIN)/python -m pytest -m slow

check: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# Holds the TORCH of the last time, and is touched only when another one is asked for: that sets up again.
.torch: FORCE
	@echo '$(TORCH)' | cmp -s - $@ || echo '$(TORCH)' > $@

.venv/.installed: pyproject.toml Makefile .torch
	$(PYTHON) -c 'import sys; sys.exit("sottovoce needs Python 3.11 or later, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

.PHONY: docs
docs: .venv/.installed-docs
	$(BIN)/mkdocs build --quiet --strict

.venv/.installed-docs: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

.venv/.installed-dev: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .torch .mypy_cache .ruff_cache .pytest_cache
