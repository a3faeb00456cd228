# Each target builds .venv first. Requires Python and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo docs test test-all check unit bench study clean

help:
	@echo "make demo      compare three objectives on real text (about 7 minutes on 2 cores)"
	@echo "make docs      write docs/reference from the code, and docs/ as a searchable site to site/"
	@echo "make test      check format, lint and types, and run the tests that are not slow"
	@echo "make test-all  the same with the slow tests: more kills, races and long simulations"
	@echo "make check     check format, lint and types"
	@echo "make unit      run the tests that are not slow"
	@echo "make bench     run all benchmarks of bench/ (about an hour)"
	@echo "make study     train what is missing of the five lessons (docs/lessons.md), in any number of sessions"
	@echo "make clean     remove $(VENV)"

# constraints.txt pins all versions; pyproject.toml has the supported ranges.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "ablate needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 demo")'
	@echo "Building $(VENV) (a few minutes, once) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dev]'
	@touch $@

demo: $(VENV)/installed
# Three seeds and no looks: the default of 4 to 12 seeds takes 12 to 36 trials of nearly a minute each on one core.
	@$(BIN)/python -m ablate -m objective=causal,prefix,mixed replicates=3
	@echo
	@echo "Next:"
	@echo "  . .venv/bin/activate"
	@echo "  python -m ablate -m objective=causal,prefix,mixed replicates=3     # prints the lesson again, without training"
	@echo "  python -m ablate --help"

docs: $(VENV)/installed
	@$(BIN)/python docs/reference.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "Open site/index.html"

# Both at once: tests that wait leave the types a core.
test: $(VENV)/installed
	@$(MAKE) --no-print-directory --jobs=2 check unit

test-all: check
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

check: $(VENV)/installed
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

unit: $(VENV)/installed
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not slow"

bench: $(VENV)/installed
	@$(BIN)/python bench/harness_overhead.py
	@$(BIN)/python bench/checkpoint_cost.py
	@$(BIN)/python bench/large_grid.py
	@$(BIN)/python bench/calibration.py
	@$(BIN)/python bench/calibration.py --power
	@$(BIN)/python bench/documents.py
	@$(BIN)/python bench/lessons.py --wandb
	@$(BIN)/python bench/tuning_overhead.py
	@$(BIN)/python bench/data.py
	@$(BIN)/python bench/transforms.py
	@$(BIN)/python bench/mask_cost.py
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r bench/requirements.txt
	@$(BIN)/python bench/training_speed.py --block gptj
	@$(BIN)/python bench/training_speed.py --block llama

study: $(VENV)/installed
	@$(BIN)/python analysis/study.py

clean:
	rm -rf $(VENV)
