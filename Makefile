# Two commands: `make demo` and `make test`. Both install what they need into .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

# pip compiles on one core; what cannot be compiled is no module that anything imports.
define install
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --editable "$(1)"
	$(BIN)/python -m compileall -q -j 0 -x '/tests?/' .venv/lib >/dev/null || true
endef

.PHONY: demo test torture style lint clean

demo: .venv/installed
	$(BIN)/deepsight ablate demo --out runs/demo

test: .venv/installed-dev style
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# The tests of what may go wrong, for longer: 100 kills instead of five, and so on. About 16 minutes on two cores.
torture: .venv/installed-dev
	DEEPSIGHT_TORTURE=1 $(BIN)/python -m pytest tests/faults -n 2 --dist loadfile

style: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lint: style
	$(BIN)/mypy

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(call install,.)
	touch $@

.venv/installed-dev: pyproject.toml
	$(PYTHON) -m venv .venv
	$(call install,.[dev])
	touch $@ .venv/installed

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
