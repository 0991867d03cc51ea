# vmtb. "make demo" runs one flow in the lab, "make test" runs all tests. Both install the packages
# that they need.
SHELL := /bin/sh
.DEFAULT_GOAL := build
.PHONY: build fleet fleet-test fleet-lint fleet-chaos fleet-external fleet-slurm fleet-lava setup demo test speed fmt \
	lint unit integration lab-test kernel-matrix igt-table bench-suite lab-full gpu-test gpu-test-plain gpu-test-sanitized gpu-fuzz \
	fuzz bench bench-scale dist deb install pictures clean

VERSION := $(shell git describe --always --dirty --tags 2>/dev/null || echo unknown)
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vmtb
LINT_VERSION := v2.15.0
LINT := $(CACHE)/tools/golangci-lint-$(LINT_VERSION)
# Without atexit_sleep_ms=0, a program with the race detector sleeps for a second at its end. Tests
# start hundreds of such programs.
export GORACE := atexit_sleep_ms=0

# One static binary: no cgo, no paths of the build machine.
build:
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X vmtb.version=$(VERSION)' -o bin/vmtb ./cmd/vmtb
	@./dist.sh size bin/vmtb

# vmtb-fleet is a module of its own, so that vmtb's go.mod does not require NATS. FLEET_LARGEST is
# its greatest size in bytes.
FLEET_LARGEST := 19000000

fleet:
	cd fleet && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o ../bin/vmtb-fleet .
	@test $$(wc -c <bin/vmtb-fleet) -lt $(FLEET_LARGEST) || { wc -c bin/vmtb-fleet; echo "it must have less than $(FLEET_LARGEST) bytes" >&2; exit 1; }

# The fleet's tests are not in "make test", because they need 136 s of processor time. They move
# there when they take less than a minute.
fleet-test: fleet
	cd fleet && go vet ./... && go test -count=1 -parallel 6 -timeout 10m ./...

fleet-lint: $(LINT)
	cd fleet && $(LINT) run --allow-parallel-runners ./...

# Random kills with twenty seeds; fleet-test runs three seeds.
fleet-chaos:
	cd fleet && FLEET_CHAOS=20 go test -count=1 -timeout 30m -v -run TestChaos .

# Kills, and long absences of DUTs and server, with a nats-server 2.10 instead of "vmtb-fleet serve".
fleet-external:
	GOBIN=$(CACHE)/tools GOFLAGS= go install github.com/nats-io/nats-server/v2@v2.10.27
	cd fleet && FLEET_NATS_SERVER=$(CACHE)/tools/nats-server go test -count=1 -timeout 20m -v -run 'TestChaos|TestAway|TestServerAway' .

# The recipe for Slurm with Debian's packages, in namespaces. It needs root and downloads 4 MB once.
fleet-slurm:
	cd fleet && go test -count=1 -timeout 10m -tags slurm -v -run TestSlurm .

# The recipe for LAVA with Debian's packages, in namespaces. It needs root and 2 GB of memory, and
# downloads 87 MB once.
fleet-lava:
	cd fleet && go test -count=1 -timeout 60m -tags lava -v -run TestLAVA .

# Packages for a machine under test. ARCH is amd64 or arm64.
ARCH ?= $(shell go env GOARCH)
PREFIX ?= /usr/local

dist:
	@./dist.sh tar $(ARCH)

deb:
	@./dist.sh deb $(ARCH)

# Installs vmtb in the directory in which IGT's build installs the Python tool, and command,
# completions and man pages below PREFIX/bin and PREFIX/share.
install:
	./dist.sh install "$(DESTDIR)" "$(PREFIX)" $(ARCH)

setup:
	@./setup.sh

demo: setup build
	bin/vmtb lab run --warm -v test_basic::TestVmSetup

test: setup speed fmt lint fleet-lint unit integration gpu-test lab-test

# Measures how fast guests boot on this machine. The boot time decides how long the tests take, and
# the lab's deadlines are computed from it. If a guest boots in 17 s, the integration tests take 7
# minutes, the lab's tests 18, and all other steps 3. With MINUTES=N, the tests do not start if they
# would take more than N minutes: CI would stop them in the middle.
speed: build
	@measured=$$(bin/vmtb lab speed --json) && echo "$$measured" | tr -d '[:space:]' | \
		sed 's/.*"guests":1,"seconds":\([0-9.]*\).*/\1\n/' | \
		awk -v most="$(MINUTES)" '$$1 + 0 <= 0 { print "make speed: no seconds in what vmtb lab speed says: " $$0; exit 1 } \
			{ need = 3 + 25 * $$1 / 17; \
			printf "a guest boots in %.0f s in the lab here: make test will take about %.0f minutes\n", $$1, need; \
			if (most && need > most) { printf "make test: it has %d minutes: this machine is too slow, or has too much else to do\n", most; exit 1 } }'

fmt: $(LINT)
	@diff=$$($(LINT) fmt --diff) && [ -z "$$diff" ] || { echo "$$diff" >&2; echo "run '$(LINT) fmt'" >&2; exit 1; }

lint: $(LINT)
	go vet -tags 'integration lab' ./...
	$(LINT) run --allow-parallel-runners --build-tags 'integration,lab' ./...

# golangci-lint has no Debian package. It is built once, from the Go module proxy, outside of vmtb's
# go.mod.
$(LINT):
	@echo "building golangci-lint $(LINT_VERSION) (once, about two minutes)"
	@mkdir -p $(CACHE)/tools/tmp
	@GOFLAGS= GOBIN=$(CACHE)/tools/tmp go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	@mv $(CACHE)/tools/tmp/golangci-lint $@

unit:
	go test -race ./...
	cd examples/private-flows && go vet ./... && go test ./...

# The integration tests, with the real QEMU and the real qemu-ga.
integration: build
	env $$(bin/vmtb lab build --env) go test -race -count=1 -p 2 -timeout 40m -tags integration -run TestIntegration ./bench/... ./internal/cli

# The lab's tests, in the emulated DUT. Some wait for the GPU's time, so three of them use two CPUs.
lab-test: build
	VMTB=$(CURDIR)/bin/vmtb go test -count=1 -timeout 75m -parallel 3 -v -tags lab ./lab

# Compares TestVmSetup in the Python tool (PEER=DIRECTORY, unchanged), in vmtb, and in vmtb --warm,
# in turns, ROUNDS times. Measures machines with a VF, cold and warm, too. The table is printed and
# stored in vmtb-results.
bench-suite: build
	VMTB=$(CURDIR)/bin/vmtb VMTB_PEER="$(abspath $(PEER))" VMTB_BENCH_ROUNDS=$(or $(ROUNDS),3) \
		VMTB_BENCH_DIR=$(CURDIR)/vmtb-results/bench-suite-$$(date +%Y%m%d-%H%M%S) \
		go test -count=1 -timeout 5h -v -tags lab -run TestBenchSuite ./lab

# The table of docs/kernels.md: which PF works with which VF, of the kernels of Debian's archive; or that of other kernels and flows.
kernel-matrix: build
	bin/vmtb lab matrix --kernel=$(or $(KERNELS),6.18,7.2,7.3) --guest-kernel=$(or $(GUEST_KERNELS),7.2,7.3) \
		'$(or $(SELECTION),test_basic::TestVmSetup::test_vm_boot[1VF])'

# docs/igt.md: which of IGT's subtests pass on the emulated GPU. PLACES, TESTS (an expression for
# names of programs), TIMEOUT (seconds of the DUT for one subtest) and AGAIN=1 (those that did not
# pass) choose what runs. It can be interrupted, and goes on where it was.
IGT_DIR := $(CURDIR)/vmtb-results/igt-table

igt-table: build
	mkdir -p $(IGT_DIR)
	for f in docs/igt/*-*.txt; do [ ! -e $$f ] || [ -e $(IGT_DIR)/$${f##*/} ] || cp $$f $(IGT_DIR)/; done
	VMTB=$(CURDIR)/bin/vmtb VMTB_IGT_DIR=$(IGT_DIR) VMTB_IGT_PLACES='$(or $(PLACES),ptl-pf ptl-vf bmg-pf bmg-vf)' \
		VMTB_IGT_TESTS='$(TESTS)' VMTB_IGT_TIMEOUT=$(or $(TIMEOUT),120) VMTB_IGT_AGAIN=$(AGAIN) \
		go test -count=1 -timeout 0 -v -tags lab -run TestIGTTable ./lab
	cp $(IGT_DIR)/*.txt docs/igt/
	go test ./docs -update

# lab-test, and tests that take too long for every day.
lab-full: build fleet
	VMTB=$(CURDIR)/bin/vmtb VMTB_FLEET=$(CURDIR)/bin/vmtb-fleet VMTB_LAB_FULL=1 go test -count=1 -timeout 5h -parallel 2 -v -tags lab ./lab
	cd fleet && VMTB=$(CURDIR)/bin/vmtb VMTB_LAB_FULL=1 go test -count=1 -timeout 1h -v -tags lab -run TestPowerLoss .

# Tests of the emulated GPU without a guest, plain and with sanitizers. Both run the seeds of the
# fuzzers, at once, because each of them needs one CPU. QEMU and the compiled device come from the
# lab's cached stages.
GPU_ENV = env $$(bin/vmtb lab build --gpu-test) ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1
GPU_TEST = go test -count=1 -timeout 10m -tags integration
GPU_FUZZ = $(GPU_ENV) sh -c 'VMTB_GPU_OBJECT=$$VMTB_GPU_SANITIZED exec \
	$(GPU_TEST) -run "^$$" -fuzz "$$0" -parallel 1 -fuzztime "$$1" ./lab/gpu/qtest'

gpu-test: build
	@$(MAKE) --no-print-directory --output-sync=target -j2 gpu-test-plain gpu-test-sanitized

gpu-test-plain:
	$(GPU_ENV) $(GPU_TEST) -bench Read ./lab/gpu/qtest

gpu-test-sanitized:
	$(GPU_ENV) sh -c 'VMTB_GPU_OBJECT=$$VMTB_GPU_SANITIZED exec $(GPU_TEST) ./lab/gpu/qtest'

FUZZTIME ?= 60s

gpu-fuzz: build
	$(GPU_FUZZ) FuzzDevice $(FUZZTIME)
	$(GPU_FUZZ) FuzzStream $(FUZZTIME)

# A minute for each fuzz target.
fuzz:
	@for p in $$(go list ./...); do \
		for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime 60s $$p || exit 1; \
		done; \
	done

bench: build
	env $$(bin/vmtb lab build --env) go test -run '^$$' -bench . -tags integration ./bench/...

# Measures the times that grow with machines, cases and logs, and the start of vmtb. Run it on a
# machine without other load. docs/run-directory.md has figures.
bench-scale: build
	VMTB=$(CURDIR)/bin/vmtb go test -p 1 -run '^$$' -bench 'Scale|Start|Clean' -benchtime 1x -timeout 1h ./report ./report/run
	go test -p 1 -run '^$$' -bench . -benchtime 1x -timeout 1h ./flow ./bench/vm

# The pictures of README.md, from a stored run. Chromium is needed: set CHROMIUM=/path/to/chromium
# if it is not in PATH.
pictures: build
	CHROMIUM="$(CHROMIUM)" docs/pictures/make.sh bin/vmtb

clean:
	rm -rf bin
