"""What the exercises of notebooks 01 and 02 share: one way to compare an answer to the truth."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Return fixed random numbers in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def form_problem(answer: Any, truth: Tensor, given: str) -> str | None:
    """Say what is wrong with the kind and the shape of an answer, if anything."""
    if answer is None or answer is ...:
        return f"for {given} it returned nothing: replace the dots, and return the result"
    if not isinstance(answer, Tensor):
        return f"for {given} it returned a {type(answer).__name__}, not a tensor"
    if answer.shape != truth.shape:
        return (f"for {given} it returned the shape {tuple(answer.shape)}, "
                f"not {tuple(truth.shape)}")
    if answer.is_complex() and not truth.is_complex():
        if answer.imag.abs().max() < 1e-9 * (1 + truth.abs().max()):
            return "the numbers have an imaginary part of zero: return the real part"
        return f"for {given} the result has an imaginary part that is not zero"
    return None


def same(answer: Tensor, truth: Tensor, tolerance: float = 1e-6) -> bool:
    """Tell whether two tensors agree, by the largest difference, relative to the truth."""
    scale = truth.abs().max().clamp(min=1e-30)
    return bool((answer.to(truth.dtype) - truth).abs().max() <= tolerance * scale)


def matrix_problem(answer: Callable[..., Tensor], *given: Tensor) -> str | None:
    """Say so if an answer makes a tensor many times as large as what it is given: a matrix."""
    with _LargestTensor() as largest:
        answer(*(tensor.clone() for tensor in given))
    if largest.numbers > 8 * max(tensor.numel() for tensor in given):
        return (f"it is right, but it builds a tensor of {largest.numbers:,} numbers on the way: "
                "do it without a matrix, on the spectra")
    return None


class _LargestTensor(TorchFunctionMode):
    """Counts the numbers of the largest tensor that is made inside."""

    numbers = 0

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Any = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for part in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(part, Tensor):
                self.numbers = max(self.numbers, part.numel())
        return made
