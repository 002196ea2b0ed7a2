# Every target sets up what it needs from a fresh clone. `make` lists them.
PYTHON ?= python3
VENV ?= .venv
VENV5 ?= .venv-transformers5
EXTRAS ?= dev,openai,onnx,gguf,serve,tracking
# llama-cpp-python is built from source: without its image parts that takes a quarter less.
export CMAKE_ARGS ?= -DLLAVA_BUILD=OFF
BIN := $(VENV)/bin
WHEEL_CHECK := build/wheel-check
WEB := export/runners/web
ARM_PACKAGES := build/arm-packages
ARM_QUANT_onnx := f32 int8 q8 q4
ARM_QUANT_gguf := f32 Q8_0 Q4_K_M
# Two threads of each of two test workers would fight over the cores.
TEST := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false

.PHONY: help install demo compare test test-transformers5 lint format types docs docs-check bench web arm wheel wheel-check clean

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 22

install: $(VENV)/.installed  ## create .venv with the tested versions

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

demo: install  ## distil the quickstart recipe, export the student, evaluate its packages, write a report, ask a question
	$(eval BEGUN := $(shell date +%s))
	$(BIN)/kpodx distill recipes/quickstart.toml
	test -d runs/quickstart/export/onnx || $(BIN)/kpodx export runs/quickstart --format onnx --quant int8 --quant q8
	test -d runs/quickstart/export/gguf || ! $(BIN)/python -c "import llama_cpp" \
	  || $(BIN)/kpodx export runs/quickstart --format gguf --quant Q8_0 --quant Q4_K_M
	# 3 says that accuracy is lost, which the demo shows, too.
	for package in runs/quickstart/export/*; do $(BIN)/kpodx evaluate $$package || test $$? -eq 3; done
	$(BIN)/kpodx report runs/quickstart
	$(BIN)/kpodx ask --package runs/quickstart/export/onnx "Anna has 14 cards. After a week Anna has twice as much. Anna finds 5 cards in a box. How many cards does Anna have now?"
	@echo "the demo took $$(( $$(date +%s) - $(BEGUN) )) seconds, installation not counted"

compare: install  ## train answer-only, std-cot and kpod with five seeds each, and compare them
	$(BIN)/kpodx study methods --jobs 2 --folder runs/compare

test: install  ## run all tests
	$(TEST) $(BIN)/python -m pytest -n 2 -q

$(VENV5)/.installed: pyproject.toml constraints-transformers5.txt
	test -x $(VENV5)/bin/python || $(PYTHON) -m venv $(VENV5)
	$(VENV5)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-transformers5.txt -e '.[dev,openai,tracking]'
	touch $@

test-transformers5: $(VENV5)/.installed  ## run all tests with transformers 5
	$(TEST) $(VENV5)/bin/python -m pytest -n 2 -q

lint: install  ## check form and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: install  ## put code into form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: install  ## check types, strictly
	$(BIN)/mypy

docs: install  ## write docs/cli.md and docs/settings.md from the code
	$(BIN)/python docs/generate_cli.py
	$(BIN)/python docs/generate_settings.py

docs-check: install  ## fail if one of them is out of date
	$(BIN)/python docs/generate_cli.py --check
	$(BIN)/python docs/generate_settings.py --check

bench: install  ## measure speed against simple rivals, side by side (the last two need real data beside the checkout)
	$(TEST) $(BIN)/python benchmarks/schedule.py
	$(TEST) $(BIN)/python benchmarks/teacher_throughput.py
	$(TEST) $(BIN)/python benchmarks/training_throughput.py
	$(TEST) $(BIN)/python benchmarks/difficulty_throughput.py

web:  ## build the page that runs a package in the browser into export/runners/web/dist (needs Node 18.17 or newer)
	npm ci --prefix $(WEB) --ignore-scripts --no-audit --no-fund
	npm run build --prefix $(WEB)

$(ARM_PACKAGES)/%: | install
	$(BIN)/kpodx distill recipes/quickstart.toml
	$(BIN)/kpodx export runs/quickstart --format $* $(addprefix --quant ,$(ARM_QUANT_$*)) --output $@

arm: $(ARM_PACKAGES)/onnx $(ARM_PACKAGES)/gguf  ## compare the quickstart student's answers on 64-bit Arm with those here, under qemu-user
	$(BIN)/python benchmarks/arm.py $^ --run runs/quickstart

wheel: install  ## build the wheel into dist/
	rm -rf dist
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

wheel-check: wheel  ## install the wheel alone, beside the tested versions, and use it outside the checkout
	rm -rf $(WHEEL_CHECK)
	$(BIN)/python -m venv --without-pip $(WHEEL_CHECK)
	$(BIN)/python -m pip --python $(WHEEL_CHECK)/bin/python install --quiet --disable-pip-version-check --no-deps dist/*.whl
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
	  > $$($(WHEEL_CHECK)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/dependencies.pth
	cd / && $(CURDIR)/$(WHEEL_CHECK)/bin/kpodx recipes ls
	cd / && $(CURDIR)/$(WHEEL_CHECK)/bin/kpodx validate quickstart

clean:  ## remove what was built; runs and environments stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -type d -exec rm -rf {} +
