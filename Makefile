# make demo   a first look: everything is made here, scored and drawn, no download beyond the packages
# make test   the tests (fast ones; `make test-all` adds the slow ones)
# make check  lint, types, import contracts
# make coverage   the tests of scoring, results, datasets and tracking; fails below 95 % of lines
# make fuzz   every reader against hostile input, coverage-guided (MINUTES=10 of processor time for all of them together)
# make docs   the documentation site, in site/
# make bench  every benchmark, each against the best alternatives there are; writes docs/benchmarks.md
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install -q -c constraints.txt
EXTRAS := track,vlm,train,cluster,report,view,excel,hub
PYTEST ?= $(BIN)/python -m pytest

.PHONY: help demo test test-all check coverage fuzz docs bench wheel clean
help:
	@grep '^# make' Makefile | cut -c3-

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip --disable-pip-version-check install -q -U pip

# Two stages, because the demo needs no language model, trainer or linter.
$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e ".[track,report]"
	@touch $@
$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -U "pip>=25.1"
	$(PIP) -e ".[$(EXTRAS)]" --group dev
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	$(BIN)/python -m tnllt.demo demo

test: $(VENV)/.dev
	$(PYTEST) -m "not slow" $(ARGS)

test-all: $(VENV)/.dev
	$(PYTEST) $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

COVERED := $(addprefix tests/,baselines cli datasets eval report results tracking test_fuzz.py test_security.py)
coverage: $(VENV)/.dev
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -m "not slow" $(COVERED) $(ARGS)
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report --show-missing --skip-covered

MINUTES ?= 10
fuzz: $(VENV)/.dev
	$(PIP) --group fuzz
	$(BIN)/python fuzz/run.py --minutes $(MINUTES) $(ARGS)

docs: $(VENV)/.dev
	$(BIN)/python docs/generate.py
	$(BIN)/python -m mkdocs build --strict -d site

# In an environment of its own: what it compares with has requirements that nothing else here needs.
bench:
	test -x $(VENV)-bench/bin/python || $(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip --disable-pip-version-check install -q -U "pip>=25.1"
	$(VENV)-bench/bin/python -m pip --disable-pip-version-check install -q -c constraints.txt -e ".[track,vlm]" --group bench
	$(VENV)-bench/bin/python benchmarks/run.py

wheel: $(VENV)/.dev
	$(PIP) build
	$(BIN)/python -m build

clean:
	rm -rf $(VENV) $(VENV)-bench demo dist build .pytest_cache .mypy_cache .ruff_cache
