PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

# Google Research Football has to be compiled, which works with the Python and the Boost of Debian 12.
GFOOTBALL := gfootball==2.10.2
GFOOTBALL_BUILD := build/gfootball
GFOOTBALL_INSTALLED := .venv/.gfootball
GFOOTBALL_PACKAGES := cmake build-essential python3-dev python3-venv libgl1-mesa-dev libsdl2-dev libsdl2-image-dev \
	libsdl2-ttf-dev libsdl2-gfx-dev libboost-python-dev libboost-thread-dev libboost-system-dev libboost-filesystem-dev
SYSTEM_PYTHON ?= /usr/bin/python3

# TensorFlow never frees what it compiled: several runs in turn need less memory than one.
PYTEST := SDL_VIDEODRIVER=dummy MPLBACKEND=agg TF_CPP_MIN_LOG_LEVEL=2 $(BIN)/python -m pytest --numprocesses auto --dist worksteal
UNITS := $(addprefix tests/,distributions drivers envs layers ops replay testing_env \
	test_architecture.py test_docstrings.py test_masks.py test_networks.py test_spaces.py)
FIRST := $(wildcard tests/agents/test_[a-o]*.py)
SECOND := $(UNITS) tests/callbacks tests/cli $(filter-out $(FIRST),$(wildcard tests/agents/test_*.py))
THIRD := $(filter-out $(SECOND) tests/agents %__pycache__,$(patsubst %/,%,$(wildcard tests/*/)) $(wildcard tests/test_*.py))

.PHONY: install demo test test-fast test-learning test-all coverage mutants lint docs gfootball clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	touch $@

demo: install
	$(BIN)/python docs/examples/demo.py

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(PYTEST) -m "not learning and not long" $(FIRST)
	$(PYTEST) -m "not learning and not long" $(SECOND)
	$(PYTEST) -m "not learning and not long" $(THIRD)

test-fast: install
	$(PYTEST) -m "not learning and not long" --ignore tests/envs/test_atari.py --ignore tests/envs/test_gfootball.py --ignore tests/envs/test_workers.py $(UNITS)

test-learning: install
	XLA_FLAGS= $(PYTEST) -m learning tests

test-all: test test-learning
	$(PYTEST) -m long tests

# Branches that `make test` takes, in the processes that it starts, too: twice the time of `make test`.
coverage: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "coverage>=7.10"
	$(BIN)/python -m coverage erase
	$(MAKE) test BIN=$(BIN) PYTEST='$(subst -m pytest,-m coverage run -m pytest,$(PYTEST))'
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered --show-missing --sort=miss

mutants: install
	$(BIN)/python tests/mutants.py

docs: install  # with the notebooks, executed: some minutes
	NOTEBOOKS=1 $(BIN)/mkdocs build --strict

gfootball: $(GFOOTBALL_INSTALLED)

# Without its dependencies: those that it names are not needed, and pull in an old gym. OpenCV may be there in another variant.
$(GFOOTBALL_INSTALLED): $(GFOOTBALL_BUILD)/.built | $(INSTALLED)
	$(BIN)/python -c "import cv2" 2>/dev/null || $(BIN)/python -m pip install --quiet opencv-python-headless
	$(BIN)/python -m pip install --quiet absl-py six
	$(BIN)/python -m pip install --quiet --no-deps --force-reinstall $(GFOOTBALL_BUILD)/gfootball-*.whl
	$(BIN)/python -c "import gfootball_engine"
	touch $@

# About six minutes of one core. The system's Python must be the only one in sight of CMake, and nothing of this make of that one.
$(GFOOTBALL_BUILD)/.built: | $(INSTALLED)
	@for python in $(SYSTEM_PYTHON) $(BIN)/python; do \
		$$python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
			|| { echo "$(GFOOTBALL) needs Python 3.11, as on Debian 12. Received: $$python, `$$python -V 2>&1`"; exit 1; }; \
	done
	@missing=; for package in $(GFOOTBALL_PACKAGES); do \
		dpkg-query --show --showformat='$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed \
			|| missing="$$missing $$package"; \
	done; \
	test -z "$$missing" || { \
		echo "$(GFOOTBALL) is compiled, and Debian packages are missing for that:$$missing. Install them first, as root:"; \
		echo "apt-get install -y --no-install-recommends$$missing"; exit 1; }
	rm -rf $(GFOOTBALL_BUILD)
	$(SYSTEM_PYTHON) -m venv $(GFOOTBALL_BUILD)/venv
	cd $(GFOOTBALL_BUILD) && export PATH="$$PWD/venv/bin:/usr/bin:/bin" && unset MAKEFLAGS MAKELEVEL MFLAGS \
		&& python3 -m pip install --quiet 'setuptools<81' wheel psutil \
		&& python3 -m pip wheel --no-build-isolation --no-deps --wheel-dir . $(GFOOTBALL)
	touch $@

clean:
	rm -rf .venv runs build site *.egg-info
