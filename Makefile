# The two commands of the README: `make run` and `make test`. Everything goes into .venv; nothing outside it is touched.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := constraints.txt
ONCE ?=

.PHONY: install run test check bench system-deps clean

# Only what is needed to work with it: afterwards .venv/bin/headrace --help.
install: $(VENV)/.run

run: $(VENV)/.run
	$(BIN)/headrace demo $(if $(ONCE),--once)

test: $(VENV)/.test
	$(BIN)/python -m tests.everything

check: $(VENV)/.test
	$(BIN)/python -m tests.everything --static

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks.run

# As root, on Debian or Ubuntu: what a few tests need and pip cannot bring.
system-deps:
	apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends chromium mosquitto mosquitto-clients podman runc

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/pip
	$(BIN)/pip install -q --disable-pip-version-check -c $(CONSTRAINTS) -e '.[all]'
	touch $@

$(VENV)/.test: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/pip
	$(BIN)/pip install -q --disable-pip-version-check -c $(CONSTRAINTS) -e '.[all,test]'
	touch $@ $(VENV)/.run

clean:
	rm -rf $(VENV) build dist *.egg-info
