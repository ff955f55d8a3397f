PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: install demo test lint docs clean

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
	SDL_VIDEODRIVER=dummy MPLBACKEND=agg TF_CPP_MIN_LOG_LEVEL=2 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

docs: install
	$(BIN)/mkdocs build --strict

clean:
	rm -rf .venv runs build site *.egg-info
