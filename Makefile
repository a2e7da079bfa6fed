# Everything from a fresh machine with Python 3.11 to 3.13 and make: `make demo`, `make test`.

VENV ?= .venv
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$name && break; done)
BIN := $(VENV)/bin
READY := $(VENV)/.hemony-installed
DEMO ?= checkpoints/demo

.PHONY: help venv demo test check bench clean

help: ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /  make \1\t/'

venv: $(READY) ## the environment alone; VENV=path puts it elsewhere

# The stamp is written last: an environment whose installation broke off is made again.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 to 3.13 found; install one, or name it: make PYTHON=/path/to/python3" >&2; exit 2; }
	rm -rf "$(VENV)"
	$(PYTHON) -m venv "$(VENV)"
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,track]'
	touch "$(READY)"

demo: $(READY) ## train on scanned digits and on bells, classify what was held out, put a melody right
	rm -rf "$(DEMO)-digits" "$(DEMO)-bells" "$(DEMO)-melody"
	"$(BIN)/hemony" train experiment=digits output="$(DEMO)-digits"
	"$(BIN)/hemony" evaluate "$(DEMO)-digits"
	"$(BIN)/python" -m hemony.datasets.samples "$(DEMO)-digits" "$(DEMO)-digits/run/scans"
	"$(BIN)/hemony" classify "$(DEMO)-digits" "$(DEMO)-digits/run/scans"
	"$(BIN)/hemony" train experiment=bell_types trainer.max_epochs=4 output="$(DEMO)-bells"
	"$(BIN)/python" -m hemony.datasets.samples "$(DEMO)-bells" "$(DEMO)-bells/run/clips"
	"$(BIN)/hemony" classify "$(DEMO)-bells" "$(DEMO)-bells/run/clips"
	mkdir -p "$(DEMO)-melody"
	"$(BIN)/hemony" synth hot_chilli_bells_100 --out "$(DEMO)-melody/hcb.wav" --truth "$(DEMO)-melody/hcb.json" --spacing 0.35,0.6 --tuning 12
	"$(BIN)/hemony" correct checkpoints/bells "$(DEMO)-melody/hcb.wav" --out "$(DEMO)-melody/tuned.wav" --page "$(DEMO)-melody/page.html"
	"$(BIN)/hemony" evaluate checkpoints/bells data=bell_folder data.root="$(DEMO)-melody"
	@echo "The reports, to be opened in a browser: $(DEMO)-digits/run/report.html $(DEMO)-bells/run/report.html $(DEMO)-melody/page.html"

check: $(READY) ## lint, format and types
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"

test: check ## lint, types and all tests
	"$(BIN)/pytest"

bench: $(READY) ## speed and accuracy, side by side with what one would use instead (takes hours; see tests/benchmarks)
	failed=0; for script in tests/benchmarks/bench_*.py; do \
		"$(BIN)/python" -m "tests.benchmarks.$$(basename "$$script" .py)" || failed=1; done; exit $$failed

clean: ## remove the environment, caches and demo runs; checkpoints of your own stay
	rm -rf "$(VENV)" "$(DEMO)-digits" "$(DEMO)-bells" "$(DEMO)-melody" build dist .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
