# make setup   .venv with the light base and what draws figures, apportion installed editable
# make demo    setup, then the quick benchmark: leaderboard, one measured sentence, report.html
# make demo-train  a small transformer learns under five kinds of credit, a quarter of an hour: curves in runs/train/report.html
# make check   format, lint, strict types, import directions
# make test    all tests
# make test-peers  the tests that need torch and the peers, in .venv-peers
# make test-heavy  the tests that need SmolLM2 and a real server, in .venv-peers
# make demo-lm  a real model's answers with credit by methods that ask it, its sampler and a judge; writes lm.html
# make docs    docs/methods.md, docs/cards.md and the tables of methods in the pages of trainers
# make picture docs/headline.png, from the demo's report (needs Chromium)
# make bench   speed against the peers (torch and others, in a .venv-peers of their own)
# make clean   removes what the above made

VENV  := .venv
PEERS := .venv-peers
BIN   := $(VENV)/bin
PIP   := -m pip --disable-pip-version-check -qq install
# The first interpreter on PATH that runs, is new enough and can make a virtual environment.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10 python3.14 python; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1 && { echo $$p; break; }; done)

.PHONY: setup demo demo-train check test test-peers test-heavy demo-lm bench docs picture clean

setup: $(VENV)/.stamp-base

$(VENV)/.stamp-base: pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "apportion needs Python 3.10 or newer with venv and pip (or say which: make PYTHON=/path/to/python)"; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON) (once; about a minute)"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(PIP) -e '.[figures]'
	@touch $@

$(VENV)/.stamp-test: $(VENV)/.stamp-base constraints.txt
	@echo "Installing what checks and tests need"
	@$(BIN)/python $(PIP) -c constraints.txt -e '.[test]'
	@touch $@

demo: setup
	$(BIN)/apportion bench run --suite quick --out runs/demo --replace

demo-train: $(PEERS)/.stamp
	$(PEERS)/bin/apportion bench run --suite train --out runs/train --replace

docs: setup
	$(BIN)/apportion methods --markdown > docs/methods.md
	$(BIN)/python -m apportion.bench.task_page docs/tasks.md
	$(BIN)/apportion card list --markdown > docs/cards.md
	$(BIN)/python -m apportion.integrations.trl.page docs/trl.md
	$(BIN)/python -m apportion.integrations.verl.table docs/verl.md
	$(BIN)/python -m apportion.integrations.skyrl docs/skyrl.md
	$(BIN)/python -m apportion.integrations.slime docs/slime.md
	$(BIN)/python -m apportion.integrations.areal docs/areal.md
	$(BIN)/python -m apportion.integrations.method_table openrlhf PLACE docs/openrlhf.md
	$(BIN)/python -m apportion.integrations.trinity docs/trinity.md
	$(BIN)/python -m apportion.integrations.nemo_rl docs/nemo-rl.md
	$(BIN)/python -m apportion.integrations.tinker docs/tinker.md
	$(BIN)/python -m apportion.integrations.rllm docs/rllm.md
	$(BIN)/python -m apportion.integrations.method_table verifiers PRIME_RL docs/verifiers.md
	$(BIN)/python -m apportion.integrations.method_table openenv OPENENV docs/openenv.md

picture: demo $(VENV)/.stamp-test
	$(BIN)/python docs/picture.py

check: $(VENV)/.stamp-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

test: $(VENV)/.stamp-test
	$(BIN)/python -m pytest -n 2

$(PEERS)/.stamp: pyproject.toml perf/requirements.txt perf/requirements-no-deps.txt
	@[ -n "$(PYTHON)" ] || { echo "make bench needs Python 3.10 or newer with venv and pip (make PYTHON=/path/to/python)"; exit 1; }
	@echo "Installing the peers into $(PEERS) (torch among them: this takes a while)"
	@[ -x $(PEERS)/bin/python ] || $(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python $(PIP) -e . -r perf/requirements.txt
	@$(PEERS)/bin/python $(PIP) --no-deps -r perf/requirements-no-deps.txt
	@touch $@

$(PEERS)/.stamp-test: $(PEERS)/.stamp constraints.txt
	@$(PEERS)/bin/python $(PIP) -c constraints.txt pytest hypothesis
	@touch $@

test-peers: $(PEERS)/.stamp-test
	$(PEERS)/bin/python -m pytest -rs -m "not heavy" tests/peers tests/test_padded.py tests/test_perf.py

test-heavy: $(PEERS)/.stamp-test
	APPORTION_REQUIRE_HEAVY=1 $(PEERS)/bin/python -m pytest -rs -m heavy tests/peers

demo-lm: $(PEERS)/.stamp
	$(PEERS)/bin/python docs/examples/lm_demo.py --out lm.html

bench: $(PEERS)/.stamp
	$(PEERS)/bin/python -m perf.run

clean:
	rm -rf $(VENV) $(PEERS) runs report.html lm.html build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
