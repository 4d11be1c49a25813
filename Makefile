# qemu-lab from a fresh clone: `make run`, `make test`. All set-up is done here, on Debian and Ubuntu.
# Nothing but the one-time installation of system packages needs root.

SCENARIO ?= brk
ARGS ?=
VENV := .venv
# Guests side by side in the tests: one for each processor, up to four (each takes 1 GiB).
JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 1); [ $$n -gt 4 ] && n=4; echo $$n)
LAB := $(VENV)/bin/lab
# The newest Python that there is, 3.11 or later.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

.PHONY: run test lint unit browser guest controls bench soak setup packages chromium clean help
.DEFAULT_GOAL := help

help:
	@echo 'make run [SCENARIO=brk] [ARGS=…]   set up, then run a scenario in a guest'
	@echo 'make test                          set up, then lint, types, unit tests, pages in a browser, real guests'
	@echo 'make controls                      every negative control on the oldest and on the newest pair (in `test`: most on one)'
	@echo 'make bench                         boots, commands, builds, measured against bare QEMU and virtme-ng'
	@echo 'make soak                          200 runs in a row and 16 guests at once: nothing may grow'
	@echo 'make clean                         remove .venv and .venv-bench (the cache: lab image prune --all)'

run: $(VENV)/.installed
	@$(LAB) run $(SCENARIO) $(ARGS)

test: lint unit browser guest

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

unit: $(VENV)/.installed-dev
	$(VENV)/bin/python -m pytest -q -n $(JOBS) --dist worksteal tests/unit

browser: $(VENV)/.installed-dev chromium
	LAB_REQUIRE_GUESTS=1 $(VENV)/bin/python -m pytest -q tests/browser

# All pieces first, symbols too (1.2 GiB): what a test waits for is then the guest alone.
guest: $(VENV)/.installed-dev
	$(LAB) image build --all
	$(VENV)/bin/python -m pytest -q -n $(JOBS) --dist worksteal --durations=40 tests/guest

# Each control on both pairs; `guest` has most of them on one.
controls: $(VENV)/.installed-dev
	LAB_ALL_CONTROLS=1 $(VENV)/bin/python -m pytest -q -n $(JOBS) --dist worksteal tests/guest/test_controls.py

bench: $(VENV)/.installed-dev
	$(VENV)/bin/python tests/benchmarks/bench.py $(ARGS)

soak: $(VENV)/.installed-dev
	$(VENV)/bin/python tests/benchmarks/soak.py $(ARGS)

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml | packages
	@$(VENV)/bin/python -m pip --version >/dev/null 2>&1 || { rm -rf $(VENV) && $(call PY) -m venv $(VENV); }
	@echo 'installing qemu-lab into $(VENV) …'
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check -e .
	@$(VENV)/bin/python -m compileall -q orchestrator  # containers often forbid Python to do it when it imports
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo 'installing the development tools into $(VENV) …'
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

# Looked up again when a recipe runs: `packages` may just have installed it.
PY = $$(for p in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

# Installs the packages in $$missing. Without apt it says $(1), and what they are.
comma := ,
INSTALL = test -z "$$missing" && exit 0; \
	echo "missing system packages:$$missing"; \
	command -v apt-get >/dev/null || { echo '$(strip $(1)) Set-up stops here.'; exit 3; }; \
	root=; if [ "$$(id -u)" != 0 ]; then \
	  command -v sudo >/dev/null || { echo "Neither root nor sudo here. As root: apt-get install$$missing"; exit 3; }; \
	  root=sudo; fi; \
	echo "installing them: $$root apt-get install$$missing"; \
	$$root apt-get update -q && $$root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing
NEED = missing=; need() { missing="$$missing $$1"; }

# What the host must have, as the package that brings it.
packages:
	@$(NEED); \
	test -n "$(PYTHON)" || need python3; \
	test -n "$(call PY)" || need python3-venv; \
	command -v gcc >/dev/null || need gcc; \
	command -v setpriv >/dev/null || need util-linux; \
	command -v dpkg-deb >/dev/null || need dpkg; \
	test -x /usr/lib/apt/apt-helper || need apt; \
	test -f /usr/share/keyrings/debian-archive-keyring.gpg || need debian-archive-keyring; \
	test -f /etc/debian_version && grep -qs '^ID=debian' /etc/os-release || test -x /usr/sbin/debootstrap || need debootstrap; \
	test -f /etc/ssl/certs/ca-certificates.crt || need ca-certificates; \
	$(call INSTALL,This system has no apt. Install what gives: Python 3.11 or newer with venv$(comma) gcc$(comma) setpriv \
	  (util-linux 2.33)$(comma) dpkg-deb$(comma) and apt with /usr/lib/apt/apt-helper (the pieces are Debian packages).) && \
	{ test -n "$(call PY)" || { echo 'No Python 3.11 or newer with venv could be found or installed here; set PYTHON=/path/to/python.'; exit 3; }; }

# A browser for tests/browser: Debian's; on other systems the one that Playwright fetches.
chromium: $(VENV)/.installed-dev
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	test -e $(VENV)/.chromium && exit 0; \
	if grep -qs '^ID=debian' /etc/os-release; then \
	  $(NEED); need chromium; test -d /usr/share/fonts/truetype/dejavu || need fonts-dejavu-core; \
	  $(call INSTALL,There is no apt.); \
	else \
	  echo 'there is no chromium: Playwright fetches one'; \
	  $(VENV)/bin/playwright install --with-deps chromium && touch $(VENV)/.chromium || \
	  { echo 'No Chromium here, and Playwright has none for this system. Install one that is found as chromium,'; \
	    echo 'chromium-browser or google-chrome. Set-up stops here.'; exit 3; }; \
	fi

clean:
	rm -rf $(VENV) .venv-bench
