# make help lists the targets.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c

# Without this tag gocv does not compile against Debian 12's OpenCV 4.6.
TAGS := gocv_specific_modules
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
ARGS ?=
HOSTS ?= trixie
IMAGE ?= cvfeeder

GOLANGCI_VERSION := v2.15.0
GOLANGCI := .cache/bin/golangci-lint-$(GOLANGCI_VERSION)
KUSTOMIZE_VERSION := v5.8.0
NATS_CLI_VERSION := v0.2.4
NATS_CLI := .cache/nats-$(NATS_CLI_VERSION)
KUSTOMIZE := .cache/bin/kustomize-$(KUSTOMIZE_VERSION)
HELM_VERSION := v4.3.2
HELM := .cache/bin/helm-$(HELM_VERSION)
# A Kubernetes of its own, without a container: see .ci/kubernetes.
KUBERNETES := .cache/kubernetes-$(shell .ci/kubernetes.sh version)
REQUIREMENTS := clients/python/requirements-test.txt
VENV := .cache/venv
TYPESCRIPT := clients/typescript
NODE := .cache/typescript
# Where Node is missing, or too old, the TypeScript client is neither tested nor checked.
NODE_MODULES := $(if $(shell node -e 'process.exit(+(parseInt(process.versions.node) < 20))' 2>/dev/null && npm --version 2>/dev/null),$(NODE)/node_modules)
PYTHONS := 3.12 3.13 3.14
BASELINE := internal/bench/baseline/requirements.txt
BENCH_VENV := .cache/bench-venv
TESTDATA := transform/opencv/testdata
PINNED := $(REQUIREMENTS) $(BASELINE) $(TESTDATA)/requirements.txt $(TESTDATA)/requirements-fidelity.txt examples/requirements.txt examples/fake/requirements.txt .ci/requirements-site.txt
REFERENCES := .cache/fidelity
SITE_VENV := .cache/site-venv
SITE ?= .cache/site
EXAMPLES ?= .cache/examples
# The AWS CLI and the AWS SDK for JavaScript, with which the fake service is tested.
FAKE := examples/fake
FAKE_CLIENTS := .cache/fake-clients

# Grafana's component library, with which dashboards-look draws.
LOOK := internal/monitoring/look/page
DASHBOARDS := .cache/dashboards

# Wheels only, and each must be one of those that the requirements name by hash, so that
# nothing else is installed, and no setup.py runs.
PIP_INSTALL := bin/pip install -q --disable-pip-version-check --require-hashes --only-binary :all:
UV_COMPILE := $(VENV)/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --only-binary :all: --no-header --no-annotate

# OpenCV with only the modules that are needed, if "make opencv" has built it; Debian's
# otherwise.
OPENCV ?= .cache/opencv
ifneq ($(wildcard $(OPENCV)/lib/pkgconfig/opencv4.pc),)
export PKG_CONFIG_PATH := $(abspath $(OPENCV))/lib/pkgconfig:$(PKG_CONFIG_PATH)
# Go's build cache knows these flags, but not what pkg-config says.
export CGO_LDFLAGS := -O2 -g -L$(abspath $(OPENCV))/lib
endif

.DEFAULT_GOAL := help
.PHONY: help deps deps-test deps-lint deps-opencv build demo example examples check test test-asan chaos matrix redteam simulate dashboards-look soak soak-hour fidelity pythons rust lint vuln fmt docs site requirements bench opencv image image-test release clean chart k8s-test deps-arm64 deps-hosts count test-arm64 test-hosts scaling drill drills

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## install the missing Debian packages that building needs
	@.ci/deps.sh build

deps-test:
	@.ci/deps.sh test

deps-lint:
	@.ci/deps.sh lint

deps-opencv:
	@.ci/deps.sh opencv

deps-arm64:
	@.ci/deps.sh arm64

deps-hosts:
	@.ci/deps.sh hosts

build: deps ## build bin/cvfeeder
	go build -tags $(TAGS) -ldflags "-X github.com/cvfeeder/cvfeeder/internal/feeder.linked=$(VERSION)" -o bin/cvfeeder ./cmd/cvfeeder

demo: build ## run everything in one process; make demo ARGS="--for 60s --streams 4"
	@bin/cvfeeder demo $(ARGS)

NAME ?= detect

example: build $(EXAMPLES)/.done ## run an example against the demo; make example NAME=detect|alert|search|notebook|triton
	@CVFEEDER_EXAMPLES="$(abspath $(EXAMPLES))" examples/run.sh $(NAME) $(ARGS)

examples: build $(EXAMPLES)/.done ## test that all examples run; half a minute
	CVFEEDER_EXAMPLES="$(abspath $(EXAMPLES))" go test -count=1 -timeout 10m -tags $(TAGS) ./examples/...

# The Python packages, and two videos: a photograph that moves up and down, from
# scikit-image, and people in a street, from Debian's package of OpenCV's samples.
$(EXAMPLES)/.done: examples/requirements.txt examples/requirements-nodeps.txt | deps-test
	rm -rf $(@D)
	python3 -m venv $(@D)/venv
	$(@D)/venv/$(PIP_INSTALL) -r examples/requirements.txt
	$(@D)/venv/$(PIP_INSTALL) --no-deps -r examples/requirements-nodeps.txt
	.ci/footage.sh $(@D)
	touch $@

# Most tests wait rather than compute, so more of them run at a time than there are cores.
check: deps $(GOLANGCI) ## vet, lint what changed, run all tests but the long ones, without the race detector; 2 min if all of them run again
	go vet -tags $(TAGS) ./...
	.ci/lint-changed.sh $(GOLANGCI)
	go test -short -p 4 -parallel 8 -timeout 5m -tags $(TAGS) ./...

test: deps-test $(VENV)/.done $(BENCH_VENV)/.done $(FAKE_CLIENTS)/.done $(if $(NODE_MODULES),$(NODE)/.done) $(KUSTOMIZE) $(HELM) ## vet and test everything, with the race detector
	go vet -tags $(TAGS) ./...
	$(if $(NODE_MODULES),,@echo "Node 20 and npm are missing: the TypeScript client is not tested")
	CVFEEDER_PYTHON="$(CURDIR)/$(VENV)/bin/python" CVFEEDER_NODE_MODULES="$(addprefix $(CURDIR)/,$(NODE_MODULES))" \
		CVFEEDER_KUSTOMIZE="$(CURDIR)/$(KUSTOMIZE)" CVFEEDER_HELM="$(CURDIR)/$(HELM)" CVFEEDER_FAKE_CLIENTS="$(CURDIR)/$(FAKE_CLIENTS)" \
		go test -race -parallel 4 -timeout 40m -tags $(TAGS) ./...
	go test -timeout 20m -tags $(TAGS) ./source/kinesis ./transform/gate ./internal/camerahealth # all simulations and scenes, which take too long with -race
	CVFEEDER_BENCH_PYTHON="$(CURDIR)/$(BENCH_VENV)/bin/python" \
		go test -short -timeout 10m -run '^$$' -bench . -benchtime 1x -tags $(TAGS) $(BENCHMARKS) # they run, however fast

# The packages that have benchmarks.
BENCHMARKS = $(sort $(dir $(shell grep -rl --include='*_test.go' '^func Benchmark' $(addprefix ./,$(wildcard */)))))

pythons: $(VENV)/.done ## run the Python client's tests with each other supported Python that is installed
	@for v in $(PYTHONS); do \
		python=$$($(VENV)/bin/uv python find --no-python-downloads $$v 2>/dev/null) || { echo "python $$v is not installed"; continue; }; \
		echo "python $$v"; venv=.cache/python-$$v; \
		$$python -m venv --clear $$venv && $$venv/$(PIP_INSTALL) -r $(REQUIREMENTS) && \
		CVFEEDER_PYTHON="$(CURDIR)/$$venv/bin/python" go test -count=1 -tags $(TAGS) -run '^TestPythonClient$$$$' ./internal/clients || exit; \
	done

rust: deps ## test the consumer in Rust, where Rust is installed; the first run takes minutes
	@command -v cargo >/dev/null || { echo "Rust is missing: https://rustup.rs" >&2; exit 1; }
	CVFEEDER_RUST_TARGET="$(CURDIR)/.cache/rust" go test -count=1 -tags $(TAGS) -run '^TestRustExample$$' ./internal/clients

# The tests look for leaks themselves, because OpenCV keeps some memory until the end. For
# that, the sanitizer must hold back little freed memory: 8 MB still find its misuse.
test-asan: deps ## test the decoders under the address sanitizer
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=8 \
		go test -asan -tags $(TAGS) ./transform/opencv

test-arm64: deps-arm64 ## test pixels, source, publish and the demo on arm64, emulated; half an hour, and a quarter of one more the first time
	.ci/arm64.sh $(ARGS)

count: deps-arm64 ## count the instructions of every kernel on amd64 and arm64, emulated; takes minutes; ARGS="across down"
	@.ci/count.sh $(ARGS)

test-hosts: deps-hosts ## build, test and install on another Debian, in a chroot made by debootstrap; half an hour, needs root; HOSTS="trixie"
	.ci/hosts.sh $(HOSTS)

chaos: deps ## kill, stop and cut off three feeders and three NATS servers for half an hour; ARGS="-chaos 5m -seed 7"
	go test -count=1 -v -timeout 3h -tags $(TAGS) -run '^TestChaos$$' ./cmd/cvfeeder -args -chaos 30m $(ARGS)

matrix: deps ## let each fault of docs/reliability.md happen in each mode; takes 10 minutes, and writes the table there
	go test -count=1 -v -parallel 10 -timeout 90m -tags $(TAGS) -run '^TestMatrix$$' ./cmd/cvfeeder -args -matrix -matrix-table $(ARGS)

redteam: deps ## attack real processes in all the ways of docs/security.md; takes 10 minutes, and writes the table there
	go test -count=1 -v -timeout 60m -tags $(TAGS) -run '^TestRedTeam$$' ./cmd/cvfeeder -args -redteam -redteam-table $(ARGS)

drill: deps-test $(FAKE_CLIENTS)/.done $(NATS_CLI)/nats ## run an incident, and show what the person on call sees; make drill NAME=nats-down, see docs/drills.md
	$(DRILL) -run '^TestDrill$$/^$(NAME)$$' ./cmd/cvfeeder -args -drill

drills: deps-test $(FAKE_CLIENTS)/.done $(NATS_CLI)/nats ## run all incidents, and write what is seen into docs/drills.md; takes 15 minutes
	$(DRILL) -run '^TestDrill$$' ./cmd/cvfeeder -args -drill -drill-page $(ARGS)

DRILL = CVFEEDER_FAKE_CLIENTS="$(CURDIR)/$(FAKE_CLIENTS)" CVFEEDER_NATS_CLI="$(CURDIR)/$(NATS_CLI)" \
	go test -count=1 -v -timeout 60m -tags $(TAGS)

simulate: ## simulate 100,000 cameras on 200 replicas; ARGS="-cameras 1000000 -replicas 2000"
	@go run ./internal/simulate $(ARGS)

dashboards-look: deps deps-test $(DASHBOARDS)/bundle/look.js ## draw the dashboards after a demo with faults, into .cache/dashboards, 6 min; ARGS=-again: the last demo again
	go test -count=1 -v -timeout 20m -tags $(TAGS) -run '^(TestTypes|TestLook)$$' ./internal/monitoring/look -args -look "$(CURDIR)/$(DASHBOARDS)" $(ARGS)

# The modules of @grafana/ui for import do not fit together; those for require do.
$(DASHBOARDS)/bundle/look.js: $(DASHBOARDS)/.done $(wildcard $(LOOK)/*.jsx)
	rm -rf $(@D)
	cp $(LOOK)/*.jsx $(DASHBOARDS)
	cd $(DASHBOARDS) && node_modules/.bin/esbuild look.jsx --bundle --format=esm --splitting --outdir=bundle --jsx=automatic --log-level=error \
		--alias:@grafana/ui=./node_modules/@grafana/ui/dist/cjs/index.cjs --alias:@grafana/data=./node_modules/@grafana/data/dist/cjs/index.cjs \
		--loader:.svg=dataurl --loader:.woff=file --loader:.woff2=file --loader:.ttf=file --define:process.env.NODE_ENV='"production"'

# No script of a package runs.
$(DASHBOARDS)/.done: $(LOOK)/package.json $(LOOK)/package-lock.json
	@command -v npm >/dev/null || { echo "Node 20 and npm are missing, with which the dashboards are drawn" >&2; exit 1; }
	mkdir -p $(@D)
	cp $^ $(@D)
	cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --loglevel error
	touch $@

scaling: deps ## measure what docs/scaling.md says of a million cameras, and write its tables; takes minutes on an idle machine
	go run ./internal/simulate -fleet -cameras 1000000 -measure -write $(ARGS)

soak: deps ## test that 100,000 pictures do not increase resident memory
	CVFEEDER_SOAK=100000 go test -count=1 -v -tags $(TAGS) -run '^TestResidentMemoryIsFlat$$' ./transform/opencv

soak-hour: deps ## test that an hour at 80% load does not increase memory, goroutines, descriptors and Mats; ARGS="-soak 8h"
	go test -count=1 -v -timeout 24h -tags $(TAGS) -run '^TestSoak$$' ./cmd/cvfeeder -args -soak 1h $(ARGS)

# Makes the golden vectors again, then tensors with the libraries' own preprocessing. The
# first run downloads some gigabytes, for PyTorch.
fidelity: deps $(REFERENCES)-venv/.done ## compare with the reference libraries; update the table in docs/fidelity.md
	$(REFERENCES)-venv/bin/python -W ignore $(TESTDATA)/golden.py
	rm -rf $(REFERENCES)
	YOLO_CONFIG_DIR="$(CURDIR)/$(REFERENCES)-venv" $(REFERENCES)-venv/bin/python -W ignore $(TESTDATA)/fidelity.py $(REFERENCES)
	CVFEEDER_FIDELITY="$(CURDIR)/$(REFERENCES)" go test -count=1 -v -tags $(TAGS) -run '^TestFidelity$$' ./transform/opencv
	go test -count=1 -tags $(TAGS) ./transform/...

$(REFERENCES)-venv/.done: $(TESTDATA)/requirements-fidelity.txt $(TESTDATA)/requirements-nodeps.txt | deps-test
	rm -rf $(@D)
	python3 -m venv $(@D)
	$(@D)/$(PIP_INSTALL) -r $(TESTDATA)/requirements-fidelity.txt
	$(@D)/$(PIP_INSTALL) --no-deps -r $(TESTDATA)/requirements-nodeps.txt
	touch $@

opencv: $(OPENCV)/lib/pkgconfig/opencv4.pc ## build a small static OpenCV into .cache, once, for the other targets to use

$(OPENCV)/lib/pkgconfig/opencv4.pc: .ci/opencv.sh | deps-opencv
	.ci/opencv.sh $(OPENCV)

$(VENV)/.done: $(REQUIREMENTS)
$(BENCH_VENV)/.done: $(BASELINE)
$(SITE_VENV)/.done: .ci/requirements-site.txt

# Made again whenever the requirements change.
$(VENV)/.done $(BENCH_VENV)/.done $(SITE_VENV)/.done: | deps-test
	rm -rf $(@D)
	python3 -m venv $(@D)
	$(@D)/$(PIP_INSTALL) -r $<
	touch $@

# No script of a package runs. The link is for the compiler, and for editors.
$(NODE)/.done: $(TYPESCRIPT)/package.json $(TYPESCRIPT)/package-lock.json
	mkdir -p $(@D)
	cp $^ $(@D)
	cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --loglevel error
	ln -sfn ../../$(NODE)/node_modules $(TYPESCRIPT)/node_modules
	touch $@

# Without npm, the test of the JavaScript client is skipped.
$(FAKE_CLIENTS)/.done: $(FAKE)/requirements.txt $(FAKE)/package-lock.json | deps-test
	rm -rf $(@D)
	python3 -m venv $(@D)
	$(@D)/$(PIP_INSTALL) -r $<
	cp $(FAKE)/package.json $(FAKE)/package-lock.json $(@D)
	if command -v npm >/dev/null; then cd $(@D) && npm ci --ignore-scripts --no-audit --no-fund --loglevel error; fi
	touch $@

requirements: $(VENV)/.done ## pin the Python packages again, with hashes, after a requirements*.in has changed
	for in in $(PINNED:.txt=.in); do $(UV_COMPILE) "$$in" -o "$${in%.in}.txt"; done
	for dir in $(TESTDATA) examples; do $(UV_COMPILE) --no-deps $$dir/requirements-nodeps.in -o $$dir/requirements-nodeps.txt; done
	$(UV_COMPILE) clients/python/pyproject.toml -o docker/consumer/requirements.txt

lint: deps-lint $(GOLANGCI) $(VENV)/.done $(if $(NODE_MODULES),$(NODE)/.done) site ## format check, linters, go.mod, shell scripts, types of Python and TypeScript, the manual's site
	$(GOLANGCI) run ./...
	cd clients/python && ../../$(VENV)/bin/ruff check --no-cache && ../../$(VENV)/bin/ruff format --no-cache --check -q
	$(VENV)/bin/ruff check --no-cache --config clients/python/pyproject.toml examples/python examples/triton .ci
	$(VENV)/bin/ruff format --no-cache --config clients/python/pyproject.toml --check -q examples/python examples/triton .ci
	cd clients/python && ../../$(VENV)/bin/mypy --cache-dir ../../.cache/mypy
	$(if $(NODE_MODULES),$(NODE_MODULES)/.bin/tsc --noEmit -p $(TYPESCRIPT),@echo "Node 20 and npm are missing: the TypeScript client is not checked")
	@go mod tidy -diff || { echo "go.mod or go.sum is not tidy: run go mod tidy" >&2; exit 1; }
	shellcheck .ci/run .ci/*.sh docker/*.sh examples/*.sh

vuln: deps ## look for known vulnerabilities, with GOVULNDB, and with osv-scanner in the bills of dist
	@.ci/vuln.sh $(TAGS)

fmt: $(GOLANGCI) ## format the Go files
	$(GOLANGCI) fmt ./...

docs: $(HELM) ## regenerate the tables in docs/configuration.md and README.md, the dashboards, and what the chart renders
	go test -count=1 ./internal/config -run '^TestDocumentIsInStep$$' -update
	go test -count=1 ./metrics -run '^TestREADME$$' -update
	go test -count=1 ./internal/monitoring -run '^TestFilesAreInStep$$' -update
	CVFEEDER_HELM="$(CURDIR)/$(HELM)" go test -count=1 ./internal/deploytest -run '^TestChart(Renders|KnowsTheConfig)$$' -update

# With -q, MkDocs would not count the warnings that "strict" makes errors of.
site: $(SITE_VENV)/.done ## build the manual as a site and check its links; python3 -m http.server -d .cache/site shows it
	NO_MKDOCS_2_WARNING=1 $(SITE_VENV)/bin/mkdocs build -f .ci/mkdocs.yml -d "$(abspath $(SITE))"

$(GOLANGCI):
	GOBIN="$(CURDIR)/.cache/bin" go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv .cache/bin/golangci-lint $@

$(KUSTOMIZE):
	GOBIN="$(CURDIR)/.cache/bin" go install sigs.k8s.io/kustomize/kustomize/v5@$(KUSTOMIZE_VERSION)
	mv .cache/bin/kustomize $@

$(HELM):
	GOBIN="$(CURDIR)/.cache/bin" go install helm.sh/helm/v4/cmd/helm@$(HELM_VERSION)
	mv .cache/bin/helm $@

chart: $(HELM) ## package the Helm chart into dist, with the alerts and dashboards
	$(HELM) package docker/helm/cvfeeder --destination dist

k8s-test: $(KUSTOMIZE) $(HELM) $(KUBERNETES)/.done ## install the manifests and the chart in a real Kubernetes, which the first run builds in 10 minutes
	CVFEEDER_KUBERNETES="$(CURDIR)/$(KUBERNETES)" CVFEEDER_KUSTOMIZE="$(CURDIR)/$(KUSTOMIZE)" CVFEEDER_HELM="$(CURDIR)/$(HELM)" \
		go test -count=1 -v -timeout 20m -run '^TestKubernetes$$' ./internal/deploytest

$(KUBERNETES)/.done:
	.ci/kubernetes.sh build "$(@D)"
	touch $@

# NATS' command for people, which the runbook uses. Its own go.sum says what it is built from.
$(NATS_CLI)/nats:
	mkdir -p $(@D)
	cd "$$(go mod download -json github.com/nats-io/natscli@$(NATS_CLI_VERSION) | sed -n 's/.*"Dir": "\(.*\)",/\1/p')" && \
		go build -trimpath -o "$(CURDIR)/$@" ./nats

bench: deps $(BENCH_VENV)/.done ## run the benchmarks; the output ends with one line for each result and its budget
	@CVFEEDER_BENCH_PYTHON="$(CURDIR)/$(BENCH_VENV)/bin/python" go run ./internal/bench

image: ## build the container image with docker, podman or buildah
	@docker/build.sh "$(IMAGE)" "$(VERSION)"

image-test: ## build the image on a Debian made by debootstrap, for both processors, and run it; takes an hour, needs root
	@docker/verify.sh "$(VERSION)"

release: ## build archives, bills of materials, provenance and checksums into dist
	@.ci/release.sh "$(VERSION)" dist

clean: ## remove what the other targets made
	rm -rf bin dist .cache
