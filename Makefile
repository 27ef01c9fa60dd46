# `make demo` runs the teacher-student loop end to end, `make test` runs every test. Both install what is missing.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
.PHONY: install demo test test-quick test-long test-cluster test-cluster-long lint docs bench-peers clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[all,test]'
	$(BIN)/python -m trainer.torchvision_repair
	touch $@

.venv/linted: $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[lint]'
	touch $@

.venv/documented: $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

demo: install
	$(BIN)/tutelage prepare scenes data/scenes-labels --train 800 --val 200 --size 64x96
	$(BIN)/tutelage run configs/scenes-labels/umst-s.yaml
	$(BIN)/tutelage run configs/scenes-labels/umst-ps.yaml
	$(BIN)/tutelage table runs/scenes-labels
	$(BIN)/tutelage picture configs/scenes-labels/umst-s.yaml configs/scenes-labels/mmst.yaml configs/scenes-labels/umst-ps.yaml \
	  --out runs/scenes-labels/demo.png
	$(BIN)/tutelage report runs/scenes-labels --out runs/scenes-labels/report.html

# test files in parallel (tests/conftest.py has the number); those that start several ranks have one thread each
test: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder

# what starts no process beside pytest's own and trains no network
test-quick: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile -m "not slow and not long and not cluster"

test-long: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "long and not cluster" --timeout 3600

# on two clusters at once: the tests wait for Slurm half of their time
test-cluster: install
	$(BIN)/pytest tests/cluster -m "cluster and not long" -rs --timeout 600 -n 2 --dist load

test-cluster-long: install
	$(BIN)/pytest tests/cluster -m "cluster and long" -rs --timeout 1200

lint: .venv/linted
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# build/site/index.html, and an error for every link or reference that leads nowhere
docs: .venv/documented
	$(BIN)/python docs/site/build.py

# loaders of others, in an environment of their own: .peers/bin/python -m benchmarks.peers
bench-peers:
	$(PYTHON) -m venv .peers
	grep -vE '^(filelock|tzdata)\b' constraints.txt > .peers/constraints.txt  # Energon wants older ones
	.peers/bin/pip install --quiet --constraint .peers/constraints.txt --editable '.[tiles]' --requirement benchmarks/peers/requirements.txt
	.peers/bin/pip install --quiet --no-deps mosaicml-streaming==0.13.0
	.peers/bin/python -m trainer.torchvision_repair

clean:
	rm -rf .venv .peers build *.egg-info .cache .pytest_cache .mypy_cache .ruff_cache
