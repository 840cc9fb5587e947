"""Speed of BlockCirculantLinear beside nn.Linear and other ways to compress a layer, in one run.

    python -m circtools.bench.layer --quick        # a minute
    python -m circtools.bench.layer                # all cells, about 10 minutes; writes the results
    python -m circtools.bench.layer --calibrate    # fits the constants of circtools/cost.py

For every width n, number of tokens and block size it times, in turn, ``nn.Linear``, the layer as
it chooses its algorithm itself, and the C3A operator of the package ``peft`` (in the extra
``benchmarks``), and gives medians. ``ratio`` is the time of ``nn.Linear`` divided by
that of the layer, both from the same rounds: above 1 is faster. ``roofline`` is the share of the
speed that the machine's measured matrix-product rate and memory bandwidth would allow.

Besides: the other methods at equal stored weights (inference), and the bytes kept for backward.
Do not run anything else beside it.
"""

import argparse
import importlib.util
import logging
import math
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import torch
from scipy.optimize import nnls
from torch import Tensor, nn
from tqdm import tqdm

from circtools import BlockCirculantLinear, cost
from circtools.compression import LowRankLinear
from circtools.experiments import store
from circtools.layers import ALGORITHMS

SIZES, TOKENS, BLOCKS = (256, 512, 1024, 2048, 4096), (1, 32, 256, 2048), (2, 4, 8, 16, 32, 64, 128)
INT8 = "int8 (onnxruntime)"
SPARSITIES = (0.5, 0.75, 0.9, 0.95, 0.99)
FILE = store.FOLDER / "benchmarks" / "layer.json"
BUDGET = 0.5  # seconds for each cell, at least; three rounds are always done


def main() -> None:
    """Measure, print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few cells, nothing written")
    parser.add_argument("--calibrate", action="store_true",
                        help="time every algorithm and print the constants that fit")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=FILE, help="default data/results/benchmarks")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    logging.getLogger().setLevel(logging.ERROR)  # onnxruntime's advice on quantising
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
    warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
    if options.calibrate:
        calibrate()
        return
    sizes, tokens, blocks = ((1024,), (1, 256), (2, 8, 32)) if options.quick else (
        SIZES, TOKENS, BLOCKS)
    machine = measure_machine()
    print(f"{options.threads} threads, torch {torch.__version__}: "
          f"{machine['flops'] / 1e9:.0f} Gflop/s, {machine['bandwidth'] / 1e9:.0f} GB/s")
    cells = measure_layer(sizes, tokens, blocks, machine)
    others = measure_others(sizes, tokens)
    show(pd.DataFrame(cells), pd.DataFrame(others))
    if not options.quick:
        store.write({"provenance": store.provenance() | {"threads": options.threads},
                       "machine": machine, "cells": cells, "others": others}, options.output)


# --- Timing --------------------------------------------------------------------------------------


def times_in_turn(functions: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median seconds of each function, timed in turn so that all meet the same noise."""
    calls, taken = {}, {name: [] for name in functions}
    for name, run in functions.items():
        run()
        start = time.perf_counter()
        run()
        # Calls that take 5 ms together: the clock and the loop are then no part of what is timed.
        calls[name] = max(1, min(500, round(5e-3 / max(time.perf_counter() - start, 1e-7))))
    started = time.perf_counter()
    while (len(taken[name]) < 3 or time.perf_counter() - started < BUDGET):
        for name, run in functions.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                run()
            taken[name].append((time.perf_counter() - start) / calls[name])
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def inference(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    """Return a forward pass with weights prepared once."""
    layer.eval()

    def run() -> object:
        with torch.no_grad():
            return layer(x)

    return run


def training(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    """Return a forward and a backward pass, with gradients of the weights and of the input."""
    layer.train()
    x = x.clone().requires_grad_()
    gradient = torch.randn_like(layer(x))

    def run() -> object:
        return torch.autograd.grad(layer(x), [x, *layer.parameters()], gradient)

    return run


class C3A(nn.Module):
    """The block-circulant operator of peft, as a layer; it has no bias of its own."""

    def __init__(self, n: int, block_size: int) -> None:
        super().__init__()
        self.operator = c3a_module().BlockCircularConvolution.apply
        self.weight = nn.Parameter(torch.randn(n // block_size, n // block_size, block_size) / n)
        self.bias = nn.Parameter(torch.zeros(n))

    def forward(self, x: Tensor) -> Tensor:
        return self.operator(x, self.weight) / x.shape[-1] + self.bias


@cache
def c3a_module() -> ModuleType:
    """Return the one file of peft that is measured; the rest of it would want transformers.

    Raises:
        ImportError: if peft is not installed.
    """
    package = importlib.util.find_spec("peft")
    if package is None or package.submodule_search_locations is None:
        raise ImportError("peft is not installed: pip install 'circtools[benchmarks]'")
    file = Path(package.submodule_search_locations[0]) / "tuners" / "c3a" / "utils.py"
    spec = importlib.util.spec_from_file_location("c3a_utils", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- The machine and the limit that it sets ------------------------------------------------------


def measure_machine() -> dict[str, float]:
    """Return the rate of a large float32 product, operations a second, and bytes a second."""
    n = 2048
    a, b, out = (torch.randn(n, n) for _ in range(3))
    large = torch.zeros(2**26), torch.ones(2**26)  # 256 MiB each, more than any cache
    taken = times_in_turn({"product": lambda: torch.mm(a, b, out=out),
                           "copy": lambda: large[0].copy_(large[1])})
    return {"flops": 2 * n**3 / taken["product"], "bandwidth": 2 * 4 * 2**26 / taken["copy"]}


def limit(algorithm: str, n: int, b: int, tokens: int, trained: bool, machine: dict[str, float]
          ) -> float:
    """Return the seconds that the arithmetic of an algorithm, or its memory traffic, must take."""
    blocks = -(-n // b)
    done = cost.work(algorithm, blocks, blocks, b, tokens, trained)
    passes = 3 if trained else 1
    stored = {"dense": n * n, "dft": cost.dft_products(b) * blocks**2, "fft": n * n / b}[algorithm]
    moved = 4 * passes * (2 * tokens * n + stored)
    return max((done.products + done.transforms) / machine["flops"], moved / machine["bandwidth"])


# --- Cells ---------------------------------------------------------------------------------------


def measure_layer(sizes: tuple[int, ...], tokens: tuple[int, ...], blocks: tuple[int, ...],
                  machine: dict[str, float]) -> list[dict[str, object]]:
    """Return a row a cell: block-circulant and C3A against nn.Linear."""
    rows = []
    c3a_module()  # raises now, if peft is not there
    grid = [(n, t, mode) for n in sizes for t in tokens for mode in (inference, training)]
    for n, t, mode in tqdm(grid, desc="cells", unit="group", leave=False):
        x = torch.randn(t, n)
        linear = nn.Linear(n, n)
        for b in (*blocks, n):
            layer = BlockCirculantLinear(n, n, b)
            timed = {"linear": mode(linear, x), "layer": mode(layer, x)}
            # C3A holds (tokens, blocks, b) in complex numbers; its slowest cells take minutes.
            if b * 8 >= n // 256 and t * (n / 1024) ** 2 / b <= 4096:
                timed["c3a"] = mode(C3A(n, b), x)
            seconds = times_in_turn(timed)
            trained = mode is training
            algorithm = layer.plan(t, trained).algorithm
            rows.append({
                "n": n, "tokens": t, "mode": mode.__name__, "block_size": b,
                "algorithm": algorithm, "seconds": seconds["layer"],
                "linear_seconds": seconds["linear"], "ratio": seconds["linear"] / seconds["layer"],
                "c3a_ratio": (seconds["linear"] / seconds["c3a"] if "c3a" in seconds else None),
                "roofline": limit(algorithm, n, b, t, trained, machine) / seconds["layer"],
                "kept_bytes": kept_bytes(layer, x) if trained else None,
                "linear_kept_bytes": kept_bytes(linear, x) if trained else None})
    return rows


def kept_bytes(layer: nn.Module, x: Tensor) -> int:
    """Return the bytes that forward keeps for backward, the layer's parameters not counted."""
    kept: dict[int, int] = {}
    own = {p.untyped_storage().data_ptr() for p in layer.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    layer.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = layer(x.clone().requires_grad_())
    del y
    return sum(kept.values())


# --- Other ways to compress ----------------------------------------------------------------------


def measure_others(sizes: tuple[int, ...], tokens: tuple[int, ...]) -> list[dict[str, object]]:
    """Return a row a method, level, width and number of tokens; inference only."""
    rows: list[dict[str, object]] = []
    for n in tqdm(sizes, desc="other methods", unit="width", leave=False):
        linear = nn.Linear(n, n)
        methods: dict[tuple[str, float], Callable[[Tensor], object]] = {}
        for sparsity in SPARSITIES:
            pruned = nn.Linear(n, n)
            with torch.no_grad():
                pruned.weight.mul_(torch.rand(n, n) >= sparsity)
            ratio = 1 / (1 - sparsity)
            methods["pruned, kept dense", ratio] = pruned
            methods["pruned, sparse CSR", ratio] = csr(pruned)
        for ratio in (2, 4, 8, 16, 32):
            methods["low rank", ratio] = LowRankLinear(n, n, ratio)
        methods[INT8, 4] = quantised(linear)
        for t in tokens:
            x = torch.randn(t, n)
            for (name, ratio), method in methods.items():
                def run(method: Callable[[Tensor], object] = method, x: Tensor = x) -> object:
                    with torch.no_grad():
                        return method(x)

                reference, other = {"linear": inference(linear, x)}, {"method": run}
                # The threads of onnxruntime and those of torch would be in each other's way.
                seconds = (times_in_turn(reference) | times_in_turn(other) if name == INT8
                           else times_in_turn(reference | other))
                rows.append({"method": name, "compression": ratio, "n": n, "tokens": t,
                             "seconds": seconds["method"],
                             "ratio": seconds["linear"] / seconds["method"]})
    return rows


def csr(linear: nn.Linear) -> Callable[[Tensor], Tensor]:
    """Return a layer whose matrix is kept in torch's compressed sparse rows."""
    weight = linear.weight.detach().to_sparse_csr()
    bias = linear.bias.detach()
    return lambda x: (weight @ x.T).T + bias


def quantised(linear: nn.Linear) -> Callable[[Tensor], object]:
    """Return a layer in onnxruntime with its weights, and on the fly its inputs, in 8 bits."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        plain, small = f"{folder}/plain.onnx", f"{folder}/int8.onnx"
        export(linear, plain)
        quantize_dynamic(plain, small, weight_type=QuantType.QInt8)
        session = onnxruntime.InferenceSession(small, session_options())
    return lambda x: session.run(None, {"x": x.numpy()})


def session_options() -> object:
    """Return options for onnxruntime: as many threads as torch has, idle in between, no chatter."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    return options


def export(layer: nn.Module, path: str) -> None:
    """Write a layer as ONNX, for any number of tokens."""
    n = layer.in_features
    torch.onnx.export(layer.eval(), (torch.randn(3, n),), path, input_names=["x"],
                      dynamic_shapes=({0: torch.export.Dim("tokens", min=1)},), dynamo=True,
                      external_data=False, verbose=False)


# --- Tables --------------------------------------------------------------------------------------


def show(cells: pd.DataFrame, others: pd.DataFrame) -> None:
    """Print the ratios, the worst cells and the means that the targets speak of."""
    pd.set_option("display.width", 160)
    for mode, group in cells.groupby("mode"):
        # b = n has a column of its own.
        column = group["block_size"].astype(str).where(group["block_size"] < group["n"], "n")
        order = [*dict.fromkeys(column)]
        wide = group.assign(b=column).pivot(index=["n", "tokens"], columns="b", values="ratio")
        print(f"\n{mode}: times nn.Linear, by block size\n{wide[order].round(2).to_string()}")
        few = group[(group["n"] >= 512) & (group["tokens"] >= (32 if mode == "inference" else 256))]
        if len(few):
            worst = few.loc[few["ratio"].idxmin()]
            against = (few["ratio"] / few["c3a_ratio"])[few["block_size"] <= 32].dropna()
            print(f"n >= 512 and enough tokens: worst {worst['ratio']:.2f} (n = {worst['n']}, "
                  f"{worst['tokens']} tokens, b = {worst['block_size']}), geometric mean "
                  f"{gmean(few['ratio']):.2f}; against C3A at b <= 32: mean {gmean(against):.1f}, "
                  f"worst {against.min():.2f}; share of the roofline {gmean(few['roofline']):.2f}")
    wide = others.pivot(index=["method", "compression"], columns=["n", "tokens"], values="ratio")
    print(f"\nother methods, inference: times nn.Linear, by n and tokens\n"
          f"{wide.round(2).to_string()}")


def gmean(values: pd.Series) -> float:
    """Return the geometric mean; nan of nothing."""
    return math.exp(np.log(values).mean()) if len(values) else math.nan


# --- The cost model ------------------------------------------------------------------------------


def calibrate() -> None:
    """Time each algorithm over a grid, fit the cost model and print its constants."""
    rows = []
    grid = [(n, t, mode, dtype) for n in (128, 256, 512, 1024, 2048) for t in (1, 32, 256, 1024)
            for mode in (inference, training) for dtype in (torch.float32, torch.bfloat16)]
    for n, t, mode, dtype in tqdm(grid, desc="calibrating", unit="group", leave=False):
        x = torch.randn(t, n, dtype=dtype)
        for b in (2, 4, 8, 16, 32, 64, 128, n):
            layers = {name: BlockCirculantLinear(n, n, b, algorithm=name, dtype=dtype)
                      for name in ALGORITHMS}
            taken = times_in_turn({name: mode(layer, x) for name, layer in layers.items()})
            rows += [(name, n, t, mode is training, dtype is torch.bfloat16, b, s)
                     for name, s in taken.items()]
    table = pd.DataFrame(rows, columns=["algorithm", "n", "tokens", "training", "half", "b",
                                        "seconds"])
    for (trained, half), costs in table.groupby(["training", "half"]):
        print(f"    ({trained}, {half}): {{")
        for name, group in costs.groupby("algorithm"):
            done = np.array([cost.work(name, r.n // r.b, r.n // r.b, r.b, r.tokens, r.training)
                             for r in group.itertuples()])
            # Relative errors count, so every row is divided by its own time.
            target = group["seconds"].to_numpy()
            scale = done.max(0)
            scale[scale == 0] = 1
            fitted = nnls(done / scale / target[:, None], np.ones(len(done)))[0] / scale
            error = math.exp(np.median(np.abs(np.log(done @ fitted / target))))
            print(f'        "{name}": Work({", ".join(f"{c:.2g}" for c in fitted)}),'
                  f"  # typical error a factor {error:.2f}")
            table.loc[group.index, "model"] = done @ fitted
        print("    },")
    cells = table.groupby(["n", "tokens", "training", "half", "b"])
    chosen = pd.Series(table.loc[cells["model"].idxmin(), "seconds"].to_numpy())
    print("what these constants choose takes "
          f"{gmean(chosen / cells['seconds'].min().to_numpy()):.3f} times the best choice")


if __name__ == "__main__":
    main()
