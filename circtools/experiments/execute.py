"""Run the experiments, or resume them: several at a time, stage by stage."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import torch
from tqdm import tqdm

from circtools import pruning
from circtools.experiments import mnist, mnist_runs, multi30k, multi30k_runs, store, training
from circtools.experiments.files import blaming, check_writable, load_saved, save_atomically
from circtools.experiments.methods import METHODS, methods_of
from circtools.experiments.results import of_store
from circtools.experiments.runs import Experiment, Run
from circtools.experiments.store import Store


@dataclass(frozen=True)
class Task:
    """What the experiments must know of a task."""

    load: Callable[[str], Any]  # its data by "real", "sample" or "auto"; they tell their origin
    presets: Mapping[str, Any]  # its sizes
    plan: Callable[..., list[list[Run]]]  # its runs in stages; see mnist_runs.plan
    epochs: Callable[[Run], tuple[int, int]]  # before a run, and its own
    experiment: type[Experiment]


TASKS = {
    "mnist": Task(mnist.load, mnist_runs.PRESETS, mnist_runs.plan, mnist_runs.epochs,
                  mnist.Experiment),
    "multi30k": Task(multi30k.load, multi30k_runs.PRESETS, multi30k_runs.plan,
                     multi30k_runs.epochs, multi30k.Experiment),
}
Job = Callable[[Run, Store, str, str | None], object]
_ONE_AT_A_TIME = threading.Lock()  # of a process's threads: they share torch's random numbers


def pending(task: str, preset: str, seeds: int, kept: Store, methods: Sequence[str] = ()
            ) -> list[Run]:
    """Return the runs of the first unfinished stage; a ValueError names an option that is wrong."""
    if preset not in TASKS[task].presets:
        raise ValueError(f"preset must be one of {', '.join(TASKS[task].presets)}, got {preset!r}")
    if seeds < 1:
        raise ValueError(f"seeds must be 1 or more, got {seeds}")
    known = methods_of(task)
    if unknown := sorted(set(methods) - set(known)):
        raise ValueError(f"methods of {task} must be among {', '.join(known)}, got {unknown[0]!r}")
    for stage in TASKS[task].plan(preset, seeds, kept, of_store(kept), methods):
        if runs := kept.missing(stage):
            return runs
    return []


def plan_table(runs: Sequence[Run], kept: Store, device: str = "cpu") -> pd.DataFrame:
    """Return runs as a table, indexed by name: epochs of their own, and estimated minutes."""
    check_device(device)
    seconds = estimate_seconds(runs, kept, device)
    return pd.DataFrame({"epochs": [TASKS[run.task].epochs(run)[1] for run in runs],
                         "minutes": [round(s / 60, 1) for s in seconds]},
                        index=pd.Index([run.name for run in runs], name="run"))


def check_device(device: str) -> None:
    """Raise a ValueError if torch finds no GPU and one is asked for."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("torch finds no GPU here: device 'cuda' needs one")


def run_all(task: str, preset: str = "base", seeds: int = 5, workers: int = 2,
            folder: Path = store.FOLDER, origin: str = "auto", device: str = "cpu",
            methods: Sequence[str] = (), scheduler: str | None = None,
            only: str | None = None) -> None:
    """Run everything that has no result yet, several runs at a time, stage by stage.

    The arguments are the options of ``circtools run``, whose help explains them. The machine's
    cores, or the GPU, are divided among the workers.

    Raises:
        ValueError: if an option has a wrong value, or torch finds no GPU.
        OSError: if the workers of a cluster write their results where this process finds none.
    """
    if workers < 1:
        raise ValueError(f"workers must be 1 or more, got {workers}")
    check_device(device)
    # The workers of a cluster may have begun in another folder.
    kept = Store(folder.resolve(), "sample" if origin == "sample" else "real")
    todo = partial(pending, task, preset, seeds, methods=methods)
    if todo(kept):  # complains of what is wrong before any data are fetched
        check_writable(kept.folder)
    kept = Store(kept.folder, TASKS[task].load(origin).origin)
    if only is not None:
        named = {run.name: run for run in todo(kept)}
        if only not in named:
            raise ValueError(f"the next stage has no run {only!r} to do; --plan lists what it has")
        return _work(execute, named[only], kept, device, joblib.cpu_count(), only)
    done: list[Run] = []
    while runs := todo(kept):
        if runs == done:
            raise OSError(f"{len(runs)} runs were done and left no result in {kept.folder}; the "
                          "workers of a cluster must see the same files")
        done = runs
        _stage(runs, kept, device, workers, scheduler)


def _stage(runs: Sequence[Run], kept: Store, device: str, workers: int, scheduler: str | None
           ) -> None:
    """Do the runs of a stage; first the networks they start from and whose weights are lost.

    They are done by this process, by processes of this machine, or by the workers of a Dask
    cluster; what a worker had begun that dies goes to another.
    """
    minutes = sum(estimate_seconds(runs, kept, device)) / 60
    threads, cluster = max(1, joblib.cpu_count() // workers), {}
    where = f"{minutes / workers:.0f} minutes with {workers} workers of {threads} threads"
    if scheduler is not None:  # whose workers have the threads that they were given
        threads, cluster = 0, {"backend": "dask", "scheduler_host": scheduler}
        where = f"{minutes:.0f} minutes of one worker, on {scheduler}"
    print(f"{len(runs)} runs to do in this stage, about {where}", flush=True)
    one_by_one = workers == 1 and scheduler is None  # in this process: each shows its progress
    lost = {run.start: None for run in runs
            if run.start is not None and not kept.weights(run.start).exists()}
    with joblib.parallel_config(**cluster):
        pool = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1,
                               pre_dispatch="all")
        for job, batch in (_trained, list(lost)), (execute, runs):
            done = pool(joblib.delayed(_work)(
                job, run, kept, device, threads, f"run {i} of {len(batch)}" if one_by_one else None)
                for i, run in enumerate(batch, start=1))
            for _ in tqdm(done, total=len(batch), desc="runs", unit="run", mininterval=1,
                          disable=one_by_one or not batch):
                pass


def _work(job: Job, run: Run, kept: Store, device: str, threads: int, progress: str | None
          ) -> None:
    """Do a job on a run, with this many threads; 0 leaves the process's own number."""
    with _ONE_AT_A_TIME:
        if threads:
            torch.set_num_threads(threads)
        try:
            job(run, kept, device, progress)
        except training.Diverged as error:  # a start: what needs it says so in its own result
            tqdm.write(f"{run.name} diverged: {error}")


def estimate_seconds(runs: Iterable[Run], kept: Store, device: str = "cpu") -> list[float]:
    """Return the seconds that each run will take a worker.

    They follow from the results of this kind of device, of the same method and block size where one
    has been run; without any, from a short measurement.
    """
    done = [result["config"] | {"seconds": epoch["seconds"]}
            for result in store.read(kept.folder) for epoch in result["history"]
            if result["data"] == kept.origin and result["provenance"]["device"].startswith(device)]
    table = pd.DataFrame(done, columns=["task", "preset", "method", "block_size", "seconds"])
    by_size = table.groupby(["task", "preset"])["seconds"].median().to_dict()
    by_kind = table.groupby(["task", "preset", "method", "block_size"])["seconds"].median()
    estimates = []
    for run in runs:
        task, size = TASKS[run.task], (run.task, run.preset)
        if size not in by_size:
            work = task.experiment(run, kept.origin, device)
            by_size[size] = work.seconds_per_epoch()
        seconds = by_kind.get((*size, run.method, run.block_size), by_size[size])
        estimates.append(seconds * task.epochs(run)[1])
    return estimates


def execute(run: Run, kept: Store, device: str = "cpu", progress: str | None = None) -> Path:
    """Run one run, or resume it, unless its result is there; return the result's path.

    A kill at any moment loses at most one epoch, or 20 seconds, whichever is longer, and the
    measuring that follows the last one. A run that diverges has a result too, with the metrics
    until then; so has one that starts from such a network.
    """
    path = kept.path(run)
    if path.exists():
        return path
    started = time.monotonic()
    origin = store.provenance(device)  # of the code as it began: it may be changed meanwhile
    work = TASKS[run.task].experiment(run, kept.origin, device)
    history: list[dict[str, float]] = []
    final: list[dict[str, Any]] = []
    diverged, begun = dict[str, str](), dict[str, Any]()
    try:
        before, own = TASKS[run.task].epochs(run)
        if run.start is not None:
            weights = _trained(run.start, kept, device)
            with blaming(kept.weights(run.start)):
                work.model.load_state_dict(weights)
            begun = work.begin()
        if METHODS[run.method].prunes:
            _chain(work, kept, before, history, final)
        else:
            history += work.fit(own, run.seed, kept.checkpoint(run, "train"), progress)
            final.append(_measure(work, path, 0, before + own, history) | begun)
    except training.Diverged as error:
        history += error.history
        diverged["diverged"] = str(error)
        tqdm.write(f"{run.name} diverged: {error}")
    result = {"config": run.config() | work.config, "data": kept.origin,
              "provenance": origin | {"threads": torch.get_num_threads()}, "history": history,
              "final": final, "wall_seconds": round(time.monotonic() - started, 2)} | diverged
    if run.seed == 0 and run.stage == "final" and not diverged:
        work.keep(path)
    if run.method == "dense" and not diverged:
        save_atomically(work.model.state_dict(), kept.weights(run))
    store.write(result, path)
    for file in kept.weights(run).parent.glob(f"{run.name}-*.ckpt"):
        file.unlink(missing_ok=True)
    return path


def _chain(work: Experiment, kept: Store, before: int, history: list[dict[str, float]],
           final: list[dict[str, Any]]) -> None:
    """Prune and fine-tune in rounds, resuming after the last one saved; extend both lists."""
    run, targets, path = work.run, work.prunable(), kept.path(work.run)
    takes = METHODS[run.method].prunes
    amount = 0.0 if takes == "nothing" else 1 - (1 - pruning.AMOUNT) ** work.rounds_at_once
    pruning.prune(targets, amount=0.0)  # puts the masks on, so that a state can be loaded
    rounds = kept.checkpoint(run, "rounds")
    if rounds.exists():
        state = load_saved(rounds)
        with blaming(rounds):
            work.model.load_state_dict(state["model"])
        history += state["history"]
        final += state["final"]
    else:
        final.append(_measure(work, path, 0, before, history))
    for number in range(final[-1]["round"] + work.rounds_at_once, run.rounds + 1,
                        work.rounds_at_once):
        # A round has a seed of its own, so that its batches differ from those of the last one.
        seed = run.seed + 100_000 * number
        torch.manual_seed(seed)
        pruning.prune(targets, amount, "random" if takes == "random" else "magnitude")
        unfinished = kept.checkpoint(run, f"round{number}")
        try:
            trained = work.fit(work.finetune_epochs, seed, unfinished)
        except training.Diverged as error:
            error.history = [epoch | {"round": number} for epoch in error.history]
            raise
        history += [epoch | {"round": number} for epoch in trained]
        final.append(_measure(work, path, number, before + len(final) * work.finetune_epochs,
                              history))
        save_atomically({"model": work.model.state_dict(), "history": history, "final": final},
                        rounds)
        unfinished.unlink(missing_ok=True)


def _measure(work: Experiment, path: Path, number: int, epochs: int,
             history: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Return the final metrics of a run or a round; write the texts beside its result."""
    model = work.model.eval()
    with torch.inference_mode():
        metrics = work.measure(path, number)
    return {"round": number, **work.counts(), **metrics, "epochs": epochs,
            "seconds": round(sum(epoch["seconds"] for epoch in history), 3),
            "empty_layers": pruning.empty_layers(model)}


def _trained(start: Run, kept: Store, device: str, progress: str | None = None
             ) -> dict[str, torch.Tensor]:
    """Return the weights of a dense run; trained again if only its result is here."""
    path = kept.weights(start)
    if kept.path(start).exists() and "diverged" in json.loads(kept.path(start).read_text()):
        raise training.Diverged(f"the network it starts from, {start.name}, diverged", [])
    if not path.exists():
        work = TASKS[start.task].experiment(start, kept.origin, device)
        checkpoint = kept.checkpoint(start, "train")
        work.fit(TASKS[start.task].epochs(start)[1], start.seed, checkpoint, progress)
        save_atomically(work.model.state_dict(), path)
        checkpoint.unlink(missing_ok=True)
    return load_saved(path)
