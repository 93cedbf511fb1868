# Everything from a fresh clone: `make quickstart`, `make test`. TORCH names the torch to install, such as torch==2.13.0.
PYTHON ?= python3
TORCH ?= torch
PIP = .venv/bin/python -m pip install --quiet
RUN = .venv/bin/minilmm

.PHONY: quickstart test test-fast zoo bench clean

quickstart: .venv/.installed-core
	$(RUN) quickstart

test: .venv/.installed-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy minilmm cli
	OMP_NUM_THREADS=1 .venv/bin/pytest -n 2

test-fast: .venv/.installed-dev
	OMP_NUM_THREADS=1 .venv/bin/pytest -n 2 -m "not slow"

zoo: .venv/.installed-core  # from nothing: half an hour on two cores
	rm -rf minilmm/zoo/lm-nano minilmm/zoo/vision-nano minilmm/zoo/frozen-nano
	$(RUN) pretrain lm --preset nano --out minilmm/zoo/lm-nano
	$(RUN) pretrain vision --preset nano --out minilmm/zoo/vision-nano
	$(RUN) train frozen --preset nano --out minilmm/zoo/frozen-nano

bench: .venv/.installed-dev
	mkdir -p results
	.venv/bin/python benchmarks/run.py --json results/benchmarks.json

clean:
	rm -rf .venv build *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.installed-core: pyproject.toml | .venv/bin/python
	$(PIP) "$(TORCH)"
	$(PIP) -e .
	touch $@

.venv/.installed-dev: .venv/.installed-core
	$(PIP) -e ".[dev]"
	touch $@
