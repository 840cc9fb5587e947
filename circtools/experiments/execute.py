"""Run the experiments, or resume them: several at a time, stage by stage."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import torch
from tqdm.auto import tqdm

from circtools import compression
from circtools.experiments import (
    mnist,
    mnist_runs,
    multi30k,
    multi30k_runs,
    store,
    training,
)
from circtools.experiments.files import ROOT
from circtools.experiments.runs import PRUNING, Run, missing

CHECKPOINTS = ROOT / "data" / "checkpoints"
_ONE_AT_A_TIME = threading.Lock()  # of a process's threads: they share torch's random numbers
TASKS = {"mnist": mnist_runs, "multi30k": multi30k_runs}  # PRESETS, plan, epochs, Experiment
LOAD = {"mnist": mnist.load, "multi30k": multi30k.load}


def pending(task: str, preset: str, seeds: int, folder: Path, source: str,
            methods: Sequence[str] = ()) -> list[Run]:
    """Return the runs of the first stage that is not finished; empty when all is done.

    Raises:
        ValueError: if the task, the preset or a method is unknown, or ``seeds`` is not positive.
    """
    _check(task, preset, seeds, methods)
    more = {"methods": methods} if methods else {}
    for stage in TASKS[task].plan(preset, seeds, folder, source, **more):
        if runs := missing(stage, folder, source):
            return runs
    return []


def _check(task: str, preset: str, seeds: int, methods: Sequence[str]) -> None:
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    if preset not in TASKS[task].PRESETS:
        raise ValueError(f"preset must be one of {', '.join(TASKS[task].PRESETS)}, got {preset!r}")
    if seeds < 1:
        raise ValueError(f"seeds must be 1 or more, got {seeds}")
    if methods and task != "multi30k":
        raise ValueError(f"methods can be chosen for multi30k only, got {', '.join(methods)}")


def plan_table(runs: Sequence[Run], folder: Path, source: str, device: str = "cpu"
               ) -> pd.DataFrame:
    """Return runs as a table, indexed by name: epochs of their own, and estimated minutes."""
    seconds = estimate_seconds(runs, folder, source, device)
    return pd.DataFrame({"epochs": [TASKS[run.task].epochs(run)[1] for run in runs],
                         "minutes": [round(s / 60, 1) for s in seconds]},
                        index=pd.Index([run.name for run in runs], name="run"))


def run_all(task: str, preset: str = "base", seeds: int = 5, workers: int = 2,
            folder: Path = store.FOLDER, source: str = "auto", device: str = "cpu",
            methods: Sequence[str] = (), scheduler: str | None = None,
            only: str | None = None) -> None:
    """Run everything that has no result yet, several runs at a time, stage by stage.

    Args:
        task: ``"mnist"`` or ``"multi30k"``.
        preset: a key of the task's ``PRESETS``.
        seeds: number of seeds of the final runs, 0 ... seeds - 1.
        workers: processes; the machine's cores, or the GPU, are divided among them.
        folder: where the results are.
        source: ``"real"``, ``"sample"``, or ``"auto"`` (the sample, if the data cannot be had).
        device: ``"cpu"`` or ``"cuda"``.
        methods: of Multi30k, which to run; none for the dense network alone.
        scheduler: address of a Dask scheduler whose workers do the runs instead; they must see
            the same files.
        only: the name of one run of the stage that is to be done next; nothing else is run.

    Raises:
        ValueError: if the task, the preset or the device is unknown, a number is not positive,
            or there is no such run in that stage.
        OSError: if the workers of a cluster write their results where this process finds none.
    """
    _check(task, preset, seeds, methods)
    if workers < 1:
        raise ValueError(f"workers must be 1 or more, got {workers}")
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise ValueError(f"device must be 'cpu', or 'cuda' where torch finds a GPU, got {device!r}")
    source = LOAD[task](source).origin
    folder = folder.resolve()  # the workers of a cluster may have begun in another folder
    threads = max(1, joblib.cpu_count() // workers)
    if only is not None:
        named = {run.name: run for run in pending(task, preset, seeds, folder, source, methods)}
        if only not in named:
            raise ValueError(f"the next stage has no run {only!r} to do; --plan lists what it has")
        return _work(execute, named[only], folder, source, device, joblib.cpu_count(), only)
    done: list[Run] = []
    while runs := pending(task, preset, seeds, folder, source, methods):
        if runs == done:
            raise OSError(f"{len(runs)} runs were done and left no result in {folder}; the workers "
                          "of a cluster must see the same files")
        done = runs
        minutes = sum(estimate_seconds(runs, folder, source, device)) / 60
        where = (f"{minutes:.0f} minutes of one worker, on {scheduler}" if scheduler else
                 f"{minutes / workers:.0f} minutes with {workers} workers of {threads} threads")
        print(f"{len(runs)} runs to do in this stage, about {where}", flush=True)
        # First the networks that these start from and whose weights are lost, each once.
        lost = {run.start.name: run.start for run in runs if run.start is not None
                and not weights_path(run.start, folder, source).exists()}
        for job, batch in ((_trained, list(lost.values())), (execute, runs)):
            if scheduler is not None:
                _run_on_cluster(scheduler, job, batch, folder, source, device)
            elif workers == 1:  # in this process, so that each run shows its own progress
                for i, run in enumerate(batch, start=1):
                    _work(job, run, folder, source, device, threads, f"run {i} of {len(batch)}")
            else:
                pool = joblib.Parallel(n_jobs=workers, return_as="generator_unordered",
                                       batch_size=1)
                jobs = (joblib.delayed(_work)(job, run, folder, source, device, threads)
                        for run in batch)
                for _ in tqdm(pool(jobs), total=len(batch), desc="runs", unit="run",
                              mininterval=1, disable=not batch):
                    pass


def _run_on_cluster(scheduler: str, job: Callable[..., object], runs: Sequence[Run], folder: Path,
                    source: str, device: str) -> None:
    """Run on the workers of a Dask cluster; what a worker that dies had begun goes to another."""
    if not runs:
        return
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise ValueError("--scheduler needs Dask: pip install 'circtools[cluster]'") from error
    with Client(scheduler) as client:
        futures = [client.submit(_work, job, run, folder, source, device, pure=False,
                                 key=f"{job.__name__} {run.path(folder, source)}") for run in runs]
        for future in tqdm(as_completed(futures), total=len(runs), desc="runs", unit="run",
                           mininterval=1):
            future.result()


def _work(job: Callable[..., object], run: Run, folder: Path, source: str, device: str,
          threads: int | None = None, progress: str | None = None) -> None:
    """Do a job on a run, :func:`execute` or :func:`_trained`, with this many threads."""
    with _ONE_AT_A_TIME:
        if threads is not None:
            torch.set_num_threads(threads)
        job(run, folder, source, device, progress)


def estimate_seconds(runs: Iterable[Run], folder: Path, source: str,
                     device: str = "cpu") -> list[float]:
    """Return the seconds that each run will take a worker.

    From the results there are: seconds an epoch on this kind of device, of the same method and
    block size where one has been run; without any, from a short measurement.
    """
    done = [({**result["config"], "seconds": epoch["seconds"]})
            for result in store.read(folder) for epoch in result["history"]
            if result["data"] == source and result["provenance"]["device"].startswith(device)]
    table = pd.DataFrame(done, columns=["task", "preset", "method", "block_size", "seconds"])
    by_preset = table.groupby(["task", "preset"])["seconds"].median()
    by_kind = table.groupby(["task", "preset", "method", "block_size"])["seconds"].median()
    measured: dict[tuple[str, str], float] = {}
    estimates = []
    for run in runs:
        kind = (run.task, run.preset)
        seconds = by_kind.get((*kind, run.method, run.block_size), by_preset.get(kind))
        if seconds is None:
            if kind not in measured:
                experiment = TASKS[run.task].Experiment(run, source, device)
                measured[kind] = experiment.seconds_per_epoch()
            seconds = measured[kind]
        estimates.append(seconds * TASKS[run.task].epochs(run)[1])
    return estimates


def execute(run: Run, folder: Path = store.FOLDER, source: str = "real", device: str = "cpu",
            progress: str | None = None) -> Path:
    """Run one run, or resume it, unless its result is there; return the result's path.

    A kill at any moment loses at most one epoch, or 20 seconds, whichever is longer. A run that
    diverges has a result too, which says so, with the metrics that it had until then.
    """
    path = run.path(folder, source)
    if path.exists():
        return path
    started = time.monotonic()
    origin = store.provenance(device)  # of the code as it began: it may be changed meanwhile
    work = TASKS[run.task].Experiment(run, source, device)
    history: list[dict[str, float]] = []
    final: list[dict[str, Any]] = []
    diverged: dict[str, str] = {}
    try:
        before, own = TASKS[run.task].epochs(run)
        begun: dict[str, Any] = {}
        if run.start is not None:
            work.model.load_state_dict(_trained(run.start, folder, source, device))
            begun = work.begin()
        if run.method in PRUNING:
            _chain(work, folder, source, before, history, final)
        else:
            history += work.fit(own, run.seed, _checkpoint(run, folder, source, "train"), progress)
            final.append(_measure(work, path, 0, before + own, _seconds(history)) | begun)
    except training.Diverged as error:
        history += error.history
        diverged["diverged"] = str(error)
        tqdm.write(f"{run.name} diverged: {error}")
    result = {
        "config": asdict(run) | {"start_lr": run.start.lr if run.start else None} | work.config,
        "data": source,
        "provenance": origin | {"threads": torch.get_num_threads()},
        "history": history,
        "final": final,
        "wall_seconds": round(time.monotonic() - started, 2),
    } | diverged
    if run.seed == 0 and run.stage == "final" and not diverged:
        work.keep(path)
    if run.method == "dense" and not diverged:
        training.save_atomically(work.model.state_dict(), weights_path(run, folder, source))
    store.write(result, path)
    for file in _checkpoint(run, folder, source, "").parent.glob(f"{run.name}-*.ckpt"):
        file.unlink(missing_ok=True)
    return path


def _chain(work: Any, folder: Path, source: str, before: int, history: list[dict[str, float]],
           final: list[dict[str, Any]]) -> None:
    """Prune and fine-tune in rounds, resuming after the last one saved; extend both lists."""
    run, targets = work.run, work.prunable()
    path = run.path(folder, source)
    amount, method = PRUNING[run.method]
    amount = 1 - (1 - amount) ** work.rounds_at_once
    compression.prune(targets, amount=0.0)  # puts the masks on, so that a state can be loaded
    state_path = _checkpoint(run, folder, source, "rounds")
    if state_path.exists():
        state = torch.load(state_path, map_location="cpu", weights_only=True)
        work.model.load_state_dict(state["model"])
        history += state["history"]
        final += state["final"]
    else:
        final.append(_measure(work, path, 0, before, 0.0))
    saved = time.monotonic()
    for number in range(final[-1]["round"] + work.rounds_at_once, run.rounds + 1,
                        work.rounds_at_once):
        # A round has a seed of its own, so that its batches differ from those of the last one.
        seed = run.seed + 100_000 * number
        torch.manual_seed(seed)
        compression.prune(targets, amount, method)
        checkpoint = _checkpoint(run, folder, source, f"round{number}")
        try:
            trained = work.fit(work.finetune_epochs, seed, checkpoint)
        except training.Diverged as error:
            until = [epoch | {"round": number} for epoch in error.history]
            raise training.Diverged(str(error), until) from error
        history += [epoch | {"round": number} for epoch in trained]
        final.append(_measure(work, path, number, before + len(final) * work.finetune_epochs,
                              round(final[-1]["seconds"] + _seconds(trained), 3)))
        if time.monotonic() - saved > training.CHECKPOINT_SECONDS:
            training.save_atomically({"model": work.model.state_dict(), "history": history,
                                      "final": final}, state_path)
            saved = time.monotonic()
            for file in state_path.parent.glob(f"{run.name}-round[0-9]*.ckpt"):
                file.unlink()


def _measure(work: Any, path: Path, number: int, epochs: int, seconds: float) -> dict[str, Any]:
    """Return the final metrics of a run or a round; keep the texts that it wrote."""
    model = work.model.eval()
    with torch.inference_mode():
        metrics = work.measure()
    work.keep_round(path, number)
    return {"round": number, **work.counts(), **metrics, "epochs": epochs, "seconds": seconds,
            "empty_layers": compression.empty_layers(model)}


def _trained(start: Run, folder: Path, source: str, device: str,
             progress: str | None = None) -> dict[str, torch.Tensor]:
    """Return the weights of a dense run; trained again if only its result is here."""
    path = weights_path(start, folder, source)
    if not path.exists():
        work = TASKS[start.task].Experiment(start, source, device)
        checkpoint = _checkpoint(start, folder, source, "train")
        work.fit(TASKS[start.task].epochs(start)[1], start.seed, checkpoint, progress)
        training.save_atomically(work.model.state_dict(), path)
        checkpoint.unlink(missing_ok=True)
    return torch.load(path, map_location="cpu", weights_only=True)


def _seconds(history: Iterable[dict[str, float]]) -> float:
    return round(sum(epoch["seconds"] for epoch in history), 3)


def _checkpoint(run: Run, folder: Path, source: str, phase: str) -> Path:
    return weights_path(run, folder, source).with_name(f"{run.name}-{phase}.ckpt")


def weights_path(run: Run, folder: Path, source: str) -> Path:
    """Return where the weights of a finished dense run are kept, on the machine that ran it.

    Results in another folder than the course's own have their weights, and the files of unfinished
    runs, with them.
    """
    kept = CHECKPOINTS if folder == store.FOLDER else folder / "checkpoints"
    return kept / source / run.task / run.preset / f"{run.name}.pt"
