# `make demo` and `make test` need Python >= 3.11 and make, nothing else: each prepares .venv by itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The interpreter of the virtual environment, once its packages match these files.
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev

# Kinds of drawings that `make demo` draws.
KINDS := details open_lines border cut_gaps bitten_gaps large_gaps dashed wobbly pencil photo

.DEFAULT_GOAL := help
.PHONY: help demo gallery test test-all coverage check docs bench format clean

help:
	@echo "make demo      draw sketches, color them with the shipped model, name the pictures (no torch)"
	@echo "make gallery   draw the pictures of the demo page's gallery again"
	@echo "make test      the test suite, without the slow tests"
	@echo "make test-all  the whole test suite"
	@echo "make coverage  the whole test suite, and which branches it runs; slower"
	@echo "make check     formatting, lint, spelling, types"
	@echo "make docs      the API reference, as HTML in build/docs"
	@echo "make bench     time the shipped model on this machine"

$(RUNTIME): pyproject.toml constraints.txt hatch_build.py polyexport/demo/runtime.json
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "polyexport needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[drawings]'
	@touch $@

$(DEV): $(RUNTIME)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@# Triton's schema, for the test of the configuration. It asks for an older protobuf than onnx does, and works with both.
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt tritonclient
	@# torchvision on PyPI is built for CUDA; beside a torch for the CPU importing it fails, in every package that does.
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt spandrel
	@touch $@

demo: $(RUNTIME)
	$(BIN)/polyexport dataset demo/drawings --count 2 --size 256 --seed 7 --overwrite $(KINDS:%=--split %)
	$(BIN)/polyexport infer 'demo/drawings/*/inputs/*.png' --color tomato --color "#1e90ff" -o demo/colored --overwrite
	@echo "open the pictures: $$(find demo/colored -name '*.png' | sort | head -n 3 | tr '\n' ' ')..."

gallery: $(DEV)
	$(BIN)/python docs/gallery.py

test: $(DEV)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-all: $(DEV)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

coverage: $(DEV)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered

check: $(DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/mypy

docs: $(DEV)
	$(BIN)/python -W error docs/api.py build/docs
	@echo "open build/docs/index.html"

bench: $(RUNTIME)
	$(BIN)/polyexport bench

format: $(DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) demo build dist
