# make setup   a virtual environment in .venv with everything that was tested together
# make bench   the quick suite over three worlds, then the leaderboard
# make test    format, lint, types and the fast tests
# make results the quick suite again, and what results/quick and the README show of it
# make laboratory  the gridworld suite again, results/gridworld and docs/laboratory.md
# make control the control suites (days; go on by the same command), then make control-results
# make control-results  what they have finished so far, into results/control; runs nothing
# make clean   removes the environment, caches and builds; runs/ stays

PYTHON ?= python3
VENV ?= .venv
BENCH_OUT ?= runs/quick
TEST_WORKERS ?= 2

BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup bench test results laboratory control control-results clean

help:
	@sed -n 's/^# \(make \)/\1/p' Makefile

setup: $(READY)

# pip's own configuration decides where packages come from. torch goes first, alone and pinned, so
# that nothing installed later may pull in another build of it. imitation and seals declare older
# gymnasium and stable-baselines3 than they run on: they go last, without their dependencies.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; \
	sys.version_info >= (3, 11) or sys.exit(f"irlbench needs Python 3.11 or newer; $(PYTHON) is {v}. Name another: make PYTHON=python3.12 setup"); \
	print(f"Python {v}")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet -c constraints.txt datasets jsonpickle scikit-learn scipy tensorboard tqdm
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps imitation seals
	@touch $(READY)

# A failed trial still leaves a leaderboard, and then a failed make. The report ends with the table
# and the place of the page.
bench: setup
	@status=0; $(BIN)/irlbench run quick --out $(BENCH_OUT) || status=$$?; \
	[ $$status -le 1 ] || exit $$status; \
	$(BIN)/irlbench report $(BENCH_OUT) || exit $$?; \
	exit $$status

test: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tests benchmarks examples
	$(BIN)/pytest -m 'not slow' -n $(TEST_WORKERS)

# Committed results are records and curves without policies; the report is made from those.
results: setup
	$(BIN)/irlbench run quick --out runs/results
	$(BIN)/python benchmarks/quick_bars.py runs/results
	rm -rf results/quick
	mkdir -p results/quick/records
	tar -C runs/results -cf - irlbench.json $$(cd runs/results && ls -d trials/*/record.json trials/*/curve.parquet) | tar -C results/quick/records -xf -
	$(BIN)/irlbench report results/quick/records --out results/quick
	cp results/quick/figures/leaderboard.svg docs/leaderboard.svg

# Figures are drawn from the policies and rewards that the run has left; the committed page is made
# from the table of its records, beside them.
laboratory: setup
	$(BIN)/irlbench run gridworld --out runs/laboratory
	rm -rf results/gridworld
	$(BIN)/irlbench export runs/laboratory --out results/gridworld
	$(BIN)/irlbench report runs/laboratory --out results/gridworld
	$(BIN)/irlbench report results/gridworld --out results/gridworld
	$(BIN)/python benchmarks/laboratory.py results/gridworld > docs/laboratory.md

# The core comes first, all its seeds; the larger suite finds it done. A failed trial is a result.
# What is committed is not run again, wherever it was run.
KNOWN = $(addprefix --known ,$(wildcard results/control))
control: setup
	$(BIN)/irlbench run control-core --out runs/control $(KNOWN) || [ $$? -eq 1 ]
	$(BIN)/irlbench run control --out runs/control $(KNOWN) || [ $$? -eq 1 ]
	$(MAKE) control-results

# What is committed already stays, also where runs/control is of another machine.
control-results: setup
	$(BIN)/irlbench export runs/control $(wildcard results/control) --out results/control
	$(BIN)/irlbench report results/control --out results/control

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
