# The two commands: `make demo` and `make test`. Nothing is needed but python3 (3.10 to 3.13), make, cmake and a C++
# compiler; `make help` lists the rest. All set-up is in scripts/bootstrap.py.

PYTHON ?= python3
VENV ?= .venv
SOURCE ?= sample
ARGS ?=

BOOTSTRAP = @command -v $(PYTHON) >/dev/null || \
	{ echo "error: $(PYTHON) is missing: install the Debian package python3" >&2; exit 1; }; \
	$(PYTHON) scripts/bootstrap.py --venv $(VENV)
RUN = VENV=$(VENV) scripts/with_env

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint format types bench bench-training soak doctor setup assemble clean distclean

help:  ## Show this list
	@echo "make demo [SOURCE=sample|live|FILE]   perceive the bundled sample, the camera and microphone, or a file"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / && $$1 != "demo" { printf "make %-33s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Settings: PYTHON=python3.12  VENV=.venv  ARGS='more arguments for the command'"

demo:  ## (see above)
	$(BOOTSTRAP) demo
	@$(RUN) python -m emollama_ros.cli demo --source '$(SOURCE)' $(ARGS)

test:  ## Run all tests (the first time this installs torch for CPU)
	$(BOOTSTRAP) test
	@$(RUN) python -m pytest -q $(ARGS)

lint:  ## Check style
	$(BOOTSTRAP) dev
	@$(RUN) ruff check $(ARGS) .
	@$(RUN) ruff format --check $(ARGS) .

format:  ## Correct style where that can be done automatically
	$(BOOTSTRAP) dev
	@$(RUN) ruff check --fix .
	@$(RUN) ruff format .

types:  ## Check types
	$(BOOTSTRAP) dev
	@$(RUN) mypy $(ARGS)

bench:  ## Measure latencies, age, CPU use and memory; write benchmark/results/*.json
	$(BOOTSTRAP) demo
	@$(RUN) python -m benchmark $(ARGS)

bench-training:  ## Measure training against a straightforward loop, on generated clips
	$(BOOTSTRAP) test
	@$(RUN) python -m benchmark training $(ARGS)

soak:  ## Two hours of stream time through the running node, in about 14 minutes: memory, threads, files, losses
	$(BOOTSTRAP) demo
	@$(RUN) python -m benchmark.soak $(ARGS)

doctor:  ## Report ROS 2, engines, devices and the model bundle
	$(BOOTSTRAP) setup
	@$(RUN) python -m emollama_ros.cli doctor $(ARGS)

setup:  ## Only make the environment, with ROS 2 and our messages
	$(BOOTSTRAP) setup

assemble:  ## Also fetch and assemble the language model and the speech model
	$(BOOTSTRAP) assemble

clean:  ## Delete what was built and cached, but keep the environment
	rm -rf build install log dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean  ## Delete the environment too
	@test ! -e $(VENV) || test -e $(VENV)/.made-by-emollama-bootstrap || \
		{ echo "error: $(VENV) was not made by this Makefile; not deleted" >&2; exit 1; }
	rm -rf $(VENV) .bootstrap.lock
