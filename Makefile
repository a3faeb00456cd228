# Two commands: `make demo` and `make test`. Both build .venv first; both need only Python and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check unit bench clean

help:
	@echo "make demo    three objectives on real text, then the lesson (about 6 minutes on 2 cores)"
	@echo "make test    everything that must hold: format, lint, types, tests"
	@echo "make unit    the tests alone"
	@echo "make test-all  the same with more kills, races and long simulations"
	@echo "make bench   what harness, checkpoints, lessons, sweeps, data, rows and regions cost, how often lessons err, and training beside other libraries (about an hour)"
	@echo "make clean   removes $(VENV)"

# Every version is pinned by constraints.txt; pyproject.toml says which ranges would do.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "ablate needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 demo")'
	@echo "Building $(VENV) (a few minutes, once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dev]'
	@touch $@

demo: $(VENV)/installed
	@$(BIN)/python -m ablate -m objective=causal,prefix,mixed
	@echo
	@echo "To go on:"
	@echo "  . .venv/bin/activate"
	@echo "  python -m ablate -m objective=causal,prefix,mixed     # again: nothing to train, the same lesson"
	@echo "  python -m ablate --help"

test: check unit

test-all: check
	@$(BIN)/python -m pytest -n 2 --dist worksteal

check: $(VENV)/installed
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

unit: $(VENV)/installed
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

bench: $(VENV)/installed
	@$(BIN)/python bench/harness_overhead.py
	@$(BIN)/python bench/checkpoint_cost.py
	@$(BIN)/python bench/large_grid.py
	@$(BIN)/python bench/calibration.py
	@$(BIN)/python bench/calibration.py --power
	@$(BIN)/python bench/lessons.py --wandb
	@$(BIN)/python bench/sweep_overhead.py
	@$(BIN)/python bench/data.py
	@$(BIN)/python bench/transforms.py
	@$(BIN)/python bench/mask_cost.py
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r bench/requirements.txt
	@$(BIN)/python bench/training_speed.py --block gptj
	@$(BIN)/python bench/training_speed.py --block llama

clean:
	rm -rf $(VENV)
