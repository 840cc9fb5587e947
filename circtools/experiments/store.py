"""One folder of results on disk: a JSON file per run, and the arrays and texts beside it."""

import gzip
import json
import os
import platform
import re
import shutil
import subprocess
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from circtools.experiments.files import ROOT, replacing
from circtools.experiments.runs import Run, current

FOLDER = ROOT / "data" / "results"
CHECKPOINTS = ROOT / "data" / "checkpoints"


@dataclass(frozen=True)
class Store:
    """The results of one origin in one folder, and where each run's files are."""

    folder: Path = FOLDER  # the course's own
    origin: str = "real"  # of the data, or "sample"

    def path(self, run: Run) -> Path:
        """Return where a run's result is, or will be."""
        return self.folder / self.origin / run.task / run.preset / f"{run.name}.json"

    def missing(self, runs: Iterable[Run]) -> list[Run]:
        """Return the runs that have no result yet."""
        return [run for run in runs if not self.path(run).exists()]

    def weights(self, run: Run) -> Path:
        """Return where a finished dense run's weights are kept, on the machine that ran it."""
        kept = CHECKPOINTS if self.folder == FOLDER else self.folder / "checkpoints"
        return kept / self.origin / run.task / run.preset / f"{run.name}.pt"

    def checkpoint(self, run: Run, phase: str) -> Path:
        """Return where an unfinished run keeps its state."""
        return self.weights(run).with_name(f"{run.name}-{phase}.ckpt")


def write(result: dict[str, Any], path: Path) -> None:
    """Write a result as JSON, atomically."""
    with replacing(path) as temporary:
        text = json.dumps(result, indent=1, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def write_arrays(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Write the arrays of a run (first rows, masks) as one compressed npz file, atomically."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def arrays(run: str, folder: Path = FOLDER) -> dict[str, np.ndarray]:
    """Return what a run of seed 0 left (first rows, masks); a FileNotFoundError if nothing."""
    with np.load(folder / f"{run}.npz") as file:
        return dict(file)


def write_texts(texts: Sequence[str], path: Path, number: int = 0, test_set: str = "") -> None:
    """Write what :func:`texts` reads, one line per sentence, gzipped, beside a run's result."""
    with replacing(_beside(path, number, "txt.gz", test_set)) as temporary:
        temporary.write_bytes(gzip.compress("".join(f"{t}\n" for t in texts).encode(), mtime=0))


def texts(run: str, number: int = 0, folder: Path = FOLDER) -> list[str]:
    """Return the translations of the test set that a run (a round) left beside its result.

    ``run`` is its name in the column of that name of :func:`.results.load`, ``number`` the round's,
    ``folder`` that of the results.
    """
    path = _beside(folder / f"{run}.json", number, "txt.gz")
    return gzip.decompress(path.read_bytes()).decode().split("\n")[:-1]


def write_counts(counts: np.ndarray, path: Path, number: int = 0, test_set: str = "") -> None:
    """Write what :func:`counts` reads, beside the translations of a run (of a round)."""
    write_arrays({"counts": counts.astype(np.uint16)},
                 _beside(path, number, "counts.npz", test_set))


def counts(run: str, number: int = 0, folder: Path = FOLDER, test_set: str = "") -> np.ndarray:
    """Return what :func:`.bleu.sentence_counts` counted of :func:`texts`, (sentences, 10).

    ``test_set`` is empty, or one of :data:`.corpus.EXTRA`, which not every run has translated.
    """
    with np.load(_beside(folder / f"{run}.json", number, "counts.npz", test_set)) as file:
        return file["counts"].astype(int)


def _beside(path: Path, number: int, suffix: str, test_set: str = "") -> Path:
    """Return where a run (a round) leaves what belongs to its result."""
    parts = [path.stem, f"round{number}" if number else "", test_set, suffix]
    return path.with_name(".".join(filter(None, parts)))


@cache
def provenance(device: str = "cpu") -> dict[str, str]:
    """Return what a result must say of its origin: commit, device, library versions."""
    def git(*words: str) -> str:  # never of another repository that the course may lie in
        own = ["git", "-C", str(ROOT), "--git-dir=.git", "--work-tree=."]
        return subprocess.run([*own, *words], capture_output=True, text=True).stdout.strip()

    commit = git("rev-parse", "--verify", "HEAD") if shutil.which("git") else ""
    if commit and git("status", "--porcelain", "--", "circtools", "data/manifest.json"):
        commit += "+changed"
    name = (f"cuda: {torch.cuda.get_device_name(device)}" if torch.device(device).type == "cuda"
            else f"cpu: {_processor()}")
    return {"commit": commit or "unknown", "device": name, "python": platform.python_version(),
            "torch": torch.__version__, "numpy": np.__version__}


def _processor() -> str:
    """Return the processor's name with its count of cores."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.exists() else ""
    named = re.search(r"^model name\s*:\s*(.+)", text, re.MULTILINE)
    name = named[1] if named else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def read(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """Return every run's result, in the order of the file names, with today's names of things.

    Its name, ``run``, is the file's, with the folders that say its data, task and preset. It has to
    follow from the configuration: another file, such as the copy that a cloud folder makes in a
    conflict, is ignored with a warning. Timings and hidden files are left out. A ValueError names a
    file that is no result.
    """
    results, strays = [], []
    for path in sorted(folder.rglob("*.json")):
        name = path.relative_to(folder)
        if path.parent.name == "benchmarks" or any(p.startswith(".") for p in name.parts):
            continue
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            config = current(result["config"])
            expected = Store(folder, result["data"]).path(run_of(config))
        except (ValueError, KeyError, TypeError, AttributeError) as error:  # no text, no JSON, ...
            raise ValueError(f"{path} is no valid result ({error!r}); delete it and run the "
                             "experiment again") from error
        if path == expected:
            run = name.with_suffix("").as_posix()
            results.append(result | {"config": config, "run": run})
        else:
            strays.append(name.as_posix())
    if strays:
        warnings.warn(f"ignored in {folder}, for their names are not those of their runs (are they "
                      f"copies?): {', '.join(strays)}", stacklevel=2)
    return results


def run_of(config: dict[str, Any]) -> Run:
    """Return the run that a result's configuration describes, as :func:`runs.current` gives it."""
    values = {f.name: config[f.name] for f in fields(Run) if f.name in config}
    start = config.get("start")
    if not start and config.get("start_lr"):  # all that the first results of MNIST say of it
        start = values | {"lr": config["start_lr"]}
    return Run(**values | {"start": run_of(start) if start else None})
