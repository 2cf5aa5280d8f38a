# The commands of the project. Each brings what it needs; STACK chooses the stack (default dev).
STACK ?= dev
KEEP_DATA ?=
export STACK KEEP_DATA

RUN := toolchain/bootstrap.sh
VENV := .local/venv/bin

.PHONY: up down preview smoke status latency demo bench health doctor top test test-fast lint format images env help

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort

up: ## bring the stack up; ends with what runs and the first rows
	@$(RUN) up

down: ## remove all that up made (KEEP_DATA=1 keeps volumes)
	@$(RUN) down

preview: ## show what up would change (STACK=prod for the other stack)
	@$(RUN) preview

status: ## what runs, where, and the first query
	@$(RUN) status

smoke: ## insert, update and delete an order and see each arrive
	@$(RUN) smoke

latency: ## commit-to-visible time at 100 rows/s
	@$(RUN) latency

health: ## the daily check: every hop, well or not
	@$(RUN) health

doctor: ## name the likely cause of trouble and the next command
	@$(RUN) doctor

top: ## live view of the hops: rates, lag, freshness, slot, errors
	@$(RUN) top

demo: ## a living shop and what arrives of it each second, until Ctrl-C (DEMO_RATE, DEMO_SECONDS)
	@$(RUN) demo

bench: ## measure on a stack of its own and write docs/performance.md (BENCH_SCALE=0.01 for a trial)
	@$(RUN) bench

images: ## pull or build every image
	@$(RUN) images

env: ## shell exports for using pulumi by hand: eval "$$(make env)"
	@$(RUN) env

test: lint ## every check that this machine can run
	@$(RUN) test

test-fast: ## unit and program tests only
	@$(RUN) venv && $(VENV)/pytest tests/unit tests/program

lint: ## ruff and mypy --strict
	@$(RUN) venv && $(VENV)/ruff check . && $(VENV)/ruff format --check . && $(VENV)/mypy .

format: ## rewrite the code as ruff wants it
	@$(RUN) venv && $(VENV)/ruff format . && $(VENV)/ruff check --fix .
