# Two commands: `make serve` starts localphi, `make test` runs everything CI runs.
# Both make .venv and install what they need; run again they are quick.

PYTHON ?= python3
BIN := .venv/bin
PAGE_SOURCES := $(shell find static -type f -not -path '*/node_modules/*' -not -path '*/dist/*')
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: help serve test check check-python check-page test-page test-python browser clients vectors docs pictures clean

help:
	@echo "make serve    install, build the page, serve it on http://localhost:8000 and open it"
	@echo "make test     install everything and run every check and test that CI runs"
	@echo "make clean    remove .venv and everything built"

serve: .venv/.installed
	$(BIN)/localphi serve --open

test: .venv/.installed-for-tests
	$(MAKE) -j4 browser clients check
	$(MAKE) test-page test-python
	@echo "localphi: all checks and tests passed"

check: check-python check-page

check-python: .venv/.installed-for-tests
	@echo "localphi: ruff, mypy"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check-page: .venv/.installed-for-tests
	@echo "localphi: tsc, eslint, prettier"
	$(BIN)/python static/npm.py run check

test-page: .venv/.installed-for-tests
	@echo "localphi: vitest"
	$(BIN)/python static/npm.py test

test-python: .venv/.installed-for-tests browser clients
	@echo "localphi: pytest"
	$(BIN)/pytest

browser: .venv/.installed-for-tests
	$(BIN)/python tests/browser/find_browser.py --install

clients: .venv/.installed-for-tests
	$(BIN)/python tests/real_clients.py --install

vectors: .venv/.installed-for-tests
	$(BIN)/python tests/vectors/make.py

docs: .venv/.installed-for-tests
	$(BIN)/python tests/support_table.py

pictures: .venv/.installed-for-tests browser
	PYTHONPATH=webapp:tests:tests/browser $(BIN)/python tests/browser/screenshots.py

clean:
	rm -rf .venv .venv-clients build dist static/dist static/node_modules tests/conformance/js/node_modules tests/output

.venv/bin/python:
	@echo "localphi: making .venv"
	$(PYTHON) -m venv .venv

.venv/.installed: .venv/bin/python pyproject.toml hatch_build.py $(PAGE_SOURCES)
	@echo "localphi: installing (about a minute the first time)"
	$(PIP) --editable .
	@touch $@

.venv/.installed-for-tests: .venv/bin/python pyproject.toml hatch_build.py $(PAGE_SOURCES)
	@echo "localphi: installing with everything the tests need (some minutes the first time: PyTorch, Ray, Semantic Kernel)"
	$(PIP) --editable '.[agents,openvino,ray,toolchain,test]'
	@touch $@ .venv/.installed
