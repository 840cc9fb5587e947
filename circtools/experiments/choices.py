"""Which hyper-parameters the trials choose, on validation alone, and which runs have them."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

from circtools.experiments.methods import CONTROL_LEVELS, METHODS, ROUNDS_AT, tuned_as

TRIAL_PRESET = "small"  # whose choices serve every size, as multiples of its own base values

SLIGHT = "slight"  # the preset of claim 3's own test, which has its own choice
SLIGHT_ROUNDS = 3
SLIGHT_TRIED = 3  # seeds whose chains try all its rates


class HparamScale(NamedTuple):
    """Hyper-parameters as multiples of a preset's base values."""

    lr: float = 1.0
    dropout: float = 1.0
    matrix_lr: float = 1.0  # Multi30k: of the Transformer layers' matrices, on top of ``lr``


SCALES = ["lr_factor", "dropout_factor", "matrix_lr_scale"]  # the same as columns
TRIED_BLOCK_SIZES = (1, *CONTROL_LEVELS)
TRIED_ROUNDS = (0, *(ROUNDS_AT[b] for b in CONTROL_LEVELS))
LEVEL_COLUMNS = ["block_size", "round"]
POSTER_ROUNDS = 15
STRUCTURE = ["task", "preset", "data", "method", "layers", "pixels", "block_size", "round"]


def chosen_rates(table: pd.DataFrame) -> pd.DataFrame:
    """Return, for each structure, the learning rate with the lowest validation error.

    Pruned networks have two choices, one for the rounds 1 to 15 (the poster's, up to 34x) and one
    for the later ones, by the mean validation error over those rounds; single rounds are too noisy
    to choose by. The table has rows of :func:`.results.load`, those of the series ``search`` among
    them; there is a row per structure, with the columns :data:`STRUCTURE`, ``lr`` and
    ``val_error``.
    """
    search = table[(table["series"] == "search") & (table["task"] == "mnist")].copy()
    search["score"] = search["val_error"].fillna(1.0)  # a trial that diverged is never chosen
    search["late"] = search["round"] > POSTER_ROUNDS
    stretch = [c for c in STRUCTURE if c != "round"] + ["late"]
    scores = search.groupby([*stretch, "lr"], as_index=False)["score"].mean()
    best = scores.loc[scores.groupby(stretch)["score"].idxmin()]
    rounds = search[[*STRUCTURE, "late"]].drop_duplicates()
    chosen = rounds.merge(best, on=stretch).rename(columns={"score": "val_error"})
    return chosen.sort_values(STRUCTURE)[[*STRUCTURE, "lr", "val_error"]].reset_index(drop=True)


def chosen_scales(table: pd.DataFrame, preset: str = TRIAL_PRESET) -> dict[str, HparamScale]:
    """Return, for each method of Multi30k, the factors with the lowest validation loss.

    They are factors of the preset's base learning rate and dropout; the loss is the mean over the
    compressions that were tried, 4 and 16 (rounds 6 and 12 of pruning). What is fine-tuned is
    chosen by its trials. What is trained from scratch is chosen by complete runs, since short ones
    prefer higher rates and less dropout; until there are any, by the trials of the learning rate.
    A method without trials of its own has those of the one that it is tuned as.

    Other presets take the choice of :data:`TRIAL_PRESET`, unless a setting tried there as well, at
    the same compressions, is better there. :data:`SLIGHT` has :func:`slight_scales`.
    """
    if preset == SLIGHT:
        return slight_scales(table)
    rows = table[(table["task"] == "multi30k") & ~table["tied"].astype(bool)
                 & table["block_size"].isin(TRIED_BLOCK_SIZES) & table["round"].isin(TRIED_ROUNDS)]
    rows = rows.assign(val_loss=rows["val_loss"].fillna(math.inf))  # diverged: never chosen
    rows = rows.drop_duplicates(["preset", "run", *LEVEL_COLUMNS])  # of a row in several series
    search = rows["series"] == "search"
    complete = ~search & (rows["seed"] == 0) & rows["start_factors"].isna()
    found: dict[str, HparamScale] = {}
    for method, trials in rows[search & (rows["preset"] == TRIAL_PRESET)].groupby("method"):
        from_scratch = trials["start_factors"].isna().all()
        levels = trials[LEVEL_COLUMNS].drop_duplicates()
        decisive = rows[(complete if from_scratch else search) & (rows["method"] == method)]
        decisive = decisive.merge(levels)
        best = _best(trials[trials["dropout_factor"] == 1], len(levels))
        home = decisive[decisive["preset"] == TRIAL_PRESET]
        # Complete runs decide once this first guess is among them.
        if best and (home[SCALES] == list(best)).all(axis=1).sum() == len(levels):
            best = _best(home, len(levels))
        if best and preset != TRIAL_PRESET:
            best = _best_there(decisive[decisive["preset"] == preset], best)
        if best:
            found[method] = best
    return {method: found[tuned_as(method)] for method in METHODS if tuned_as(method) in found}


def slight_scales(table: pd.DataFrame) -> dict[str, HparamScale]:
    """Return the best factors of each method of claim 3's own test, over its rounds and seeds."""
    rows = table[(table["preset"] == SLIGHT) & (table["seed"] < SLIGHT_TRIED)]
    rows = rows.drop_duplicates(["run", *LEVEL_COLUMNS])  # of a row in several series
    rows = rows.assign(val_loss=rows["val_loss"].fillna(math.inf))
    losses = rows.groupby(["method", *SCALES])["val_loss"].mean()
    return {method: _plain(of_one.droplevel("method").idxmin())
            for method, of_one in losses.groupby("method")}


def _best(tried: pd.DataFrame, levels: int) -> HparamScale | None:
    """Return the factors with the lowest mean loss, of those that were tried at all levels."""
    losses = tried.groupby(SCALES)["val_loss"].agg(["mean", "size"])
    losses = losses.loc[losses["size"] == levels, "mean"]
    return _plain(losses.idxmin()) if len(losses) else None


def _plain(factors: Iterable[float]) -> HparamScale:
    """Return factors of a table without numpy's own type, which no checkpoint can be read with."""
    return HparamScale(*map(float, factors))


def _best_there(tried: pd.DataFrame, lent: HparamScale) -> HparamScale:
    """Return the best factors of those tried at one preset, if the lent ones are among them."""
    settings = tried[SCALES].drop_duplicates()
    if lent not in set(settings.itertuples(index=False, name=None)):
        return lent
    shared = tried.groupby(LEVEL_COLUMNS).filter(lambda level: len(level) == len(settings))
    return _best(shared, len(shared[LEVEL_COLUMNS].drop_duplicates())) or lent


def tuned_classifiers(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of MNIST that were trained with their structure's chosen learning rate."""
    # Runs that also compress the output layer, and controls, have no trials of their own: they
    # take the choice of the structure they extend.
    key = [c for c in STRUCTURE if c != "layers"]
    final = table[(table["series"] != "search") & (table["task"] == "mnist")]
    structure = final[key].replace({"method": {"finetune_control": "pruned"}})
    dense = structure.assign(method="dense", pixels="natural", block_size=1, round=0)
    rates = chosen_rates(table).set_index(key)["lr"]
    own, of_start = (rates.reindex(pd.MultiIndex.from_frame(of)).array for of in (structure, dense))
    return final[(final["lr"] == own)
                 & (final["start_lr"].isna() | (final["start_lr"] == of_start))]


def tuned_transformers(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of Multi30k that were trained with their method's chosen factors."""
    final = table[(table["task"] == "multi30k") & (table["series"] != "search")
                  & (table["tied"] == False)]  # noqa: E712 - a column of objects
    chosen = {preset: chosen_scales(table, preset) for preset in final["preset"].unique()}

    def is_tuned(row: Any) -> bool:
        own = chosen[row.preset].get(row.method)
        started_right = not isinstance(row.start_factors, tuple) or \
            row.start_factors == chosen[row.preset].get("dense")
        return (row.lr_factor, row.dropout_factor, row.matrix_lr_scale) == own and started_right

    tuned = pd.Series([is_tuned(row) for row in final.itertuples()], final.index, dtype=bool)
    return final[tuned]


TUNED = {"mnist": tuned_classifiers, "multi30k": tuned_transformers}  # by task
