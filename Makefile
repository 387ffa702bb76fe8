# make demo and make test need nothing but Python 3.11+ with venv, make and g++: each sets up .venv by itself.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# The demo: image squeeze connections on the embedded drawings, small enough for two cores and ten minutes. The settings
# were searched: bench/results/demo.md. --cfg=squeeze-small has them for any data.
DEMO := --cfg=squeeze --resolution=32 --cbase=1024 --cmax=128 --set generator.z_dim=128 --set generator.w_dim=128 \
        --set loss.kind=relativistic --gamma=0.5 --set r2.gamma=0.5 --set r1.interval=4 --glr=0.01 --dlr=0.01 \
        --batch=16 --aug=noaug --workers=1 --kimg=100 --tick=1 --snap=20 --metrics=fd_efflite1k --outdir=runs --desc=demo

.PHONY: setup setup-all demo test test-fast test-export lint format report cuda-check bench clean

setup: $(VENV)/.done

$(VENV)/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[metrics,log,tiff,video,dev]'
	touch $@

# Adds the packages that only some tests need: exports, servers, nvcc, a browser, notebooks and W&B.
setup-all: setup $(VENV)/.done-all

$(VENV)/.done-all: pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable \
		'.[metrics,log,tiff,video,dev,serve,export,hub,cuda,browser,dev-notebooks,dev-loggers]'
	touch $@

demo: setup
	$(BIN)/python train.py $(DEMO)

# A file's tests stay in one process, so that what they share is made once.
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

test: setup
	$(PYTEST)

# Without the tests that are marked `slow`: three minutes on two cores.
test-fast: setup
	$(PYTEST) -m 'not slow'

# Every --cfg as ONNX files, at narrow widths: some minutes. `make test` has one per class of generators.
test-export: setup-all
	GANFOUNDRY_EXPORT=all $(PYTEST) -s tests/ganfoundry/export/test_every_export.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# How close the sources are to the aims of STYLE.md: sizes, prose, names, mirrored tests. For a reader; nothing fails.
report: setup
	$(BIN)/python -m tests.support.report

bench: setup
	$(BIN)/python bench/ops.py
	$(BIN)/python bench/epilogue.py
	$(BIN)/python bench/involution.py
	$(BIN)/python bench/folded.py
	$(BIN)/python bench/rewrites.py
	$(BIN)/python bench/train_step.py
	$(BIN)/python bench/count_step.py --table
	$(BIN)/python bench/native_step.py
	$(BIN)/python bench/detector.py

# Compiles every CUDA source for every architecture where nvcc is there; no GPU needed. The nvcc of `make setup-all` is
# found by the Python of .venv.
cuda-check:
	@$(or $(wildcard $(BIN)/python),$(PYTHON)) -m torch_utils.ops.toolchain.cuda_check

clean:
	rm -rf $(VENV) build *.egg-info
