# make demo   set up and run the main job (recipes/quickstart.yaml)
# make test   set up and run the fast tests
# make check  lint, types and import order
# make docs   the docs site, into site/; a broken link fails
# make slow   the slow tests: the real embedded model, killed and resumed studies
# make gpu-wheels   what benchmarks/gpu_day.py installs on a GPU machine that has torch and no network, into .gpu-wheels
# make test-all  all tests, with every extra, a browser and Debian's packages; any skip but the allowed ones fails

PYTHON ?= python3
# torch's index decides which build arrives; name another build here, for example: make demo TORCH="torch==2.13.0 --index-url URL"
TORCH ?= torch==2.13.0
BIN := .venv/bin
ALL := .venv-all
# All but gemma: the package index has torchvision for torch's CUDA build only, which a CPU build cannot import.
EXTRAS := speech,hub,qlora,ray,slurm,deepspeed,serve,browser,reference,dev
# Two processes, of one torch thread each (tests/conftest.py); files stay whole, as a browser is open for one file at a time.
PYTEST := -m pytest -n 2 --dist loadfile

.PHONY: demo test test-all slow check gpu-wheels debian clean FORCE

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
	$(BIN)/lint-imports
	$(BIN)/mypy

# For x86-64 and one release of Python, that of the GPU machine: for two of them they would weigh too much.
GPU_PYTHON ?= 3.12
GLIBC := 5 12 17 24 27 28 31 34 35 39
WHEELS = $(PYTHON) -m pip download --quiet --disable-pip-version-check --only-binary=:all: --dest .gpu-wheels \
  --implementation cp --python-version $(GPU_PYTHON) $(GLIBC:%=--platform manylinux_2_%_x86_64) --platform manylinux2014_x86_64

gpu-wheels:
	rm -rf .gpu-wheels
	$(WHEELS) --no-deps --requirement benchmarks/gpu_wheels.txt
	$(WHEELS) pydantic
	@git ls-files -z | $(PYTHON) -c 'import sys; from pathlib import Path; \
	tree = [Path(name) for name in sys.stdin.read().split("\0") if name]; \
	size = sum(path.stat().st_size for path in [*tree, *Path(".gpu-wheels").iterdir()] if path.is_file()) / 2**20; \
	print(f"{size:.1f} MiB with the working tree"); sys.exit("more than the 60 MiB that may be carried" if size > 60 else 0)'

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
	$(BIN)/mkdocs build --strict

.venv/.installed-docs: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
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
	rm -rf .venv .venv-all .torch .gpu-wheels site .mypy_cache .ruff_cache .pytest_cache
