# Everything a person does with this repository. `make help` lists it.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
STAMPS := $(VENV)/.stamps
APT := gcc-arm-none-eabi libnewlib-arm-none-eabi libstdc++-arm-none-eabi-newlib qemu-system-arm \
  gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-arm-linux-gnueabihf libc6-dev-armhf-cross \
  qemu-user-static
APT_PROGRAMS := arm-none-eabi-g++ qemu-system-arm aarch64-linux-gnu-gcc arm-linux-gnueabihf-gcc \
  qemu-aarch64-static qemu-arm-static
# For the stand-ins of a phone and a Raspberry Pi in tests/devices.
APT_STAND_INS := adb openssh-client clang patchelf dpkg-dev libcap-dev android-libbase-dev \
  android-libcutils-dev android-liblog-dev android-libboringssl-dev libstdc++6-arm64-cross

# onnx2tf pins its packages, and asks for Python 3.12, but runs on 3.11.
ONNX2TF := $(abspath $(VENV))/onnx2tf

.PHONY: help demo test test-devices test-sources test-slow check format types wheel bench-convert bench-instructions bench-cortex-m sizes clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

demo: $(STAMPS)/demo ## train the digits example, build, evaluate and measure it
	cd examples/digits && PATH="$(BIN):$$PATH" ./demo.sh

test: $(STAMPS)/dev $(STAMPS)/devices ## the tests, with all they need
	$(BIN)/pytest -n 2 -m "not slow and not devices and not sources"

test-devices: $(STAMPS)/dev $(STAMPS)/devices $(STAMPS)/stand-ins ## tests on a phone's and a Raspberry Pi's stand-ins
	$(BIN)/pytest -n 2 -m devices

test-sources: $(STAMPS)/dev $(STAMPS)/devices $(STAMPS)/sources ## tests on ONNX and PyTorch files
	EDGEQ_ONNX2TF=$(ONNX2TF)/bin/onnx2tf $(BIN)/pytest -n 2 -m sources

test-slow: $(STAMPS)/dev $(STAMPS)/devices $(STAMPS)/stand-ins $(STAMPS)/browser $(STAMPS)/sources ## every test; pictures of the report to build/screenshots
	EDGEQ_SCREENSHOTS=$(CURDIR)/build/screenshots EDGEQ_ONNX2TF=$(ONNX2TF)/bin/onnx2tf $(BIN)/pytest -n 2

check: $(STAMPS)/dev ## every linter
	PATH="$(BIN):$$PATH" pre-commit run --all-files --show-diff-on-failure

format: $(STAMPS)/dev ## format Python and C
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	git ls-files 'runtime/*.c' 'runtime/*.h' 'runtime/*.cc' | xargs -r $(BIN)/clang-format -i

wheel: $(STAMPS)/dev ## build the wheel and try it in an empty environment
	PYTHON=$(PYTHON) BIN=$(BIN) .ci/wheel

bench-convert: $(STAMPS)/dev ## conversion time beside tf.lite and litert-quantizer
	$(BIN)/python benchmarks/convert.py

matrix: $(STAMPS)/dev ## 61 networks converted and proved, as docs/matrix.md
	PYTHONPATH=tests $(BIN)/python -m matrix

sizes: $(STAMPS)/dev $(STAMPS)/devices ## flash, arena, stack of networks (MODELS="a.tflite b.tflite"), and of each kernel as a CSV
	$(BIN)/python benchmarks/sizes.py $(MODELS)
	$(BIN)/python benchmarks/kernel_sizes.py

bench-instructions: $(STAMPS)/dev $(STAMPS)/devices ## instructions per inference on emulated cores; MODELS, BESIDE=counts.json
	$(BIN)/python benchmarks/instructions.py $(if $(BESIDE),--beside $(BESIDE)) $(MODELS)

bench-cortex-m: $(STAMPS)/dev $(STAMPS)/devices ## instructions, flash, RAM of six cores beside TensorFlow Lite Micro's; MODELS=folder
	$(BIN)/python benchmarks/cortex_m.py $(if $(MODELS),--models $(MODELS))

clean: ## remove what make made
	rm -rf $(VENV) build dist examples/*/build

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(STAMPS)/demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[tensorflow,tflm]' scikit-learn
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[tensorflow,tflm,dev]'
	@mkdir -p $(STAMPS) && touch $@

# Compilers and emulators for microcontrollers, Raspberry Pis and phones, and Kotlin's compiler where
# the system has one, by apt where one is missing; tests that need them say so.
$(STAMPS)/devices: | $(VENV)/bin/python
	(for program in $(APT_PROGRAMS); do command -v $$program || exit 1; done) >/dev/null || \
	  { apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(APT); }
	-command -v kotlinc >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends kotlin
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/stand-ins: | $(STAMPS)/devices
	dpkg -s $(APT_STAND_INS) >/dev/null 2>&1 || { apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(APT_STAND_INS); }
	@mkdir -p $(STAMPS) && touch $@

# The report in a browser: Debian's Chromium, driven by Playwright, with axe-core in the page.
$(STAMPS)/browser: | $(STAMPS)/dev
	command -v chromium >/dev/null || { apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; }
	$(BIN)/pip install --quiet --disable-pip-version-check playwright
	-npm install --silent --no-fund --no-audit --prefix $(VENV)/axe axe-core@4
	@mkdir -p $(STAMPS) && touch $@

# This PyTorch has no CUDA, which plain "torch" would bring in gigabytes.
$(STAMPS)/sources: $(STAMPS)/dev
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[tensorflow,tflm,onnx,torch]'
	$(PYTHON) -m venv $(ONNX2TF)
	$(ONNX2TF)/bin/pip install --quiet --disable-pip-version-check --ignore-requires-python onnx2tf==2.6.9
	@mkdir -p $(STAMPS) && touch $@
