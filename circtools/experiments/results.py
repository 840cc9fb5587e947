"""All results as one tidy pandas table, and which hyper-parameters they choose."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from circtools.experiments import store
from circtools.experiments.store import FOLDER

COLUMNS = (
    "task", "preset", "data", "method", "series", "layers", "pixels", "block_size", "round",
    "compression", "compression_all", "compression_model", "file_bytes", "tied", "lr", "start_lr",
    "dropout", "lr_factor", "dropout_factor", "matrix_lr", "start_factors",
    "seed", "val_error", "test_error", "val_loss", "val_bleu", "test_bleu", "test_bleu_low",
    "test_bleu_high", "test_chrf", "epochs", "seconds",
    "device", "commit", "run", "folder",
)


class Factors(NamedTuple):
    """Hyper-parameters as multiples of a preset's base values."""

    lr: float = 1.0
    dropout: float = 1.0
    matrix_lr: float = 1.0  # Multi30k: of the Transformer layers' matrices, on top of ``lr``


FACTORS = ["lr_factor", "dropout_factor", "matrix_lr"]  # the same as columns


def load(folder: Path = FOLDER, data: str | None = "real") -> pd.DataFrame:
    """Return all finished runs as one table, a row a run (a round, for pruning) and series.

    A run trained with the dense hyper-parameters belongs to the series ``same``; one trained with
    the learning rate that was best on validation for its structure, to ``tuned``. One that is
    both gives a row in each. The search runs themselves, which never read the test set, are the
    series ``search``. A complete run of Multi30k whose values were tried and not chosen is in
    ``rejected``, one that diverged in ``diverged``, with no metrics.

    Args:
        folder: where the JSON files are.
        data: ``"real"`` or ``"sample"``, which never stand in one table; None for both.

    Returns:
        A table with the columns :data:`COLUMNS`. ``test_error`` is a fraction, ``compression`` is
        over the compressed layers, ``compression_all`` over all weight matrices but embeddings,
        ``compression_model`` over every parameter. ``epochs`` count from the first weights on,
        ``seconds`` are those of the run itself, without the network it started from. ``folder`` is
        where the run's file, and what lies beside it, was read.
    """
    rows = [row | {"folder": folder} for result in store.read(folder) for row in _rows(result)]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    parts = [_with_series(part) for origin, part in table.groupby("data", sort=False)
             if data in (None, origin)]
    return pd.concat(parts or [_with_series(table[:0])], ignore_index=True)


def _rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a result's rows: one, or one a round (round 0 of a chain is the dense run's row).

    Of what was to come when a run diverged, there are rows without metrics.
    """
    config = result["config"]
    common = {key: config[key] for key in COLUMNS if key in config}
    common |= {"data": result["data"], "device": result["provenance"]["device"],
               "commit": result["provenance"]["commit"], "run": result["run"]}
    factors = _factors(config, config)
    common |= dict(zip(FACTORS, factors, strict=True))
    if config.get("start"):
        common["start_factors"] = _factors(config["start"], config)
    if config["stage"] == "search":
        common["series"] = "search"
    elif factors == Factors() and config["start_lr"] in (None, config["base_lr"]):
        common["series"] = "same"
    finals = {final["round"]: final for final in result["final"]}
    rounds = range(1, config["rounds"] + 1) if config["rounds"] else (0,)
    if "diverged" in result:
        finals = {number: {"round": number} for number in rounds} | finals
    return [common | {key: finals[number][key] for key in COLUMNS if key in finals[number]}
            for number in rounds if number in finals]


def _factors(values: dict[str, Any], config: dict[str, Any]) -> Factors:
    """Return a run's hyper-parameters as multiples of its preset's base values."""
    dropout, base = values.get("dropout"), config.get("base_dropout")
    return Factors(values["lr"] / config["base_lr"], dropout / base if dropout and base else 1.0,
                   values.get("matrix_lr", 1.0))


def select(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    """Return the rows whose columns have these values."""
    for column, value in values.items():
        table = table[table[column] == value]
    return table


def describe(table: pd.DataFrame) -> str:
    """Return one line that says where results come from: runs, seeds, devices, commits."""
    final = table[table["series"] != "search"]
    runs, seeds = final["run"].nunique(), final["seed"].nunique()
    return (f"{runs} run{'s' * (runs > 1)} ({', '.join(final['data'].unique())} data, preset "
            f"{', '.join(final['preset'].unique())}, {seeds} seed{'s' * (seeds > 1)}) on "
            f"{'; '.join(final['device'].unique())}; commit "
            f"{', '.join(sorted({commit[:7] for commit in final['commit']}))}")


POSTER_ROUNDS = 15
STRUCTURE = ["task", "preset", "data", "method", "layers", "pixels", "block_size", "round"]


def choices(table: pd.DataFrame) -> pd.DataFrame:
    """Return, for each structure, the learning rate with the lowest validation error.

    Pruned networks have two choices, one for the rounds 1 to 15 (the poster's, up to 34x) and one
    for the later ones, by the mean validation error over those rounds; single rounds are too
    noisy to choose by.

    Args:
        table: rows of :func:`load`, those of the series ``search`` among them.

    Returns:
        The columns :data:`STRUCTURE`, ``lr`` and ``val_error``, a row a structure.
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


TRIAL_PRESET = "small"  # whose choices serve every size, as factors of its own base values


# Block sizes, and the rounds of pruning that stand against each: 0.79 ** rounds leaves as little.
ROUNDS_AT = {2: 3, 4: 6, 8: 9, 16: 12, 32: 15}
FEW = (4, 16)  # where the controls are measured, and where hyper-parameters are tried
COMPARED = (1, *FEW)
COMPARED_ROUNDS = (0, *(ROUNDS_AT[b] for b in FEW))
LEVEL = ["block_size", "round"]


# Methods without trials of their own, and whose choice they take.
BORROWED = {"pruned_all": "pruned", "random_pruned": "pruned", "unpruned": "pruned",
            "gradual": "dense", "block_circulant_long": "block_circulant",
            "random_sharing": "block_circulant"}


def choices_by_factor(table: pd.DataFrame, preset: str = TRIAL_PRESET) -> pd.DataFrame:
    """Return, for each method of Multi30k, the factors with the lowest validation loss.

    The factors are those of the preset's base learning rate and dropout; the loss is the mean over
    the compressions that were tried, 4 and 16 (rounds 6 and 12 of pruning). What is fine-tuned is
    chosen by its trials. What is trained from scratch is chosen by complete runs, since short ones
    prefer higher rates and less dropout; until there are any, by the trials of the learning rate.

    Other presets take the choice of :data:`TRIAL_PRESET`, unless a setting tried there as well, at
    the same compressions, is better there.

    Returns:
        The columns ``method``, those of :data:`FACTORS` and ``val_loss`` (at the size that has
        chosen them), a row a method.
    """
    rows = table[(table["task"] == "multi30k") & ~table["tied"].astype(bool)
                 & table["block_size"].isin(COMPARED) & table["round"].isin(COMPARED_ROUNDS)]
    rows = rows.assign(val_loss=rows["val_loss"].fillna(math.inf))  # diverged: never chosen
    rows = rows.drop_duplicates(["preset", "run", *LEVEL])  # of a row in several series
    search = rows["series"] == "search"
    complete = ~search & (rows["seed"] == 0) & rows["start_factors"].isna()
    found = []
    for method, trials in rows[search & (rows["preset"] == TRIAL_PRESET)].groupby("method"):
        from_scratch = trials["start_factors"].isna().all()
        levels = trials[LEVEL].drop_duplicates()
        decisive = rows[(complete if from_scratch else search) & (rows["method"] == method)]
        decisive = decisive.merge(levels)
        best = _best(trials[trials["dropout_factor"] == 1], len(levels))
        home = decisive[decisive["preset"] == TRIAL_PRESET]
        # Complete runs decide once this first guess is among them.
        if best and (home[FACTORS] == list(best[:-1])).all(axis=1).sum() == len(levels):
            best = _best(home, len(levels))
        if best and preset != TRIAL_PRESET:
            best = _best_there(decisive[decisive["preset"] == preset], best)
        if best:
            found.append((method, *best))
    return pd.DataFrame(found, columns=["method", *FACTORS, "val_loss"])


def chosen_factors(table: pd.DataFrame, preset: str = TRIAL_PRESET) -> dict[str, Factors]:
    """Return :func:`choices_by_factor` as a dictionary."""
    return {row.method: Factors(row.lr_factor, row.dropout_factor, row.matrix_lr)
            for row in choices_by_factor(table, preset).itertuples()}


def _best(tried: pd.DataFrame, levels: int) -> tuple[float, ...] | None:
    """Return the factors with the lowest mean loss, of those that were tried at all levels."""
    losses = tried.groupby(FACTORS)["val_loss"].agg(["mean", "size"])
    losses = losses.loc[losses["size"] == levels, "mean"]
    return (*losses.idxmin(), losses.min()) if len(losses) else None


def _best_there(tried: pd.DataFrame, lent: tuple[float, ...]) -> tuple[float, ...]:
    """Return the best factors of those tried at one preset, if the lent ones are among them."""
    settings = tried[FACTORS].drop_duplicates()
    if lent[:-1] not in set(settings.itertuples(index=False, name=None)):
        return lent
    shared = tried.groupby(LEVEL).filter(lambda level: len(level) == len(settings))
    return _best(shared, len(shared[LEVEL].drop_duplicates())) or lent


def _tuned_transformers(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of Multi30k that were trained with their method's chosen factors."""
    final = table[(table["task"] == "multi30k") & (table["series"] != "search")
                  & (table["tied"] == False)]  # noqa: E712 - a column of objects
    chosen = {preset: chosen_factors(table, preset) for preset in final["preset"].unique()}

    def is_tuned(row: Any) -> bool:
        own = chosen[row.preset].get(BORROWED.get(row.method, row.method))
        started_right = not isinstance(row.start_factors, tuple) or \
            row.start_factors == chosen[row.preset].get("dense")
        return (row.lr_factor, row.dropout_factor, row.matrix_lr) == own and started_right

    tuned = pd.Series([is_tuned(row) for row in final.itertuples()], final.index, dtype=bool)
    return final[tuned].assign(series="tuned")


def _with_series(table: pd.DataFrame) -> pd.DataFrame:
    """Give every run that uses its structure's chosen learning rate a row in ``tuned``."""
    chosen = choices(table)
    # Runs that also compress the output layer, and the loop that prunes nothing, have no trials
    # of their own: they borrow the choice of the structure they extend.
    key = [c for c in STRUCTURE if c != "layers"]
    final = table[table["series"] != "search"].copy()
    method = final["method"]
    final["method"] = method.replace({"unpruned": "pruned"})
    final["method_of_run"] = method
    tuned = final.merge(chosen[[*key, "lr"]], on=[*key, "lr"])
    dense = chosen.loc[chosen["method"] == "dense", ["task", "preset", "data", "lr"]]
    tuned = tuned.merge(dense.rename(columns={"lr": "dense_lr"}), on=["task", "preset", "data"])
    tuned = tuned[tuned["start_lr"].isna() | (tuned["start_lr"] == tuned["dense_lr"])]
    tuned = tuned.assign(series="tuned", method=tuned["method_of_run"])[table.columns]
    transformers = _tuned_transformers(table)
    rejected = ((table["task"] == "multi30k") & table["series"].isna()
                & ~table["run"].isin(transformers["run"]))
    table = table.assign(series=table["series"].mask(rejected, "rejected"))
    parts = [table[table["series"].notna()], tuned, transformers]
    whole = pd.concat([part for part in parts if len(part)] or [table[:0]], ignore_index=True)
    diverged = whole[["val_error", "val_loss"]].isna().all(axis=1) & (whole["series"] != "search")
    return whole.assign(series=whole["series"].mask(diverged, "diverged"))
