"""Tables of the hyper-parameters that were tried for Transformers, for the notebooks."""

import pandas as pd

from circtools.experiments.choices import SCALES
from circtools.experiments.results import select

SETTINGS = {  # multiples of the base learning rate and dropout, then of the rate for the matrices
    (1.0, 1.0, 1.0): "base rate",
    (1.0, 0.5, 1.0): "base rate, half the dropout",
    (1.0, 1.0, 4.0): "four times for the matrices",
    (1.0, 0.5, 4.0): "four times for the matrices, half the dropout",
    (2.0, 1.0, 1.0): "twice the rate",
    (2.0, 0.5, 1.0): "twice the rate, half the dropout",
    (4.0, 1.0, 1.0): "four times the rate",
    (4.0, 0.5, 1.0): "four times the rate, half the dropout",
    (8.0, 1.0, 1.0): "eight times the rate"}


def complete_trainings(table: pd.DataFrame) -> pd.DataFrame:
    """Return the untied dense and block-circulant networks of seed 0, whatever their setting."""
    rows = select(table, task="multi30k", tied=False, seed=0)
    rows = rows[rows["method"].isin(["dense", "block_circulant"])
                & ~rows["series"].isin(["search", "diverged"])]
    return rows.drop_duplicates(["preset", "run"])


def in_words(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows by block size and in the order of :data:`SETTINGS`, both also in words."""
    rows = rows.sort_values("block_size")
    networks = rows["block_size"].map(lambda b: "dense" if b == 1 else f"b = {b}")
    settings = [SETTINGS[scales] for scales in rows[SCALES].itertuples(index=False, name=None)]
    rows = rows.assign(network=pd.Categorical(networks, networks.unique()),
                       setting=pd.Categorical(settings, list(SETTINGS.values())))
    return rows.sort_values(["network", "setting"])
