# make demo   set up and run the main job (recipes/quickstart.yaml)
# make test   set up and run the fast tests
# make check  lint and types
# make slow   the slow tests: the real embedded model, killed and resumed studies
# make test-all  all tests, with every extra, a browser and Debian's packages; any skip but the allowed ones fails

PYTHON ?= python3
# torch's index decides which build arrives; name another build here, for example: make demo TORCH="torch==2.13.0 --index-url URL"
TORCH ?= torch==2.13.0
BIN := .venv/bin
ALL := .venv-all
# All but gemma: the package index has torchvision for torch's CUDA build only, which a CPU build cannot import.
EXTRAS := speech,hub,qlora,ray,slurm,deepspeed,grammar,serve,browser,reference,dev
# Two processes, of one torch thread each (tests/conftest.py); files stay whole, as a browser is open for one file at a time.
PYTEST := -m pytest -n 2 --dist loadfile

.PHONY: demo test test-all slow check clean debian FORCE

demo: .venv/.installed
	$(BIN)/sottovoce study recipes/quickstart.yaml

test: .venv/.installed-dev
	$(BIN)/python $(PYTEST)

slow: .venv/.installed-dev
	$(BIN)/python $(PYTEST) -m slow

test-all: $(ALL)/.installed debian
	$(ALL)/bin/python $(PYTEST) -m 'slow or not slow' --no-skips-but 'no GPU' --no-skips-but '../shared/data is absent'

check: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
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

.venv/.installed-dev: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

# An extra gets the torch that was asked for, never another one.
$(ALL)/.installed: pyproject.toml Makefile .torch
	$(PYTHON) -m venv $(ALL)
	$(ALL)/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(ALL)/bin/python -m pip freeze | grep '^torch==' > $(ALL)/constraints.txt
	$(ALL)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(ALL)/constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

debian:
	.ci/debian-packages espeak-ng flite chromium slurmctld slurmd slurm-client munge

clean:
	rm -rf .venv .venv-all .torch .mypy_cache .ruff_cache .pytest_cache
