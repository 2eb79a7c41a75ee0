# The commands of the README; each makes the environment it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: help demo test check faults bench accuracy wheel lock clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: $(READY) ## a generated system with planted incidents, run live through the whole program
	@$(BIN)/logad demo

test: $(READY) ## all tests but the slow ones named below
	$(BIN)/python -m pytest -m "not faults" -n auto --dist loadfile --cov --cov-report=term

check: $(READY) ## format, lint, types, imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

faults: $(READY) ## kills, torn files and broken networks
	$(BIN)/python -m pytest -m faults

bench: $(READY) ## parsing quality, speed beside other miners, growth, and memory
	$(BIN)/python benchmarks/parsing.py
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/models.py

accuracy: $(READY) ## detection without labels: open sets, a generated shop, calibration, ablation
	$(BIN)/python benchmarks/accuracy.py
	$(BIN)/python benchmarks/shop_windows.py --seeds 130 131 132 133
	$(BIN)/python benchmarks/time_windows.py
	$(BIN)/python benchmarks/trainticket.py
	$(BIN)/python benchmarks/calibration.py
	$(BIN)/python benchmarks/ablation.py --planted --shop 0

wheel: $(READY) ## build the wheel and try it in a clean environment
	rm -rf dist build/wheel
	$(BIN)/python -m build --no-isolation --wheel --outdir dist .
	$(PYTHON) -m venv build/wheel
	build/wheel/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	build/wheel/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-index dist/logad-*.whl
	cd build && wheel/bin/logad rules && wheel/bin/logad --version

lock: ## resolve the versions of requirements.lock anew
	$(BIN)/pip-compile --quiet --extra dev --generate-hashes --allow-unsafe --strip-extras \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file requirements.lock pyproject.toml

clean: ## remove what was made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
