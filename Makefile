# revstream: `make demo` and `make test` are all that a fresh machine needs, with Go, npm and make.

MODULES  := schemas pipeline producers consumers dlq-replayer deploy/embedded deploy/local
PACKAGE  := github.com/revstream/revstream
BIN      := build/bin
VERSION  ?= $(shell git describe --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -X $(PACKAGE)/pipeline/daemon.version=$(VERSION)
ENGINE   := deploy/embedded/node_modules/.package-lock.json
COMMANDS := producers/cmd/... consumers/cmd/... dlq-replayer/cmd/... deploy/embedded/cmd/... deploy/local/cmd/...

# The race detector needs a C compiler on most platforms.
RACE := $(shell command -v cc >/dev/null 2>&1 && echo -race)

.DEFAULT_GOAL := help
.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-13s %s\n", $$1, $$2}'

.PHONY: demo
demo: build ## Lead through the whole pipeline on the embedded stack, and check every number
	@$(BIN)/revstream-local demo

.PHONY: test
test: deps ## Run every test: unit, fuzz seeds, integration, end-to-end
ifeq ($(RACE),)
	@echo "no C compiler (cc): testing without the race detector"
endif
	go test $(RACE) -shuffle=on -timeout=10m work

.PHONY: test-backlog
test-backlog: deps ## Let a consumer work off 5,000,000 records with ClickHouse away and Kafka slow
	go test -count=1 -timeout=40m -v -run '^TestABacklogFitsIntoMemory$$' ./deploy/local/endtoend -backlog=5000000

.PHONY: bench
bench: build ## Measure how fast the pipeline is: build/bench.json (ARGS="--only NAME", ARGS=--help)
	@$(BIN)/bench run $(ARGS)

.PHONY: bench-quick
bench-quick: build ## The same with fewer events and rounds, within 3 minutes
	@$(BIN)/bench run --quick $(ARGS)

LINT         := $(BIN)/golangci-lint
LINT_VERSION := v2.15.0

$(LINT): Makefile
	GOBIN=$(CURDIR)/$(BIN) GOWORK=off go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	@touch $@

.PHONY: lint
lint: $(LINT) ## Lint every module, its imports' directions included
	$(LINT) run $(addprefix ./,$(addsuffix /...,$(MODULES)))

.PHONY: fmt
fmt: $(LINT) ## Format the code
	$(LINT) fmt $(MODULES)

.PHONY: build
build: deps ## Build all programs into build/bin
	@mkdir -p $(BIN)
	go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ $(addprefix ./,$(COMMANDS))

.PHONY: deps
deps: $(ENGINE) ## Fetch the ClickHouse engine that the embedded stack runs on

$(ENGINE): deploy/embedded/package.json deploy/embedded/package-lock.json
	npm ci --prefix deploy/embedded --no-audit --no-fund --loglevel=error
	@# One package for each platform, all optional: npm passes over one that it cannot fetch.
	@ls deploy/embedded/node_modules/@chdb/*/libchdb.* >/dev/null 2>&1 || { rm -f $@; \
	  echo "npm did not bring the ClickHouse engine: either it cannot reach its registry, or there is no @chdb/lib package for $$(uname -sm)." >&2; \
	  echo "npm ci --prefix deploy/embedded --loglevel=verbose says why." >&2; exit 1; }
	@touch $@

KAFKA    := build/kafka/lib/.fetched
APICURIO := build/registry/lib/.fetched

.PHONY: kafka
kafka: $(KAFKA) $(APICURIO) ## Fetch Apache Kafka and Apicurio Registry, for the suites that run on them (needs Java 17 and Maven)

$(KAFKA): deploy/local/kafka/pom.xml
	@for tool in java mvn; do command -v $$tool >/dev/null 2>&1 || { \
	  echo "$$tool is missing: Apache Kafka needs Java 17 or newer, and its jars come through Maven (Debian: apt-get install openjdk-17-jre-headless maven)." >&2; exit 1; }; done
	rm -rf $(@D)
	mvn --quiet --batch-mode -f $< dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$(@D)
	@touch $@

$(APICURIO): deploy/local/registry/pom.xml | $(KAFKA)
	rm -rf build/registry/lib build/registry/target
	mvn --quiet --batch-mode -f $< dependency:unpack -DoutputDirectory=$(CURDIR)/$(@D)
	@touch $@

# The packages whose tests talk to a broker or to a registry, one test at a time: they share both.
ON_KAFKA := pipeline/consume pipeline/deadletter pipeline/snapshot producers/backfill producers/check producers/cmd/provision producers/forecast \
  producers/people producers/publish producers/state consumers/audit consumers/erasure consumers/reconcile consumers/samples consumers/service dlq-replayer/desk dlq-replayer/cmd/dlq-replayer

# The end-to-end tests in which the broker or the registry matters.
ON_SERVERS := ^Test(Tour|StackSurvivesARestart|KilledConsumersLoseAndDoubleNothing|AnotherClientReadsTheTopics|ARowsTraceIsFound)$$

.PHONY: test-kafka
test-kafka: build $(KAFKA) $(APICURIO) ## Run the integration and end-to-end tests on Apache Kafka and Apicurio Registry
	@rm -rf build/kafka/test build/registry/test
	$(BIN)/revstream-local kafka --addr= --data-dir=build/kafka/test -- \
	  $(BIN)/revstream-local registry --addr= --data-dir=build/registry/test -- \
	  go test -count=1 -p 1 -parallel 1 -timeout=15m $(addprefix ./,$(ON_KAFKA))
	go test -count=1 -parallel 1 -timeout=15m -run '$(ON_SERVERS)' ./deploy/local/endtoend -servers

CHROME ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

.PHONY: test-browser
test-browser: deps ## Use the dead letters' page and the warehouse's report in headless Chromium, as people do (CHROME=)
	@[ -n "$(CHROME)" ] || { echo "chromium is missing: the pages' tests use it (Debian and Ubuntu: apt-get install chromium), or say where it is with CHROME=." >&2; exit 1; }
	CHROME="$(CHROME)" go test $(RACE) -count=1 -tags=browser -timeout=10m -run '^TestPage' ./dlq-replayer/web ./consumers/report

.PHONY: test-alerts
test-alerts: ## Check the alert rules, and let each fire and stay silent, with promtool
	@command -v promtool >/dev/null 2>&1 || { echo "promtool is missing: it checks the alert rules (Debian and Ubuntu: apt-get install --no-install-recommends prometheus; macOS: brew install prometheus)." >&2; exit 1; }
	promtool check config deploy/prometheus/prometheus.yml
	promtool test rules deploy/prometheus/tests/*.yml
	go test -count=1 -tags=promtool ./deploy/local/dashboards

.PHONY: metrics-doc
metrics-doc: ## Write docs/metrics.md and Grafana's dashboards anew, from the sources
	go test -count=1 ./deploy/local/metrics ./deploy/local/dashboards -update

# The runs of the checker. SEED repeats one; SECONDS is how long faults come for.
SEED    ?= 0
SECONDS ?= 480
EVENTS  ?= 1000000
KILLS   ?= 230
FAULTS   = $(BIN)/faults run --seed=$(SEED) --duration=$(SECONDS)s $(ARGS)

.PHONY: kcat
kcat:
	@command -v kcat >/dev/null 2>&1 || { echo "kcat is missing: the fault runs read Kafka with it (Debian and Ubuntu: apt-get install kcat; macOS: brew install kcat)." >&2; exit 1; }

.PHONY: test-faults
test-faults: build $(KAFKA) kcat ## Publish 1,000,000 events while everything dies, on Apache Kafka, and check every invariant (SEED=)
	@$(FAULTS) --events=$(EVENTS) --kills=$(KILLS)

.PHONY: soak
soak: build $(KAFKA) kcat ## The same for SECONDS= of faults, with as many events and kills for each second
	@$(FAULTS) --events=$$(( 2000 * $(SECONDS) )) --kills=$$(( $(SECONDS) / 2 ))

.PHONY: test-mutants
test-mutants: build $(KAFKA) kcat ## The same, short, on consumers that are wrong on purpose: each must be caught
	@$(BIN)/faults mutants --seed=$(SEED) --duration=40s --events=40000 --kills=20

.PHONY: up
up: build ## Start everything on this machine and wait until it is healthy (ARGS="--people FILE", ARGS=--help)
	@$(BIN)/revstream-local up $(ARGS)

.PHONY: down
down: build ## Stop what `make up` started; the data stays
	@$(BIN)/revstream-local down

.PHONY: status
status: build ## Show processes, topics, lag, rows and dead letters
	@$(BIN)/revstream-local status

.PHONY: schemas
schemas: build ## Create the topics and register the schemas (KAFKA_BROKERS, SCHEMA_REGISTRY_URL)
	@$(BIN)/provision

.PHONY: migrate
migrate: build ## Create or update the tables and views (CLICKHOUSE_URL)
	@$(BIN)/warehouse migrate

.PHONY: clean
clean: ## Remove what was built; a running stack is stopped first
	@if [ -f build/stack/stack.json ] && [ -x $(BIN)/revstream-local ]; then $(BIN)/revstream-local down; fi
	rm -rf build
