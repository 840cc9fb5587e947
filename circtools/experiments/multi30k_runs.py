"""The Multi30k experiments: their sizes, and which runs there are."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pandas as pd

from circtools.experiments import choices, training
from circtools.experiments.choices import SLIGHT, SLIGHT_ROUNDS, TRIAL_PRESET, HparamScale
from circtools.experiments.methods import CONTROL_LEVELS, METHODS, ROUNDS_AT, tuned_as
from circtools.experiments.runs import SEARCH_SEEDS, Run
from circtools.experiments.store import Store

UNTUNED_BLOCK_SIZES = (4, 16, 32)  # of the series "same", with the dense hyper-parameters
FULL_SEEDS = 3  # seeds of everything; further ones only for claim 3's first test
EXTRA_SEED_ROUNDS = {"pruned": 3, "finetune_control": 3}  # rounds that these have then
TRIAL_EPOCHS = 4  # from scratch, or of fine-tuning
TRIAL_ROUNDS = 12
TRIAL_STRIDE = 2  # rounds that a trial prunes at once, and one epoch of fine-tuning after them
RATES = {"from scratch": (1.0, 2.0, 4.0, 8.0),  # multiples of the base learning rate
         "fine-tuning": (0.5, 1.0, 2.0, 4.0)}
SLIGHT_RATES = (0.25, 0.5, 1.0)  # of fine-tuning, in claim 3's own test
HALF_DROPOUT = ("block_circulant", "gradual")  # also have it, at the control levels and all seeds
MATRIX_LR_SCALE = 4.0  # tried for the Transformer layers' matrices alone
BASE = HparamScale()


@dataclass(frozen=True)
class Recipe(training.Recipe):
    """How a Transformer is trained; chosen on the validation split."""

    epochs: int = 20
    lr: float = 1e-3
    warmup: float = 0.1
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float | None = 1.0
    average: int = 5
    matrix_lr_scale: float = 1.0  # that of the Transformer layers' matrices, as a multiple of lr
    batch_tokens: int = 1_000  # target tokens in a batch, padding counted
    smoothing: float = 0.1  # of the labels


@dataclass(frozen=True)
class Preset:
    """A size of the Multi30k experiments."""

    layers: int
    d_model: int
    heads: int
    feed_forward: int
    dropout: float
    recipe: Recipe = field(default_factory=Recipe)
    block_sizes: tuple[int, ...] = (*ROUNDS_AT, 64, 128)
    rounds: int = 15
    finetune_epochs: int = 2  # after each round of pruning

    @property
    def sizes(self) -> dict[str, Any]:
        """The arguments of the model's ``Config`` that give its size."""
        names = ("layers", "d_model", "heads", "feed_forward")
        return {name: getattr(self, name) for name in names}


SMALL = Preset(2, 128, 4, 512, dropout=0.2, recipe=Recipe(lr=2e-3))
PRESETS = {
    "tiny": Preset(1, 64, 4, 256, dropout=0.1, recipe=Recipe(epochs=8, lr=4e-3, average=1)),
    "small": SMALL,
    # Claim 3's own test: a training and a round both average over the last two epochs.
    SLIGHT: replace(SMALL, recipe=replace(SMALL.recipe, average=2), rounds=SLIGHT_ROUNDS),
    "base": Preset(3, 256, 8, 1024, dropout=0.3),
    "large": Preset(6, 512, 8, 2048, dropout=0.4, recipe=Recipe(lr=5e-4)),
}


def plan(preset: str, seeds: int, kept: Store, table: pd.DataFrame,
         methods: Sequence[str] = ()) -> list[list[Run]]:
    """Return the runs in stages; each stage needs the results of those before it.

    First the dense networks; then, if any other method is asked for, the :func:`trials`; then, with
    what was chosen from the table of results, the rest. Seeds after the first :data:`FULL_SEEDS`
    have only the untied dense networks (without other methods, the tied ones) and the first rounds
    of pruning and of its control. The preset :data:`SLIGHT` takes the methods that prune.
    """
    if preset == SLIGHT:
        return _slight(seeds, kept, table, [m for m in methods if METHODS[m].prunes])
    only_dense = set(methods) <= {"dense"}
    tied = range(seeds if only_dense else min(seeds, FULL_SEEDS))
    stages = [[dense(preset, seed, tied=True) for seed in tied]]
    if only_dense:
        return stages
    stages += [[dense(TRIAL_PRESET, 0)], *trials(preset, methods, kept, table)]
    if any(map(kept.missing, stages[1:])):
        return stages
    chosen = choices.chosen_scales(table, preset)
    stages.append([dense(preset, seed, chosen["dense"]) for seed in range(seeds)])
    stages.append([dense(preset, seed) for seed in range(seeds)])  # the series "same"
    final = [run for seed in range(seeds) for method in methods
             if seed < FULL_SEEDS or method in EXTRA_SEED_ROUNDS
             for run in _of_method(method, preset, seed, chosen)]
    stages.append(list(dict.fromkeys(final)))
    return stages


def _slight(seeds: int, kept: Store, table: pd.DataFrame, methods: Sequence[str]
            ) -> list[list[Run]]:
    """Return the runs of claim 3's test in stages; each method's first seeds choose its rate."""
    starts = [dense(SLIGHT, seed) for seed in range(seeds)]

    def chains(begun: Sequence[Run], rates: dict[str, Sequence[float]]) -> list[Run]:
        return [_run(SLIGHT, method, start.seed, HparamScale(lr), start=start,
                     rounds=PRESETS[SLIGHT].rounds)
                for start in begun for method in methods for lr in rates[method]]

    stages = [starts, chains(starts[:choices.SLIGHT_TRIED], dict.fromkeys(methods, SLIGHT_RATES))]
    if not any(map(kept.missing, stages)):
        best = choices.slight_scales(table)
        stages.append(chains(starts, {method: [best[method].lr] for method in methods}))
    return stages


def _of_method(method: str, preset: str, seed: int, chosen: dict[str, HparamScale]) -> list[Run]:
    """Return the final runs of a method with one seed."""
    kind, p = METHODS[method], PRESETS[preset]
    own = partial(_run, preset, method, seed, chosen[method])
    more = {"start": dense(preset, seed, chosen["dense"])} if kind.fine_tunes else {}
    if method == "dense":
        return []
    if kind.prunes:
        rounds = p.rounds if seed < FULL_SEEDS else EXTRA_SEED_ROUNDS[method]
        return [own(rounds=rounds, **more)]
    half = [_run(preset, method, seed, chosen[method]._replace(dropout=0.5), block_size=b)
            for b in CONTROL_LEVELS if preset == TRIAL_PRESET and method in HALF_DROPOUT]
    if kind.at_control_levels:
        return [*(own(block_size=b, **more) for b in CONTROL_LEVELS), *half]
    sizes = (*(b for b in p.block_sizes if b < p.d_model), p.d_model)  # the last: fully circulant
    return [*(own(block_size=b) for b in sizes), *half,
            *(_run(preset, method, seed, BASE, block_size=b) for b in UNTUNED_BLOCK_SIZES)]


def _run(preset: str, method: str, seed: int, scale: HparamScale, **more: Any) -> Run:
    base = PRESETS[preset]
    return Run("multi30k", preset, method, seed=seed, lr=scale.lr * base.recipe.lr,
               dropout=scale.dropout * base.dropout, matrix_lr_scale=scale.matrix_lr,
               **{"tied": False, **more})


def dense(preset: str, seed: int, scale: HparamScale = BASE, tied: bool = False) -> Run:
    """Return the run of a dense network."""
    return _run(preset, "dense", seed, scale, tied=tied)


def trials(preset: str, methods: Sequence[str], kept: Store, table: pd.DataFrame
           ) -> list[list[Run]]:
    """Return the trials of each method's hyper-parameters, in stages; each needs those before it.

    The same settings for each method, at two compressions, at the size :data:`TRIAL_PRESET`. First
    learning rates are tried in short trainings. Second, a higher rate of the Transformer layers'
    matrices alone; last, half the dropout with the best of all these.

    From scratch a short trial is but a first guess: a network that has not begun to overfit prefers
    higher rates and less dropout than it would in the end. So there the second and the third stage
    are complete runs, which are kept, the base values and the first guess among them.

    At any other size, what was chosen is then tried against the base values.
    """
    methods = list(dict.fromkeys(map(tuned_as, ("dense", *methods))))
    scratch = [method for method in methods if not METHODS[method].fine_tunes]
    trial = partial(_trial, TRIAL_PRESET)
    stages = [[run for method in methods
               for lr in RATES["from scratch" if method in scratch else "fine-tuning"]
               for run in trial(method, HparamScale(lr), complete=False)]]
    if kept.missing(stages[0]):
        return stages
    full = table[table["dropout_factor"] == 1]
    first = choices.chosen_scales(full[full["series"] == "search"])
    stages.append([run for method in methods for scale in dict.fromkeys(
                       [BASE, first[method], HparamScale(matrix_lr=MATRIX_LR_SCALE)])
                   for run in trial(method, scale, complete=method in scratch)])
    if kept.missing(stages[1]):
        return stages
    best = choices.chosen_scales(full)
    stages.append([run for method in methods
                   for run in trial(method, best[method]._replace(dropout=0.5),
                                    complete=method in scratch)])
    if preset == TRIAL_PRESET or kept.missing(stages[2]):
        return stages
    lent = choices.chosen_scales(table)
    for complete in (True, False):  # what is fine-tuned starts from the dense network
        stages.append([run for method in methods if (method in scratch) == complete
                       for scale in dict.fromkeys([BASE, lent[method]])
                       for run in _trial(preset, method, scale, complete)])
    return stages


def _trial(preset: str, method: str, scale: HparamScale, complete: bool = True) -> list[Run]:
    """Return the runs that try one setting of a method."""
    kind = METHODS[method]
    more: dict[str, Any] = {"rounds": TRIAL_ROUNDS} if kind.prunes else {}
    if kind.fine_tunes:
        more["start"] = dense(preset, 0)
    stage, seed = ("final", 0) if complete else ("search", SEARCH_SEEDS[0])
    levels = (1,) if method == "dense" or kind.prunes else CONTROL_LEVELS
    return [_run(preset, method, seed, scale, stage=stage, block_size=b, **more) for b in levels]


def epochs(run: Run) -> tuple[int, int]:
    """Return the epochs before a run starts (of the network it starts from), and its own."""
    p = PRESETS[run.preset]
    before = p.recipe.epochs if run.start else 0
    if run.stage == "search":
        return before, run.rounds // TRIAL_STRIDE or TRIAL_EPOCHS
    if METHODS[run.method].prunes:
        return before, run.rounds * p.finetune_epochs
    longer = METHODS[run.method].longer
    more = ROUNDS_AT.get(run.block_size, 0) * p.finetune_epochs if longer else 0
    return before, more + (0 if run.start else p.recipe.epochs)


DEMO = Store().path(dense("small", 0, tied=True)).with_suffix(".pt")
