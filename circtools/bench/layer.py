"""Speed of BlockCirculantLinear beside nn.Linear and other ways to compress a layer, in one run.

    python -m circtools.bench.layer  # about 10 minutes; notebook 09 shows the results

For every width n, number of tokens and block size it times, in turn, ``nn.Linear``, the layer in
both orders, and the C3A operator of the package ``peft`` (in the extra ``benchmarks``), and gives
medians. ``ratio``, and ``strided_ratio`` for the strided order, is the time of ``nn.Linear``
divided by that of the layer: above 1 is faster. ``roofline`` is the share of the speed that the
machine's measured matrix-product rate and memory bandwidth would allow. Besides: the other methods
at equal stored weights (inference), and the bytes kept for backward. Do not run anything else
beside it.
"""

import importlib.util
import logging
import runpy
import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from circtools import BlockCirculantLinear, bench, compression
from circtools.linear import NARROW
from circtools.products import choose
from circtools.structures import LowRankLinear

Layer = Callable[[Tensor], Any]
INT8 = "int8 (onnxruntime)"


def inference(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    """Return a forward pass with weights prepared once."""
    compression.prepare(layer.eval())
    return torch.no_grad()(lambda: layer(x))


def training(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    """Return a forward and a backward pass, with gradients of the weights and of the input."""
    layer.train()
    x = x.clone().requires_grad_()
    gradient = torch.randn_like(layer(x))
    return lambda: torch.autograd.grad(layer(x), [x, *layer.parameters()], gradient)


class C3A(nn.Module):
    """The block-circulant operator of peft, as a layer; it has no bias of its own."""

    def __init__(self, n: int, block_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n // block_size, n // block_size, block_size) / n)
        self.bias = nn.Parameter(torch.zeros(n))

    def forward(self, x: Tensor) -> Tensor:
        return c3a_operator()(x, self.weight) / x.shape[-1] + self.bias


@cache
def c3a_operator() -> Callable[[Tensor, Tensor], Tensor]:
    """Return peft's operator, from its one file; the rest of peft would want transformers."""
    package = importlib.util.find_spec("peft")
    if package is None or not package.submodule_search_locations:
        raise ImportError("peft is not installed: pip install 'circtools[benchmarks]'")
    file = Path(package.submodule_search_locations[0]) / "tuners" / "c3a" / "utils.py"
    return runpy.run_path(str(file))["BlockCircularConvolution"].apply


def limit(layer: nn.Module, x: Tensor, machine: dict[str, float]) -> float:
    """Return the seconds that the products, as torch counts them, or the memory traffic must take.

    The traffic is at least inputs, outputs and stored weights, and in training three times that.
    Of the FFT's transforms, which torch does not count, the traffic alone is a limit.
    """
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(layer.training):
        y = layer(x.clone().requires_grad_(layer.training))
        if layer.training:
            y.sum().backward()
    moved = 2 * x.numel() + sum(p.numel() for p in layer.parameters())
    return max(counter.get_total_flops() / machine["flops"],
               4 * moved * (3 if layer.training else 1) / machine["bandwidth"])


def measure_layer(sizes: Sequence[int], tokens: Sequence[int], blocks: Sequence[int],
                  machine: dict[str, float]) -> list[dict[str, object]]:
    """Return a row per cell: block-circulant and C3A against nn.Linear."""
    rows = []
    c3a_operator()  # raises now, if peft is not there
    grid = [(n, t, mode) for n in sizes for t in tokens for mode in (inference, training)]
    for n, t, mode in tqdm(grid, desc="cells", unit="group", leave=False):
        x, linear, trained = torch.randn(t, n), nn.Linear(n, n), mode is training
        for b in (*blocks, n):
            layer = BlockCirculantLinear(n, n, b)
            timed = {"linear": mode(linear, x), "layer": mode(layer, x),
                     "strided": mode(BlockCirculantLinear(n, n, b, order="strided"), x)}
            # C3A holds (tokens, blocks, b) in complex numbers; its slowest cells take minutes.
            if b * 8 >= n // 256 and t * (n / 1024) ** 2 / b <= 4096:
                timed["c3a"] = mode(C3A(n, b), x)
            seconds = bench.medians(timed)
            rows.append({
                "n": n, "tokens": t, "mode": mode.__name__, "block_size": b,
                "algorithm": "dense" if not trained and n * n <= NARROW else choose(b, t),
                "seconds": seconds["layer"],
                "linear_seconds": seconds["linear"], "ratio": seconds["linear"] / seconds["layer"],
                "strided_ratio": seconds["linear"] / seconds["strided"],
                "c3a_ratio": seconds["linear"] / seconds["c3a"] if "c3a" in seconds else None,
                "roofline": limit(layer, x, machine) / seconds["layer"],
                "kept_bytes": kept_bytes(layer, x) if trained else None,
                "linear_kept_bytes": kept_bytes(linear, x) if trained else None})
    return rows


def kept_bytes(layer: nn.Module, x: Tensor) -> int:
    """Return the bytes that forward keeps for backward, the layer's parameters not counted."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = layer.train()(x.clone().requires_grad_())  # kept, or its memory could serve twice
    own = {p.untyped_storage().data_ptr() for p in layer.parameters()}
    return sum(size for address, size in kept.items() if address not in own) if y.numel() else 0


def other_methods(n: int) -> dict[tuple[str, float], Layer]:
    """Return layers n wide by method and compression."""
    methods: dict[tuple[str, float], Layer] = {
        (INT8, 4): quantised(n),
        **{("low rank", ratio): LowRankLinear(n, n, ratio) for ratio in (2, 4, 8, 16, 32)}}
    for sparsity in (0.5, 0.75, 0.9, 0.95, 0.99):
        pruned = nn.Linear(n, n).requires_grad_(False)
        pruned.weight.mul_(torch.rand(n, n) >= sparsity)
        rows, bias = pruned.weight.to_sparse_csr(), pruned.bias
        methods["pruned, kept dense", 1 / (1 - sparsity)] = pruned
        methods["pruned, sparse CSR", 1 / (1 - sparsity)] = partial(
            lambda rows, bias, x: (rows @ x.T).T + bias, rows, bias)
    return methods


def quantised(n: int) -> Layer:
    """Return a layer in onnxruntime with its weights, and on the fly its inputs, in 8 bits."""
    import onnxruntime
    from onnxruntime.quantization import QuantType, quantize_dynamic

    options = onnxruntime.SessionOptions()  # as many threads as torch, idle in between, no chatter
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        plain, small = f"{folder}/plain.onnx", f"{folder}/int8.onnx"
        torch.onnx.export(nn.Linear(n, n).eval(), (torch.randn(3, n),), plain, input_names=["x"],
                          dynamic_shapes=({0: torch.export.Dim("tokens", min=1)},), dynamo=True,
                          external_data=False, verbose=False)
        quantize_dynamic(plain, small, weight_type=QuantType.QInt8)
        session = onnxruntime.InferenceSession(small, options)
    return lambda x: session.run(None, {"x": x.numpy()})


def measure_others(sizes: Sequence[int], tokens: Sequence[int]) -> list[dict[str, object]]:
    """Return a row per method, level, width and number of tokens; inference only."""
    rows: list[dict[str, object]] = []
    for n in tqdm(sizes, desc="other methods", unit="width", leave=False):
        linear = nn.Linear(n, n)
        for (name, ratio), layer in other_methods(n).items():
            for t in tokens:
                x = torch.randn(t, n)
                runs = {"linear": inference(linear, x),
                        "method": torch.no_grad()(lambda layer=layer, x=x: layer(x))}
                # The threads of onnxruntime and those of torch would be in each other's way.
                seconds = (bench.medians(runs) if name != INT8 else
                           {key: bench.medians({key: run})[key] for key, run in runs.items()})
                rows.append({"method": name, "compression": ratio, "n": n, "tokens": t,
                             "seconds": seconds["method"],
                             "ratio": seconds["linear"] / seconds["method"]})
    return rows


def main() -> None:
    """Measure and write."""
    logging.getLogger().setLevel(logging.ERROR)  # onnxruntime's advice on quantising
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
    warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
    large = torch.zeros(2**26), torch.ones(2**26)  # 256 MiB each, more than any cache
    copying = bench.medians({"copy": lambda: large[0].copy_(large[1])})["copy"]
    machine = {"flops": bench.product_rate(), "bandwidth": 2 * 4 * 2**26 / copying}
    sizes, tokens = (256, 512, 1024, 2048, 4096), (1, 32, 256, 2048)
    blocks = (2, 4, 8, 16, 32, 64, 128)
    bench.write({"machine": machine, "cells": measure_layer(sizes, tokens, blocks, machine),
                 "others": measure_others(sizes, tokens)}, "layer")


if __name__ == "__main__":
    main()
