# make run and make test set everything up on a fresh machine that has Python 3.11 or later with venv, and a compiler.
PYTHON ?= python3
VENV ?= .venv
CLASSIC_VENV ?= .venv-classic
RECBOLE = recbole==1.2.1
# pip would compile every module of torch and the rest, most of which nothing imports; Python compiles what is used.
PIP = bin/pip install -q --no-compile

# Tests are small: processes side by side, with one thread each, are faster than threads. One more than there are
# cores: tests wait for processes, disks and Ray a third of their time. In the order that tests/conftest.py gives them.
WORKERS = $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
PYTEST = $(1)/bin/python -m pytest -n $(WORKERS) --maxprocesses=4 --dist loadgroup --no-loadscope-reorder

.PHONY: run test test-long test-classic lint bench docs properties

run: $(VENV)/.installed
	$(VENV)/bin/python run_recbole_mm.py --model=POWERec

test: $(VENV)/.installed
	$(call PYTEST,$(VENV))

# What takes long: 2,000 generated cases for every reader, and random kills of real runs.
test-long: $(VENV)/.installed
	RECBOLE_MM_FUZZ=2000 $(VENV)/bin/python -m pytest -n auto --maxprocesses=4 tests/fuzz
	$(VENV)/bin/python -m pytest -m long

# The core of the suite on the versions where existing RecBole projects are. Kills before every rename are about the order
# of our files, which no library changes; that a killed run goes on to the same numbers there, test_resume shows.
CORE = tests/host/test_compat.py tests/test_registration.py tests/test_quick_start.py tests/graph tests/nn tests/trainer \
	--ignore=tests/trainer/test_kill_points.py \
	tests/data/test_dataset.py tests/data/test_arrow_form.py tests/data/test_default_data.py \
	tests/model/test_powerec.py tests/model/test_layergcn.py tests/model/test_margo.py
test-classic: $(CLASSIC_VENV)/.installed
	$(call PYTEST,$(CLASSIC_VENV)) $(CORE)

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(VENV)/.installed
	$(VENV)/bin/python benchmarks/epoch.py
	$(VENV)/bin/python benchmarks/closed_forms.py

# The site, in site/; warnings are errors.
docs: $(VENV)/.installed
	$(VENV)/bin/python -m mkdocs build --strict --clean

# The yaml files of properties/ from the declared settings.
properties: $(VENV)/.installed
	$(VENV)/bin/python -m recbole_mm.settings_files

$(VENV)/.installed: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/$(PIP) -c constraints.txt -e ".[test,plot,docs]"
	$(VENV)/$(PIP) --no-deps $(RECBOLE)
	touch $@

$(CLASSIC_VENV)/.installed: setup.cfg constraints.txt constraints-classic.txt
	$(PYTHON) -m venv $(CLASSIC_VENV)
	$(CLASSIC_VENV)/$(PIP) -c constraints.txt -c constraints-classic.txt -e ".[test,plot]"
	$(CLASSIC_VENV)/$(PIP) --no-deps $(RECBOLE)
	touch $@
