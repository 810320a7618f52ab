# uad: `make demo` and `make test` work on a fresh machine with Python 3.11 and nothing else.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
PADDLE_GPU_INDEX ?= https://www.paddlepaddle.org.cn/packages/stable/cu126/
# The GPU build where an NVIDIA driver answers, the CPU build elsewhere; never both.
DEVICE ?= $(shell nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
PIP    := $(BIN)/python -m pip --disable-pip-version-check
ifeq ($(DEVICE),gpu)
PIP_INDEX := --extra-index-url $(PADDLE_GPU_INDEX)
endif

# What other programs call; the rest may change without notice.
API := uad uad.pipeline uad.client uad.config uad.errors uad.data uad.bundle uad.training \
       uad.inference.detector uad.scoring.conformal uad.evaluation uad.registry

.PHONY: install demo test test-all test-slow lint docs bench interop soak clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.installed ## make .venv and install uad with everything it needs

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): some minutes, about 6 GB"
	$(PIP) install -q --upgrade pip
	$(PIP) install --progress-bar on $(PIP_INDEX) -c constraints.txt -e ".[$(DEVICE),dev]"
	@touch $@

demo: install ## the whole job on images it makes: train, promote, serve, one answer, pictures
	$(BIN)/uad demo

test: install lint ## lint, types, import direction, the default tests, and what share of the code they run
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=

test-all: ## make test with each Python from 3.11 to 3.13 that is installed
	@for version in 3.11 3.12 3.13; do \
	  if python$$version -c "" 2>/dev/null; then \
	    echo "== Python $$version"; \
	    $(MAKE) test PYTHON=python$$version VENV=.venv-$$version || exit 1; \
	  else echo "== Python $$version is not installed: not tested"; fi; \
	done

test-slow: install ## the tests that take minutes or need real images
	$(BIN)/python -m pytest -q -m slow

lint: install ## ruff, mypy strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install ## the reference of the Python functions, from their docstrings: docs/api/index.html
	$(BIN)/python -m pdoc --docformat google --output-directory docs/api $(API)

bench: install ## inference engines and detection quality, as tables
	$(BIN)/uad bench inference

interop: install ## clients in seven languages and the edge program, against the real server
	$(BIN)/python -m pytest -q -m interop

soak: install ## the server under faults for minutes
	$(BIN)/python -m pytest -q -m slow tests/serving

clean: ## remove what the targets made (not .uad, which holds your models)
	rm -rf $(VENV) .venv-3.* docs/api .coverage .pytest_cache .mypy_cache .ruff_cache
