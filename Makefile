# `make demo` and `make test` do all the set-up first; see .ci/bootstrap.
.PHONY: help demo test fuzz races features bench lint clean

EXAMPLES = 500
STARTS = 200

help:
	@echo "make demo      a container over this machine's own root, and what it changed"
	@echo "make test      the whole test suite (PYTEST_ARGS='-k whiteout' for a part)"
	@echo "make fuzz      random calls beside kernel overlayfs (EXAMPLES=500 rounds), many processes, every fault"
	@echo "make races     attacks that race with a start, and containers killed at random (STARTS=200 times each)"
	@echo "make features  tests of the mount without each feature of the kernel's FUSE in turn (an hour)"
	@echo "make bench     measure beside other unions, and write docs/performance.md (BENCH_ARGS='--quick walk' for a part)"
	@echo "make lint      ruff, mypy --strict, import directions"
	@echo "make clean     remove .venv and all caches of this checkout"

demo:
	@.ci/bootstrap demo
	@docs/demo.sh

test:
	@.ci/bootstrap test
	@.venv/bin/python -m pytest $(PYTEST_ARGS)

fuzz:
	@.ci/bootstrap test
	@PYUNION_FUZZ_EXAMPLES=$(EXAMPLES) .venv/bin/python -m pytest tests/differential tests/concurrency tests/faults tests/unit/fuse \
	    tests/fuse/test_passthrough.py -o timeout=0 $(PYTEST_ARGS)

races:
	@.ci/bootstrap test
	@PYUNION_TEST_RACES=$(STARTS) PYUNION_TEST_STARTS=$(STARTS) .venv/bin/python -m pytest -m race -o timeout=0 $(PYTEST_ARGS)

features:
	@.ci/bootstrap test
	@for what in $$(.venv/bin/python -m tests.support.lesser_fuse); do \
	    echo "without $$what"; \
	    PYUNION_TEST_REFUSE=$$what .venv/bin/python -m pytest -q -m "not slow" tests/fuse tests/semantics $(PYTEST_ARGS) || exit 1; \
	done

bench:
	@.ci/bootstrap bench
	@.venv/bin/python -m bench $(or $(BENCH_ARGS),--write)

lint:
	@.ci/bootstrap test
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
