# SPDX-License-Identifier: BSD-3-Clause
# The doors of the house. Each is a few visible calls; the work is done by meson, ninja and pytest.

BUILD ?= build
PYTHON = /usr/bin/python3
MESON = meson

.PHONY: all demo demo-vfio test check e2e sanitize big-endian fuzz lint docs bench clean install-build install-test install-s390x install-fuzz

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	$(MESON) setup $(BUILD)

install-build:
	devtools/install-packages build

install-test:
	devtools/install-packages build test

install-s390x:
	devtools/install-packages s390x

install-fuzz:
	devtools/install-packages fuzz

# The main job: a guest kicks an accelerator directly and is interrupted by it directly.
demo: install-build install-test
	@$(MAKE) --no-print-directory all
	$(PYTHON) usertools/ringpass-demo --build-dir $(BUILD)

# The same on kernel VFIO: in an emulated machine with an IOMMU, where QEMU's virtio-net-pci is the hardware.
demo-vfio: install-build install-test
	@$(MAKE) --no-print-directory all
	$(PYTHON) usertools/ringpass-demo-vfio --build-dir $(BUILD)

# The whole suite: units, in-process, sanitizers, real VMs. Ends with its one-line summary.
test: install-build install-test install-s390x install-fuzz
	devtools/run-tests --build-dir $(BUILD)

# Unit and in-process suites, seconds.
check: install-build
	@$(MAKE) --no-print-directory all
	$(MESON) test -C $(BUILD) --print-errorlogs

# Real VMs only.
e2e: install-test
	@$(MAKE) --no-print-directory all
	devtools/run-tests --build-dir $(BUILD) --only e2e

# The unit and in-process suites under address, undefined and thread sanitizers.
sanitize: install-test
	devtools/run-sanitizers --build-dir $(BUILD)

# The libraries that need no DPDK, built for s390x; their tests and vectors of bytes under emulation.
big-endian: install-build install-test install-s390x
	devtools/run-tests --build-dir $(BUILD) --only big-endian

# Each libFuzzer target for RUNS inputs, or TARGET alone.
fuzz: install-build install-fuzz
	devtools/run-fuzz --build-dir $(BUILD) $(if $(RUNS),--runs $(RUNS)) $(if $(TARGET),--target $(TARGET))

lint:
	devtools/install-packages lint
	devtools/run-lint

docs:
	devtools/check-docs

# Side by side with a peer; BENCH=--quick for two minutes instead of fifteen, BENCH=doorbell for one scenario.
bench: install-build install-test
	@$(MAKE) --no-print-directory all
	$(PYTHON) usertools/ringpass-bench --build-dir $(BUILD) $(BENCH)

clean:
	rm -rf $(BUILD) $(BUILD)-address $(BUILD)-thread $(BUILD)-s390x $(BUILD)-fuzz
