# make help lists what there is. Every target installs what it needs into .venv first.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed
MADE_IN := $(shell cat $(READY) 2>/dev/null)
STARTUP := .venv/etc/ipython/startup/first_cell.py
LAB = $(BIN)/jupyter lab --LabApp.app_settings_dir=notebooks/exercises/lab \
	--ContentsManager.hide_globs=exercises --ContentsManager.hide_globs=__pycache__
SPHINX = $(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going -d build/doctrees
TWO = OMP_NUM_THREADS=1  # two processes: more threads would wait for each other
OPEN = @echo "The site is in build/site: open file://$(CURDIR)/build/site/index.html in a browser"

help: ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

venv: $(READY) ## only install the pinned requirements and circtools into .venv

ifneq ($(MADE_IN),$(CURDIR))
.PHONY: $(READY)  # a copied or moved .venv runs the code of the folder that it was made in
endif

$(READY): requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	@[ -z "$(MADE_IN)" ] || [ "$(MADE_IN)" = "$(CURDIR)" ] || { \
		echo "This .venv was made in $(MADE_IN): making it anew ..."; $(PYTHON) -m venv --clear .venv; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	@echo "Installing the pinned requirements into .venv (a few minutes the first time) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@echo "$(CURDIR)" > $@

course: $(READY) ## set up, get the data, execute all notebooks, draw the figures, build the site
	$(BIN)/circtools data --optional mnist multi30k
	$(BIN)/python notebooks/build.py build
	$(MAKE) figures
	$(SPHINX) -D executed=build notebooks build/site
	$(OPEN)

site: $(READY) ## build the site from the notebooks as they are: seconds, no network
	$(SPHINX) notebooks build/site
	$(OPEN)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint ## a minute: style, types, contract of the imports, and the fast tests
	$(BIN)/python -m pytest -q -m "not slow"

test: lint ## style, types, imports, all tests, and the notebooks through nbval
	$(TWO) $(BIN)/python -m pytest -q -n 2
	$(TWO) $(BIN)/python -m pytest -q -n 2 --dist loadfile --nbval-lax --nbval-current-env --nbval-cell-timeout=300 notebooks

house: $(READY) ## print the sizes that the code is kept to: lines, floors of imports, functions
	$(BIN)/python tests/house.py

prose: $(READY) ## print how easily the notebooks read: words in a sentence and the like
	$(BIN)/python tests/prose.py

# PATIENCE=900 pytest -m slow tests/browser runs the notebooks, too, that take minutes.
browser: site ## test the site and JupyterLab in an installed Chromium or Chrome
	$(TWO) $(BIN)/python -m pytest -q -rs -n 2 -m "not slow" tests/browser

$(STARTUP): notebooks/exercises/first_cell.py $(READY)
	mkdir -p $(@D)
	cp $< $@

lab: $(STARTUP) ## open JupyterLab on the notebooks
	$(LAB) --notebook-dir=notebooks

blank: $(READY) ## make copies without outputs or answers in build/blank, for a class
	$(BIN)/python notebooks/build.py build/blank --blank
	cp -r notebooks/exercises notebooks/glossary.md notebooks/teaching.md notebooks/teaching build/blank

class: $(STARTUP) ## open JupyterLab on build/blank, made first if there is none
	@[ -d build/blank ] || $(MAKE) blank
	$(LAB) --notebook-dir=build/blank

figures: $(READY) ## draw figures/ from data/results
	$(BIN)/circtools figures

poster: $(READY) ## typeset figures/poster.pdf and figures/poster.png from data/results
	$(BIN)/circtools poster

slides: $(READY) ## typeset the slides and the handout for a class from data/results
	$(BIN)/circtools slides

report: $(READY) ## write README.md, RESULTS.md and the quiz from data/results
	$(BIN)/circtools report

experiments: $(READY) ## run every experiment that has no result yet, or resume it
	$(BIN)/circtools data mnist multi30k multi30k-extra
	$(BIN)/circtools run mnist --preset base
	$(BIN)/circtools run multi30k --preset small --seeds 3 --methods all
	$(BIN)/circtools run multi30k --preset base --seeds 3 --methods all

benchmarks: $(READY) ## time the layer and the Transformers; 15 minutes on an idle machine
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps peft==0.21.2
	$(BIN)/python -m circtools.bench.layer
	$(BIN)/python -m circtools.bench.transformers

notebooks: $(READY) ## make the notebooks afresh from their texts, execute and save them
	$(BIN)/python notebooks/build.py build --update

clean: ## remove what make course built (not .venv, not the data, not build/blank)
	rm -rf $(filter-out build/blank,$(wildcard build/*))

.PHONY: help venv course site lint check test house prose browser lab blank class figures poster \
	slides report experiments benchmarks notebooks clean
