# Each target does everything it needs by itself and asks nothing. See scripts/setup.sh for the steps.
.DEFAULT_GOAL := help
.PHONY: help setup dev vision vision-test demo check test bench bench-8gb million models lock samples clean

DATA ?= ../shared/data
# Only `make bench` ever installs torch. On Linux plain torch brings several gigabytes of CUDA packages; a machine
# without an NVIDIA card can name a CPU build: make bench TORCH=/path/to/torch-…+cpu-….whl
TORCH ?= torch==2.13.0

help: ## what can be done here
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

setup: ## uv, the OCR languages and .venv with pomnit in it
	@bash scripts/setup.sh run

dev: ## the same, with the tools for check and test
	@bash scripts/setup.sh dev

vision: ## .venv-vision: pomnit with mlx-vlm, for models that look at pictures
	@bash scripts/setup.sh vision

vision-test: dev vision ## the tests of the model that answers; `make test` runs them, too, when .venv-vision is here
	.venv/bin/python -m pytest -q tests/contract/test_vision_engine.py tests/contract/test_answerer_server.py

demo: setup ## adds samples/ to a throw-away memory, searches six times and asks twice
	@bash scripts/demo.sh

check: dev ## style, format, types, floors
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy --strict src
	.venv/bin/lint-imports

test: dev ## every test
	.venv/bin/python -m pytest -q -n auto

bench: ## the figures, with their references beside them (DATA=… TORCH=…)
	@TORCH="$(TORCH)" bash scripts/setup.sh bench
	.venv-bench/bin/python bench/pixels.py --data "$(DATA)"
	.venv-bench/bin/python bench/ocr.py --data "$(DATA)"
	.venv-bench/bin/python bench/encode.py --data "$(DATA)"
	.venv-bench/bin/python bench/listen.py
	.venv-bench/bin/python bench/sensitive.py
	.venv-bench/bin/python bench/search.py --passages 100000

million: ## the figures of a memory of a million passages: twenty minutes and 4 GB of disk
	@TORCH="$(TORCH)" bash scripts/setup.sh bench
	.venv-bench/bin/python bench/search.py --passages 1000000

models: ## the figures of the large models at their true shapes: ten minutes, 8 GB of memory and of disk
	@TORCH="$(TORCH)" bash scripts/setup.sh bench
	.venv-bench/bin/python bench/models.py

bench-8gb: ## the memory contract below a limit, as root with swap: half an hour, 8 GB of memory, 12 GB of disk
	@TORCH="$(TORCH)" bash scripts/setup.sh bench
	@bash scripts/setup.sh vision
	.venv-bench/bin/python bench/eight_gb.py --data "$(DATA)"

lock: ## the lock files anew (scripts/lock.sh --upgrade takes newer versions)
	@bash scripts/lock.sh

samples: setup ## the pictures of samples/ anew, from scripts/samples/*.html (needs Chromium)
	@bash scripts/make_samples.sh

clean: ## removes everything that these targets made
	rm -rf .venv .venv-bench .venv-vision .bench .tools .demo dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests bench scripts -name __pycache__ -type d -prune -exec rm -rf {} +
