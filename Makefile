# The commands of the README: `make demo`, `make test`, `make docs`. All can be run again at any time.
PYTHON ?= python3

.PHONY: demo docs test

demo: .venv/.ready
	.venv/bin/marrowscope classify samples/cells --um-per-px 0.086 --output demo --overwrite

docs: .venv-docs/.ready
	.venv-docs/bin/python -m mkdocs build --strict
	@echo "The documentation: site/index.html"

test: .venv-test/.ready
	.venv-test/bin/ruff format --check .
	.venv-test/bin/ruff check .
	.venv-test/bin/mypy
	OMP_NUM_THREADS=1 .venv-test/bin/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile

.venv/.ready: EXTRAS =
.venv-docs/.ready: EXTRAS = [docs,web]
.venv-test/.ready: EXTRAS = [train,data,fast,slides,web,postgres,stores,scale,docs,dev]
.venv/.ready .venv-docs/.ready .venv-test/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "marrowscope needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.$(EXTRAS)'
	@touch $@
