# modelog: every target works on a fresh machine with Go and make. What a target
# needs beside those is installed at a pinned version into .bin and .venv, which
# git ignores.

GOLANGCI_LINT_VERSION := v2.15.0
PYTHON                := python3
BIN                   := $(CURDIR)/.bin
VENV                  := $(CURDIR)/.venv
VENV_MLFLOW           := $(CURDIR)/.venv-mlflow
VENV_OPENLINEAGE      := $(CURDIR)/.venv-openlineage
NODE                  := conformance/node
MODELS                := cmd/modelog/demo/models

# The race detector needs a C compiler.
RACE := $(if $(shell command -v $${CC:-cc}),-race,)

.DEFAULT_GOAL := help
.PHONY: help build run demo test conformance check bench generate verify fmt lint vuln clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

build: ## build bin/modelog
	go build -trimpath -o bin/modelog ./cmd/modelog

run: build ## run a registry on 127.0.0.1:7670
	bin/modelog serve

demo: build ## show a registry at work, on real models
	bin/modelog demo

test: $(VENV)/.installed ## install what the tests need, and run them
	$(if $(RACE),,@echo "no C compiler here: testing without the race detector")
	go test $(RACE) -timeout 20m ./events/natslog # alone: its clusters elect their leaders against the clock
	go test $(RACE) -timeout 20m $$(go list ./... | grep -v /events/natslog$$)
	@$(MAKE) --no-print-directory conformance

conformance: build $(VENV_MLFLOW)/.installed $(VENV_OPENLINEAGE)/.installed $(NODE)/.installed ## judge dialects, deliveries and proofs with others' clients
	@if [ -x $(VENV_MLFLOW)/bin/python ]; then \
		$(VENV_MLFLOW)/bin/python -B conformance/mlflow/suite.py --modelog bin/modelog && \
		$(VENV_OPENLINEAGE)/bin/python -B conformance/openlineage/suite.py --modelog bin/modelog; \
	else \
		echo "no $(PYTHON) here: the dialects are not judged"; \
	fi
	@if [ -d $(NODE)/node_modules ]; then \
		cd $(NODE) && MODELOG=$(CURDIR)/bin/modelog node --test suite.mjs; \
	else \
		echo "no npm here: deliveries are not judged by libraries of npm"; \
	fi
	cd conformance/tlog && MODELOG=$(CURDIR)/bin/modelog go test -count=1 ./...
	cd conformance/cloudevents && MODELOG=$(CURDIR)/bin/modelog go test -count=1 ./...

check: lint verify test ## what must pass before a change lands: format, lint, generated files, tests

bench: build ## measure modelog beside its raw limits
	bin/modelog bench

generate: ## write the generated documents anew
	go test ./schemas ./handlers/api -run Generated -update

verify: ## check that the generated documents are what the code says
	go test ./schemas ./handlers/api -run Generated

fmt: $(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION) ## format the code
	$< fmt

lint: $(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION) ## check format and lint
	$< fmt --diff
	$< run

vuln: ## look for known vulnerabilities (asks a public database)
	go run golang.org/x/vuln/cmd/govulncheck@v1.1.4 ./...

clean: ## remove what the other targets made
	rm -rf bin .bin .venv .venv-mlflow .venv-openlineage $(NODE)/node_modules $(NODE)/.installed

$(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION):
	GOBIN=$(BIN) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv $(BIN)/golangci-lint $@

# Python checks the demo's models. Without it that test says so and is skipped.
$(VENV)/.installed: $(MODELS)/requirements.txt
	@if command -v $(PYTHON) >/dev/null; then \
		$(PYTHON) -m venv $(VENV) && $(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<; \
	else \
		echo "no $(PYTHON) here: the demo's models are not checked"; mkdir -p $(VENV); \
	fi
	@touch $@

# MLflow's client, and its own server, which the suite is checked against; and
# OpenLineage's client.
$(VENV_MLFLOW)/.installed: conformance/mlflow/requirements.txt
$(VENV_OPENLINEAGE)/.installed: conformance/openlineage/requirements.txt
$(VENV_MLFLOW)/.installed $(VENV_OPENLINEAGE)/.installed:
	@if command -v $(PYTHON) >/dev/null; then \
		$(PYTHON) -m venv $(@D) && $(@D)/bin/pip install --quiet --disable-pip-version-check -r $<; \
	else \
		mkdir -p $(@D); \
	fi
	@touch $@

$(NODE)/.installed: $(NODE)/package-lock.json
	@if command -v npm >/dev/null && command -v node >/dev/null; then \
		cd $(NODE) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error; \
	fi
	@touch $@
