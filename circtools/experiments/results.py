"""All results as one tidy pandas table."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from circtools.experiments import store
from circtools.experiments.choices import SCALES, TUNED, HparamScale
from circtools.experiments.store import FOLDER

COLUMNS = (
    "task", "preset", "data", "method", "series", "layers", "pixels", "block_size", "round",
    "compression", "compression_all", "compression_model", "file_bytes", "tied", "lr", "start_lr",
    "dropout", "lr_factor", "dropout_factor", "matrix_lr_scale", "start_factors",
    "seed", "val_error", "test_error", "val_loss", "val_bleu", "test_bleu", "test_bleu_low",
    "test_bleu_high", "test_chrf", "extra", "epochs", "seconds",
    "device", "commit", "run", "folder",
)


def load(folder: Path = FOLDER, data: str | None = "real") -> pd.DataFrame:
    """Return all finished runs as one table: a row per run (per round, for pruning) and series.

    A run trained with the dense hyper-parameters belongs to the series ``same``; one trained with
    the learning rate that was best on validation for its structure, to ``tuned``. One that is both
    gives a row in each. The runs of the ``search`` never read the test set. A complete run whose
    hyper-parameters are neither is in ``rejected``, one that diverged in ``diverged``, with no
    metrics. Real and sample ``data`` never stand in one table, unless it is None.

    The columns are :data:`COLUMNS`. ``test_error`` is a fraction, ``compression`` is over the
    compressed layers, ``compression_all`` over all weight matrices but embeddings,
    ``compression_model`` over every parameter. ``extra`` has the scores on the further test sets
    :data:`.corpus.EXTRA`, by name, of networks that have translated them. ``epochs`` count from the
    first weights on, ``seconds`` are those of the run itself, without the network it started from.
    ``folder`` is where the run's file, and what lies beside it, was read.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if a file is no result, or of a task that nobody has said how to tune.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder of results {folder}")
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
    common |= dict(zip(SCALES, factors, strict=True))
    if config.get("start"):
        common["start_factors"] = _factors(config["start"], config)
    if config["stage"] == "search":
        common["series"] = "search"
    elif factors == HparamScale() and config["start_lr"] in (None, config["base_lr"]):
        common["series"] = "same"
    finals = {final["round"]: final for final in result["final"]}
    rounds = range(1, config["rounds"] + 1) if config["rounds"] else (0,)
    if "diverged" in result:
        finals = {number: {"round": number} for number in rounds} | finals
    return [common | {key: finals[number][key] for key in COLUMNS if key in finals[number]}
            for number in rounds if number in finals]


def _factors(values: dict[str, Any], config: dict[str, Any]) -> HparamScale:
    """Return a run's hyper-parameters as multiples of its preset's base values."""
    dropout, base = values.get("dropout"), config.get("base_dropout")
    return HparamScale(values["lr"] / config["base_lr"],
                       dropout / base if dropout and base else 1.0, values["matrix_lr_scale"])


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


def _with_series(table: pd.DataFrame) -> pd.DataFrame:
    """Give every run with its method's chosen hyper-parameters a row in ``tuned``."""
    if unknown := sorted(set(table["task"]) - set(TUNED)):
        raise ValueError(f"there are results of the task {unknown[0]!r}, and no rule in "
                         "choices.TUNED that tells which of its runs are tuned")
    tuned = [choose(table).assign(series="tuned") for choose in TUNED.values()]
    of_runs = {run for rows in tuned for run in rows["run"]}
    rejected = table["series"].isna() & ~table["run"].isin(of_runs)
    table = table.assign(series=table["series"].mask(rejected, "rejected"))
    parts = [table[table["series"].notna()], *tuned]
    whole = pd.concat([part for part in parts if len(part)] or [table[:0]], ignore_index=True)
    diverged = whole[["val_error", "val_loss"]].isna().all(axis=1) & (whole["series"] != "search")
    return whole.assign(series=whole["series"].mask(diverged, "diverged"))


def of_store(kept: store.Store) -> pd.DataFrame:
    """Return the results of a store, an empty table where nothing has been run yet."""
    if kept.folder.is_dir():
        return load(kept.folder, kept.origin)
    return pd.DataFrame(columns=list(COLUMNS))


def timings(benchmark: str = "layer", folder: Path = FOLDER) -> dict[str, Any]:
    """Return what a script of ``circtools.bench`` wrote; a FileNotFoundError if it has not run."""
    path = folder / "benchmarks" / f"{benchmark}.json"
    if not path.exists():
        raise FileNotFoundError(f"there is no {path.name} in {path.parent}; a script in "
                                "circtools/bench writes it")
    return json.loads(path.read_text(encoding="utf-8"))


def layer_timings(table: pd.DataFrame) -> pd.DataFrame:
    """Return the layer's timings from the folder that a table of results was read from."""
    return pd.DataFrame(timings(folder=table["folder"].iloc[0])["cells"])
