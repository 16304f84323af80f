# One-line verbs; the logic lives in sglctl. `make` alone prints this list.
ENV ?= local
SGLCTL = .venv/bin/sglctl
export SGLCTL_ENV = $(ENV)

.DEFAULT_GOAL := help
.PHONY: help setup deploy plan apply test test-quick lint format status destroy clean lock bench-router bench-scaleout bench-streams compare-router soak chaos

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo; echo "  ENV=local (default), dev, staging, prod, pairs: which file of config/environments"

setup: ## Install what this machine needs (Python packages, tools); quick when done
	@cli/bootstrap.sh

deploy: setup ## Bring up the environment and test it: make deploy ENV=local
	@$(SGLCTL) doctor --install --quiet
	@$(SGLCTL) deploy --yes

plan: setup ## Show what apply would change
	@$(SGLCTL) plan

apply: setup ## Apply the plan
	@$(SGLCTL) apply

status: setup ## Show fleets, workers and routers
	@$(SGLCTL) status

destroy: setup ## Remove the environment
	@$(SGLCTL) destroy

test: setup ## Run every test this machine allows; says what it skipped and why
	@$(SGLCTL) doctor --install --quiet --for tests || true
	@.venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

test-quick: setup ## Unit tests only
	@.venv/bin/python -m pytest tests/unit $(ARGS)

lint: setup ## ruff, mypy, import-linter, ansible-lint, terraform fmt, shellcheck, workflows
	@.venv/bin/python -m sglctl.lint

format: setup ## Format Python and Terraform
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix-only --quiet . && terraform fmt -recursive terraform

lock: setup ## Write requirements/*.txt anew from pyproject.toml
	@cli/lock.sh

bench-router: setup ## Our router's cost beside nginx, sglang-router and smg, line by line
	@.venv/bin/python -m benchmarks.router $(ARGS)

bench-scaleout: setup ## Warm against cold starts, and streams through all that takes hosts away
	@.venv/bin/python -m benchmarks.scaleout $(ARGS)

bench-streams: setup ## 10,000 streams through scale-in, refresh, Spot notices and new routers: none breaks
	@$(SGLCTL) doctor --install --quiet --for tests || true
	@.venv/bin/python -m benchmarks.streams $(ARGS)

soak: setup ## 100,000 requests under random faults; every client outcome accounted for
	@.venv/bin/python -m benchmarks.soak $(ARGS)

chaos: setup ## What may happen to a fleet, played on one: every promise held, nothing left behind
	@$(SGLCTL) doctor --install --quiet --for tests || true
	@.venv/bin/python -m tests.chaos $(ARGS)

compare-router: setup ## What ours, sglang-router and smg do in the same situations
	@.venv/bin/python -m benchmarks.router.behaviour $(ARGS)

clean: ## Remove the virtual environment and caches of this clone
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
