"""BlockCirculantLinear: every algorithm against the plain matrix, and as a drop-in layer."""

import copy
import shutil
import sysconfig
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import parametrizations

from circtools import BlockCirculantLinear, linear, products, prune
from circtools.matrices import Order, block_circulant, circulant
from circtools.products import ALGORITHMS, choose, dft_matrices

NAMES = ("auto", *ALGORITHMS)
SHAPES = st.tuples(st.integers(1, 24), st.integers(1, 24)).flatmap(
    lambda sizes: st.tuples(st.just(sizes[0]), st.just(sizes[1]),
                            st.one_of(st.integers(1, max(sizes)), st.just(max(sizes)))))
ORDERS = st.sampled_from(["contiguous", "strided"])
BATCHES = st.sampled_from([(), (0,), (1,), (5,), (2, 3), (2, 0, 3), (1, 1, 4)])


def reference_matrix(layer: BlockCirculantLinear) -> np.ndarray:
    """The weight matrix built with scipy, (out_features, in_features)."""
    blocks = [[scipy.linalg.circulant(row).T for row in rows]
              for rows in layer.weight.detach().double().numpy()]
    matrix, (p, q, b) = np.block(blocks), layer.weight.shape
    if layer.order == "strided":  # position * blocks + block instead of block * b + position
        outputs, inputs = (np.arange(n * b).reshape(n, b).T.flatten() for n in (p, q))
        matrix = matrix[np.ix_(outputs, inputs)]
    return matrix[: layer.out_features, : layer.in_features]


def close(actual: Tensor, expected: np.ndarray | Tensor, tolerance: float) -> None:
    actual = actual.detach().double()
    expected = torch.as_tensor(expected).detach().double()
    assert actual.shape == expected.shape
    scale = max(1.0, float(expected.abs().max()) if expected.numel() else 0.0)
    assert torch.allclose(actual, expected, rtol=0, atol=tolerance * scale)


def make(shape: tuple[int, int, int], name: str, dtype: torch.dtype, batch: tuple[int, ...],
         order: Order = "contiguous") -> tuple[BlockCirculantLinear, Tensor]:
    torch.manual_seed(0)
    layer = BlockCirculantLinear(*shape, order=order, algorithm=name).double()
    x = torch.randn(*batch, shape[0], dtype=torch.float64)
    return layer.to(dtype), x.to(dtype).requires_grad_()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("dtype", "tolerance"), [
    (torch.float64, 1e-10), (torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@given(shape=SHAPES, batch=BATCHES, order=ORDERS, few=st.sampled_from([1, 16]))
def test_forward_and_gradients(name: str, dtype: torch.dtype, tolerance: float,
                               shape: tuple[int, int, int], batch: tuple[int, ...], order: Order,
                               few: int) -> None:
    """In the strided order ``few`` blocks go the way of the contiguous one, and more their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "FEW_BLOCKS", few)
        compare_with_the_reference(name, dtype, tolerance, shape, batch, order)


def compare_with_the_reference(name: str, dtype: torch.dtype, tolerance: float,
                               shape: tuple[int, int, int], batch: tuple[int, ...], order: Order
                               ) -> None:
    layer, x = make(shape, name, dtype, batch, order)
    matrix = torch.from_numpy(reference_matrix(layer)).requires_grad_()  # float64
    x64 = x.detach().double().requires_grad_()
    expected = x64 @ matrix.T + layer.bias.detach().double()
    y = layer(x)
    assert y.dtype == dtype
    close(y, expected, tolerance)

    upstream = torch.randn_like(expected).to(dtype)  # the same rounded gradient for both
    y.backward(upstream)
    expected.backward(upstream.double())
    close(x.grad, x64.grad, tolerance)
    close(layer.bias.grad, upstream.double().reshape(-1, shape[1]).sum(0), tolerance)
    # The gradient of a first row is the sum over the places where each of its entries stands.
    index = BlockCirculantLinear(*shape, order=order).double()
    with torch.no_grad():
        index.weight.copy_(torch.arange(index.weight.numel()).view_as(index.weight))
    places = torch.from_numpy(reference_matrix(index)).long().flatten()
    summed = torch.zeros(index.weight.numel(), dtype=torch.float64)
    summed.index_add_(0, places, matrix.grad.flatten())
    close(layer.weight.grad, summed.view_as(index.weight), tolerance)


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("shape", [(6, 4, 1), (6, 4, 2), (5, 7, 3), (4, 4, 4), (5, 5, 5)])
def test_first_and_second_derivatives(name: str, shape: tuple[int, int, int]) -> None:
    layer, x = make(shape, name, torch.float64, (2,))

    def function(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    inputs = (x, layer.weight, layer.bias)
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@given(st.integers(1, 40))
def test_dft_matrices_turn_a_product_of_circulants_into_single_products(b: int) -> None:
    of_x, of_w, back = dft_matrices(b, torch.empty(0, dtype=torch.float64))
    real = 1 + (b % 2 == 0 and b > 1)
    assert of_x.shape == of_w.shape == back.shape == (real + 3 * ((b - real) // 2), b)
    x, w = torch.randn(2, b, dtype=torch.float64)
    close(((of_x @ x) * (of_w @ w)) @ back, circulant(w) @ x, 1e-12)


def test_dft_matrices_made_in_inference_mode_serve_a_training() -> None:
    layer = BlockCirculantLinear(22, 11, 11, algorithm="dft")
    with torch.inference_mode():
        layer(torch.randn(2, 22))
    layer(torch.randn(2, 22)).sum().backward()


@pytest.mark.parametrize("order", ["contiguous", "strided"])
def test_dense_weight_is_the_matrix_in_use(order: Order) -> None:
    layer = BlockCirculantLinear(10, 7, 4, bias=False, order=order).double()
    assert np.array_equal(layer.dense_weight().detach().numpy(), reference_matrix(layer))
    close(layer(torch.eye(10, dtype=torch.float64)).T, layer.dense_weight(), 1e-12)


@pytest.mark.parametrize("block_size", [2, 16, 512])
def test_outputs_vary_as_those_of_linear(block_size: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2000, 512)
    ours = torch.stack([BlockCirculantLinear(512, 512, block_size)(x).var() for _ in range(8)])
    plain = nn.Linear(512, 512)(x).var()
    assert ours.mean().item() == pytest.approx(plain.item(), rel=0.1)


@pytest.mark.parametrize("order", ["contiguous", "strided"])
def test_from_linear_projects_and_leaves_the_layer_alone(order: Order) -> None:
    circulant = BlockCirculantLinear(12, 8, 4, order=order)
    dense = nn.Linear(12, 8)
    with torch.no_grad():
        dense.weight.copy_(circulant.dense_weight())
    before = dense.weight.clone()
    projected = BlockCirculantLinear.from_linear(dense.eval(), 4, order=order)
    close(projected.weight, circulant.weight, 1e-6)
    assert torch.equal(projected.bias, dense.bias) and projected.bias is not dense.bias
    assert torch.equal(dense.weight, before) and not projected.training
    assert BlockCirculantLinear.from_linear(nn.Linear(4, 4, bias=False), 2).bias is None


@torch.no_grad()
def test_from_linear_of_a_weight_that_is_computed_can_be_trained() -> None:
    pruned = nn.Linear(8, 8)
    prune([pruned])
    for dense in (pruned, parametrizations.weight_norm(nn.Linear(8, 8))):
        layer = BlockCirculantLinear.from_linear(dense, 2)
        assert layer.weight.requires_grad and layer.weight.is_leaf and layer.bias.is_leaf


def test_a_perfect_shuffle_takes_one_order_to_the_other() -> None:
    plain, strided = (BlockCirculantLinear(12, 8, 4, order=order)
                      for order in ("contiguous", "strided"))
    strided.load_state_dict(plain.state_dict())
    x = torch.randn(5, 12)
    with torch.no_grad():
        plain.bias.zero_(), strided.bias.zero_()
    shuffled = strided(x.view(5, 3, 4).mT.flatten(1)).view(5, 4, 2).mT.flatten(1)
    close(shuffled, plain(x), 1e-5)


def test_state_dict_copy_and_repr() -> None:
    layer, other = BlockCirculantLinear(9, 6, 3), BlockCirculantLinear(9, 6, 3)
    assert set(layer.state_dict()) == {"weight", "bias"}
    other.load_state_dict(layer.state_dict())
    x = torch.randn(4, 9)
    assert torch.equal(layer(x), other(x))
    assert torch.equal(layer(x), copy.deepcopy(layer)(x))
    assert "in_features=9, out_features=6, bias=True, block_size=3" in repr(layer)


@pytest.mark.parametrize("name", NAMES)
def test_autocast_gives_what_linear_gives(name: str) -> None:
    layer, plain = BlockCirculantLinear(24, 16, 4, algorithm=name), nn.Linear(24, 16)
    x = torch.randn(8, 24)
    expected = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
        assert y.dtype == plain(x).dtype == torch.bfloat16
    close(y, expected, 2e-2)
    y.float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("b", [1, 4])
def test_what_was_prepared_serves_until_the_weight_changes(name: str, b: int) -> None:
    torch.manual_seed(0)
    layer, x = BlockCirculantLinear(12, 8, b, algorithm=name).eval(), torch.randn(3, 12)

    def check(kept: bool = False) -> None:
        with torch.no_grad():
            close(layer(x), x @ layer.dense_weight().T + layer.bias, 1e-5)
            if kept:  # what is prepared is what is used
                used = next(iter(layer._prepared[0].values()))
                used.mul_(2)
                assert not torch.allclose(layer(x), x @ layer.dense_weight().T + layer.bias)
                used.div_(2)

    check()
    assert layer._prepared is None, "nothing is kept without being asked"
    assert layer.prepare() is layer
    check(kept=True)
    for change in (lambda: layer.weight.mul_(2),
                   lambda: layer.load_state_dict(
                       BlockCirculantLinear(12, 8, b).state_dict()),
                   lambda: setattr(layer, "weight", nn.Parameter(torch.randn_like(layer.weight))),
                   lambda: setattr(layer.weight, "data", torch.randn_like(layer.weight)),
                   layer.double, layer.float):
        layer.prepare()
        with torch.no_grad():
            change()
        x = x.to(layer.weight.dtype)
        check()
    layer.prepare()
    assert copy.deepcopy(layer)._prepared is None and layer.train()._prepared is None
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        layer.prepare()
        assert layer(x).dtype == torch.bfloat16
    assert layer.eval()._prepared is not None
    check()


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
def test_a_fused_step_in_evaluation_mode_is_noticed(optimizer: type) -> None:
    """Torch does not count it as a change of the weight."""
    layer, x = BlockCirculantLinear(64, 64, 8, bias=False).eval().prepare(), torch.randn(3, 64)
    step = optimizer(layer.parameters(), lr=0.1, fused=True).step
    layer(x).square().sum().backward()
    step()
    with torch.no_grad():
        close(layer(x), x @ layer.dense_weight().T, 1e-4)


@torch.no_grad()
def test_without_being_prepared_no_edit_is_missed() -> None:
    layer, x = BlockCirculantLinear(64, 64, 8, bias=False).eval(), torch.randn(3, 64)
    numbers = layer.weight.detach().numpy()  # the same memory
    for edit in (lambda: layer.weight.data.mul_(3), lambda: numbers.fill(0.5)):
        layer(x)
        edit()
        close(layer(x), x @ layer.dense_weight().T, 1e-4)


@torch.no_grad()
def test_weights_that_come_and_go_are_never_mixed_up() -> None:
    """A tensor that is freed may leave its address to the next one."""
    layer, x = BlockCirculantLinear(64, 64, 8, bias=False).eval(), torch.randn(3, 64)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    for _ in range(20):
        layer.prepare()
        w = torch.randn(8, 8, 8)
        close(torch.func.functional_call(layer, {"weight": w}, (x,)), x @ block_circulant(w).T,
              1e-4)
        del w
        layer.weight = nn.Parameter(torch.randn(8, 8, 8))
        close(layer(x), x @ layer.dense_weight().T, 1e-4)
        layer.prepare()
        nn.utils.vector_to_parameters(vector + torch.randn_like(vector), layer.parameters())
        close(layer(x), x @ layer.dense_weight().T, 1e-4)
    many = torch.randn(5, 8, 8, 8)
    batched = torch.vmap(lambda w: torch.func.functional_call(layer, {"weight": w}, (x,)))(many)
    close(batched[4], x @ block_circulant(many[4]).T, 1e-4)


def test_memory_of_what_is_prepared() -> None:
    wide, narrow = BlockCirculantLinear(512, 512, 8), BlockCirculantLinear(256, 256, 8)
    large = BlockCirculantLinear(512, 512, 64)
    for layer, numbers in ((wide, 512 * 512 / 8 * 11 / 8), (narrow, 256 * 256),
                           (large, 512 * 512 / 64 * (95 + 2 * 33) / 64)):
        kept, *_ = layer.prepare()._prepared
        assert sum(torch.view_as_real(k).numel() if k.is_complex() else k.numel()
                   for k in kept.values()) == numbers
    x = torch.randn(3, 256)
    expected = narrow(x)
    for name, numbers in (("auto", 256 * 256 / 8 * 11 / 8), ("dense", None)):
        narrow.algorithm = name
        kept, *_ = narrow.prepare().prepare(keep_dense=False)._prepared
        assert [k.numel() for k in kept.values()] == ([] if numbers is None else [numbers])
        with torch.no_grad():
            close(narrow(x), expected, 1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("order", ["contiguous", "strided"])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), 3e38])
def test_a_number_out_of_range_spoils_its_token_alone(name: str, order: Order, value: float
                                                      ) -> None:
    torch.manual_seed(0)
    layer, x = BlockCirculantLinear(24, 16, 4, order=order, algorithm=name), torch.randn(2, 5, 24)
    expected = layer(x)
    x[1, 2, 7] = value
    for _ in range(2):
        y = layer(x)
        rest = torch.arange(10) != 7  # the token is number 1 * 5 + 2
        close(y.flatten(0, 1)[rest], expected.flatten(0, 1)[rest], 1e-6)
        assert value == 3e38 or not y[1, 2].isfinite().any()
        layer.eval().prepare()
        torch.set_grad_enabled(False)
    torch.set_grad_enabled(True)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_input_of_another_width_or_dtype_is_named(name: str) -> None:
    layer = BlockCirculantLinear(8, 8, 4, algorithm=name)
    with pytest.raises(ValueError, match=r"width 8, got shape \(3, 7\)"):
        layer(torch.randn(3, 7))
    with pytest.raises(TypeError, match=r"input is torch\.bfloat16 and the weight torch\.float32"):
        layer(torch.randn(3, 8, dtype=torch.bfloat16))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("b", [5, 8])
def test_function_transforms(name: str, b: int) -> None:
    """torch.func's, forward mode, and tensors that only stand for data."""
    layer, x = make((16, 16, b), name, torch.float64, (3,))
    x, weight = x.detach(), layer.weight.detach()

    def loss(w: Tensor, x: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": w}, (x,)).square().sum()

    expected = torch.autograd.grad(layer(x).square().sum(), layer.weight)[0]
    close(torch.func.grad(loss)(weight, x), expected, 1e-10)
    stacked = torch.stack([weight, 2 * weight])
    of_each = torch.vmap(torch.func.grad(loss), (0, None))(stacked, x)
    close(of_each[0], expected, 1e-10)
    close(of_each[1], torch.func.grad(loss)(2 * weight, x), 1e-10)
    tangent = torch.randn_like(weight)
    _, along = torch.func.jvp(lambda w: loss(w, x), (weight,), (tangent,))
    close(along, (expected * tangent).sum(), 1e-8)
    with FakeTensorMode():
        BlockCirculantLinear(16, 16, b, algorithm=name)(torch.randn(3, 16)).sum().backward()
    close(torch.func.grad(loss)(weight, x), expected, 1e-10)  # nothing fake was kept


def test_the_output_is_contiguous() -> None:
    for bias in (True, False):
        layer = BlockCirculantLinear(8, 10, 4, bias)
        assert layer(torch.randn(2, 3, 8)).view(2, -1).shape == (2, 30)
    for order in ("contiguous", "strided"):
        layer, x = BlockCirculantLinear(256, 250, 16, order=order).eval(), torch.randn(2, 4096, 256)
        with torch.no_grad():
            assert layer(x).is_contiguous(), "also if done in parts"
            close(layer(x), x @ layer.dense_weight().T + layer.bias, 1e-5)


def test_autocast_leaves_float64_alone_as_it_does_for_linear() -> None:
    layers_ = BlockCirculantLinear(8, 8, 4).double(), nn.Linear(8, 8).double()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = (layer(torch.randn(2, 8, dtype=torch.float64)) for layer in layers_)
    assert ours.dtype == theirs.dtype == torch.float64


def test_meta_device_and_dtype() -> None:
    layer = BlockCirculantLinear(8, 8, 4, device="meta", dtype=torch.float64)
    assert layer(torch.empty(3, 8, device="meta", dtype=torch.float64)).shape == (3, 8)


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("order", ["contiguous", "strided"])
def test_export(name: str, order: Order) -> None:
    layer, x = BlockCirculantLinear(10, 6, 4, order=order, algorithm=name), torch.randn(3, 10)
    program = torch.export.export(layer, (x,))
    close(program.module()(x), layer(x), 1e-5)


@pytest.mark.parametrize("order", ["contiguous", "strided"])
@pytest.mark.parametrize("b", [1, 4, 130])
def test_traced_by_fx_and_by_jit(order: Order, b: int, tmp_path: Path) -> None:
    model, x = nn.Sequential(BlockCirculantLinear(150, 132, b, order=order), nn.ReLU()), \
        torch.randn(2, 3, 150)
    expected = torch.autograd.grad(model(x).square().sum(), model[0].weight)[0]
    with warnings.catch_warnings():  # sizes become constants, and the tracer is deprecated
        warnings.simplefilter("ignore")
        by_jit = torch.jit.trace(model, torch.randn(5, 1, 150))
        by_jit.save(tmp_path / "model.pt")
        loaded = torch.jit.load(tmp_path / "model.pt")
    by_fx = torch.fx.symbolic_trace(model)
    for traced in (by_fx, copy.deepcopy(by_fx), by_jit, loaded):
        close(traced(x), model(x), 1e-5)
        [weight] = [p for name, p in traced.named_parameters() if name.endswith("weight")]
        close(torch.autograd.grad(traced(x).square().sum(), weight)[0], expected, 1e-4)
        with torch.no_grad():
            close(traced(x), model(x), 1e-5)
    close(by_fx(x[0, 0]), model(x[0, 0]), 1e-5)


INDUCTOR = pytest.param("inductor", 4, marks=pytest.mark.skipif(
    shutil.which("g++") is None
    or not (Path(sysconfig.get_paths()["include"]) / "Python.h").exists(),
    reason="torch.compile needs g++ and Python's headers"))


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "b"), [
    INDUCTOR, ("aot_eager", 1), ("aot_eager", 4), ("aot_eager", 128)])
def test_compile_into_one_graph_as_the_layer_comes(backend: str, b: int) -> None:
    layer, x = BlockCirculantLinear(130, 126, b), torch.randn(3, 130)
    compiled = torch.compile(layer, backend=backend, fullgraph=True)
    close(compiled(x), layer(x), 1e-5)
    expected = torch.autograd.grad(layer(x).square().sum(), layer.weight)[0]
    close(torch.autograd.grad(compiled(x).square().sum(), layer.weight)[0], expected, 1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("name", NAMES)
def test_gpu(name: str) -> None:
    layer, x = make((10, 6, 4), name, torch.float64, (5,))
    expected = layer(x)
    close(layer.cuda()(x.cuda()).cpu(), expected, 1e-10)


@pytest.mark.parametrize(("arguments", "options", "error", "words"), [
    ((8, 8, 0), {}, ValueError, "block_size must be 1 or more, got 0"),
    ((8, 8, -2), {}, ValueError, "got -2"),
    ((8, 8, 2.0), {}, TypeError, "must be an int, got 2.0"),
    ((8, 8, True), {}, TypeError, "must be an int, got True"),
    ((8, 4, 9), {}, ValueError, "9 is larger than the matrix.*at most 8"),
    ((0, 8, 2), {}, ValueError, "in_features must be 1 or more, got 0"),
    ((8, 8.0, 2), {}, TypeError, "out_features must be an int, got 8.0"),
    ((8, 8, 2), {"algorithm": "fast"}, ValueError, "auto, dense, fft, dft, got 'fast'"),
    ((8, 8, 2), {"order": "raster"}, ValueError, "contiguous, strided, got 'raster'"),
])
def test_bad_arguments_are_named(arguments: tuple, options: dict[str, str],
                                 error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        BlockCirculantLinear(*arguments, **options)


@pytest.mark.parametrize("bias", [True, False])
def test_many_tokens_are_multiplied_in_parts(bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer = BlockCirculantLinear(15, 9, 4, bias, algorithm="dft").eval()
    x = torch.randn(3, 17, 15)
    with torch.no_grad():
        whole = layer(x)
        monkeypatch.setattr(linear, "PART", 16 * 7)  # seven tokens at a time
        close(layer(x), whole, 1e-6)
    close(layer(x), whole, 1e-6)  # with gradients, all at once


def test_block_size_and_tokens_choose_the_algorithm() -> None:
    sizes = (1, 2, 32, 33, 128, 129, 784)
    assert [choose(b, 255) for b in sizes] == ["dense", *["dft"] * 4, "fft", "fft"]
    assert [choose(b, 256) for b in sizes] == ["dense", "dft", "dft", *["fft"] * 4]
    layer = BlockCirculantLinear(512, 512, 64).eval()
    x = torch.randn(300, 512)
    with torch.no_grad():
        many, few = layer(x), layer(x[:10])
        close(few, many[:10], 1e-5)
        layer.prepare()
        assert torch.equal(layer(x), many) and torch.equal(layer(x[:10]), few)
        half = layer.bfloat16()(x.bfloat16())  # by the DFT, which needs no float32
        layer.algorithm = "dft"
        assert torch.equal(layer(x.bfloat16()), half)


@pytest.mark.slow
@pytest.mark.parametrize("block_size", [1, 4, 5, 32])
def test_an_exported_layer_runs_in_onnxruntime(block_size: int, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model = nn.Sequential(BlockCirculantLinear(32, 20, block_size), nn.ReLU(),
                          BlockCirculantLinear(20, 7, min(block_size, 20))).eval()
    path = tmp_path / "model.onnx"
    torch.onnx.export(model, (torch.randn(3, 32),), path, input_names=["x"], verbose=False,
                      dynamic_shapes=({0: torch.export.Dim("tokens", min=1)},), dynamo=True)
    session = onnxruntime.InferenceSession(path)
    for tokens in (1, 6):
        x = torch.randn(tokens, 32)
        [y] = session.run(None, {"x": x.numpy()})
        with torch.no_grad():
            close(torch.from_numpy(y), model(x), 1e-5)


def test_what_cannot_be_projected_is_refused() -> None:
    layer = BlockCirculantLinear(8, 6, 2)
    with pytest.raises(ValueError, match=r"shape \(6, 8\), got \(8, 6\)"):
        layer.project(torch.ones(8, 6))
    with pytest.raises(TypeError, match=r"takes a torch.nn.Linear, got Conv2d"):
        BlockCirculantLinear.from_linear(nn.Conv2d(1, 1, 1), 2)
    with pytest.raises(TypeError, match="bias is that of the dense layer"):
        BlockCirculantLinear.from_linear(nn.Linear(8, 6), 2, bias=False)
    prune([layer])
    for pruned in (layer, nn.utils.prune.identity(BlockCirculantLinear(8, 6, 2), "weight")):
        with pytest.raises(ValueError, match="pruned: project it before"):
            pruned.project(torch.ones(6, 8))
