# Two commands set up everything on a fresh machine:  make demo   make test
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: env demo config test lint test-slow test-gpu bench bench-methods wheel clean

env: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: env        ## synthetic slides -> patches -> training -> tissue map of a slide never seen, and its mIoU
	$(BIN)/wsi-lpd demo --out demo

config: env     ## configs/default.yaml and docs/configuration.md, from the descriptions of the settings in the code
	$(BIN)/python -m wsi_lpd.config.document

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --explicit-package-bases cli
	$(BIN)/mypy benchmarks

test: lint       ## what CI runs: linters, types, and every test that is not slow
	$(BIN)/pytest -m "not slow and not gpu" --numprocesses auto --maxprocesses 8 --dist loadfile

test-slow: env
	$(BIN)/pytest -m "slow"

test-gpu: env
	$(BIN)/pytest -m "gpu"

bench-methods: env  ## the tables of docs/methods.md; DATA=FOLDER/wsss4luad/3.testing adds real tissue, GPU=1 larger sizes
	$(BIN)/python -m benchmarks.methods.compare $(if $(GPU),--size gpu --out bench-methods-gpu,--out bench-methods) \
		$(if $(DATA),--data "$(DATA)") $(BENCH)

bench: env       ## the tables of docs/performance.md; BENCH="--parts tiles,maps --no-peers" passes options on
	$(BIN)/python -m benchmarks.engine.bench $(BENCH)

wheel: env
	$(BIN)/python -m build

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache demo runs
