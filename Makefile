# The commands of the README: `make demo`, `make test`, `make docs`. All can be run again at any time.
# While you work: `make check`, the quick part of `make test`.
# For releases: `make dist`, `make sbom`, and `make audit`, which asks the network.
PYTHON ?= python3

.PHONY: demo docs test check dist audit sbom

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

UNIT = augment calibration case differential heatmap images intervals layers me_ratio metrics names preprocess \
  properties_bundle properties_metrics reference_ranges scores selective split taxonomy thresholds web_cache wording

check: .venv-test/.ready
	.venv-test/bin/ruff format --check .
	.venv-test/bin/ruff check .
	.venv-test/bin/mypy
	OMP_NUM_THREADS=1 .venv-test/bin/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile $(UNIT:%=tests/test_%.py)

dist: .venv-test/.ready
	rm -rf dist
	.venv-test/bin/python -m hatchling build -d dist
	.venv-test/bin/twine check --strict dist/*

sbom: .venv/.ready .venv-test/.ready
	.venv-test/bin/python tools/sbom.py .venv/bin/python dist/sbom.cdx.json

audit: .venv-audit/.ready
	.venv-audit/bin/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

.venv-audit/.ready:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet 'pip-audit==2.10.1'
	@touch $@

.venv/.ready: EXTRAS =
.venv-docs/.ready: EXTRAS = [docs,web]
.venv-test/.ready: EXTRAS = [train,data,fast,slides,web,postgres,stores,scale,sign,docs,dev]
.venv/.ready .venv-docs/.ready .venv-test/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "marrowscope needs Python 3.11 or newer; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.$(EXTRAS)'
	@touch $@
