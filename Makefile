# `make demo` and `make test` do all the set-up first; see .ci/bootstrap.
.PHONY: help demo test fuzz lint clean

EXAMPLES = 500

help:
	@echo "make demo    a container over this machine's own root, and what it changed"
	@echo "make test    the whole test suite (PYTEST_ARGS='-k whiteout' for a part)"
	@echo "make fuzz    random calls beside kernel overlayfs (EXAMPLES=500 rounds), many processes, every fault"
	@echo "make lint    ruff, mypy --strict, import directions"
	@echo "make clean   remove .venv and all caches of this checkout"

demo:
	@.ci/bootstrap demo
	@docs/demo.sh

test:
	@.ci/bootstrap test
	@.venv/bin/python -m pytest $(PYTEST_ARGS)

fuzz:
	@.ci/bootstrap test
	@PYUNION_FUZZ_EXAMPLES=$(EXAMPLES) .venv/bin/python -m pytest tests/differential tests/concurrency tests/faults -o timeout=0 $(PYTEST_ARGS)

lint:
	@.ci/bootstrap test
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
