# Everything a person or CI runs. Only python3, make and pip are assumed; `make help` lists it.

PYTHON ?= python3
PROVE  ?= 1
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
DEMO   := $(BIN)/understudy --home .understudy

.DEFAULT_GOAL := help
.PHONY: help demo lint test check prove bench bench-large docs format pins clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## photos become a film, by a durable run
	@$(DEMO) run morph examples/photos/*.jpg --set loop=true --set size=1280x720 -o film.mp4
	@echo
	@echo "The film is film.mp4; play it with any video player. What ran, step by step:"
	@echo
	@$(DEMO) runs show
	@echo
	@echo "Try next:"
	@echo "  source $(BIN)/activate"
	@echo "  understudy run morph YOUR/PHOTOS/*.jpg --set hold=1 -o yours.mp4   # stop it with Ctrl-C,"
	@echo "  understudy runs resume                                             # it goes on where it was"
	@echo "  understudy operations morph                                        # all that it can do"
	@echo "  docs/howto/write-an-operation.md                                   # your own, in one file"

lint: $(VENV)/.dev ## format, ruff, mypy strict, import contracts, docs in step
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

test: $(VENV)/.dev ## all tests, with branch coverage
	$(BIN)/python -m pytest --cov --cov-report=
	$(BIN)/coverage report --skip-covered --fail-under=90
	$(BIN)/coverage report --include='*/engine/*,*/db/*' --format=total --fail-under=95

check: lint test ## what must pass before a commit

prove: $(VENV)/.dev ## the long proofs; PROVE=0.1 runs a tenth of them
	$(BIN)/python -m pytest -m prove --prove=$(PROVE) -p no:randomly --durations=0 -rP

bench: $(VENV)/.bench ## measured beside named peers, in one run
	@missed=0; for script in film whole_film durable latency cpu serving; do \
	  $(BIN)/python bench/$$script.py || missed=1; echo; done; exit $$missed

bench-large: $(VENV)/.bench ## the engine beside a million runs that sleep or have ended
	@$(BIN)/python bench/large.py

docs: $(VENV)/.dev ## write docs/reference again from the code
	$(BIN)/python docs/generate.py

format: $(VENV)/.dev ## format, and fix what ruff can fix
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

pins: $(VENV)/.dev ## resolve requirements/*.txt again
	$(BIN)/python requirements/pin.py

clean: ## remove what these targets made, but no runs and no films
	rm -rf $(VENV) .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# Each layer of packages leaves a stamp, so that it is installed once and again when its pins change.
$(VENV)/.run: requirements/run.txt pyproject.toml | $(BIN)/pip
	@echo "Installing Understudy into $(VENV) (once) ..."
	@$(PIP) -r $<
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@echo "Installing what the checks need (once) ..."
	@$(PIP) -r $<
	@touch $@

$(VENV)/.bench: requirements/bench.txt $(VENV)/.dev
	@echo "Installing what the benchmarks compare with (once) ..."
	@$(PIP) -r $<
	@touch $@

# Debian ships python3 without ensurepip; the system's own pip can then fill the environment.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Understudy needs Python 3.11 or newer, and $(PYTHON) is `$(PYTHON) -V 2>&1`."; \
	  echo "Fix: install one and name it, for instance: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; } >&2
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 \
	  || { rm -rf $(VENV); $(PYTHON) -m venv --without-pip $(VENV) \
	       && $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; } \
	  || { rm -rf $(VENV); \
	       echo "$(PYTHON) can not make virtual environments."; \
	       echo "Fix: install its venv module, for instance: apt-get install python3-venv"; exit 1; } >&2
