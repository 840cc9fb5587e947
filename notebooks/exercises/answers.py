"""What the exercises share: ways to compare an answer to the truth, and to show the difference."""

import base64
import copy
import html
import math
from collections.abc import Callable, Iterable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from circtools.report import style

NOTHING = "it returns None: replace the dots with a return statement"


class Calls:
    """Calls an answer, and notes what it was given and what came of it."""

    def __init__(self, answer: Callable[..., Any]) -> None:
        self.answer = answer
        self.seen: list[tuple[tuple[Any, ...], Any]] = []

    def __call__(self, *given: Any) -> Any:
        before = copy.deepcopy(given)
        result = self.answer(*given)
        self.seen.append((before, (result, given)))  # it may have changed what it was given
        return result

    def agree_with(self, other: Callable[..., Any]) -> bool:
        """Tell whether another function would have done the same in each of these calls."""
        again = Calls(other)
        try:
            for before, _ in self.seen:
                again(*copy.deepcopy(before))
            return bool(self.seen) and alike(self.seen, again.seen)
        except Exception:  # it stops where the answer goes on
            return False


def alike(one: Any, other: Any) -> bool:
    """Tell whether two results are the same, but for rounding."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, nn.Linear):
        one, other = one.weight.detach(), other.weight.detach()
    try:
        return np.shape(one) == np.shape(other) and np.allclose(
            one, other, rtol=1e-3, atol=1e-6, equal_nan=True)
    except TypeError:  # these are no numbers
        return one == other


def number_problem(answer: Callable[..., float], truth: Callable[..., float],
                   cases: Iterable[tuple[Any, ...]]) -> str | None:
    """Say for which case an answer does not return the true number, if there is one."""
    for case, got in [(case, answer(*copy.deepcopy(case))) for case in cases]:
        called, right = f"{truth.__name__}({', '.join(map(repr, case))})", truth(*case)
        if got is None:
            return NOTHING
        try:
            number = float(got)
        except (TypeError, ValueError):
            return f"{called} should be a number, yours gives a {type(got).__name__}"
        if not math.isclose(number, right, rel_tol=1e-6, abs_tol=1e-9):
            return f"{called} should be {right:.6g}, yours gives {number:.6g}"
    return None


def tensor_problem(answer: Any, truth: Tensor, given: str, otherwise: str) -> str | None:
    """Say what is wrong with a tensor, ``otherwise`` if it has the right form and other numbers."""
    if problem := form_problem(answer, truth, given):
        return problem
    return None if same(answer, truth) else f"for {given} {otherwise}"


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


def show_beside(caption: str, make: Callable[[Callable[..., Any]], Any],
                answer: Callable[..., Any], solution: Callable[..., Any]) -> None:
    """Show in a notebook what an answer makes beside what was wanted, if both can be drawn."""
    if get_ipython() is None:
        return
    try:
        yours, wanted = np.asarray(make(answer)), np.asarray(make(solution))
    except Exception:  # the reader's code may do anything
        return
    if yours.shape != wanted.shape or yours.dtype.kind not in "fiub" or alike(yours, wanted):
        return
    differ = np.count_nonzero(~np.isclose(yours, wanted))
    words = f"{caption}: yours beside what was wanted. Of {wanted.size} numbers {differ} differ."
    figure = beside(caption, yours, wanted)
    picture, size = style.sharp(figure)
    plt.close(figure)
    source = base64.b64encode(picture).decode()
    display({"text/plain": words, "text/html": f'<img alt="{html.escape(words)}" '
             f'width="{size["width"]}" src="data:image/png;base64,{source}">'}, raw=True)


@style.context()
def beside(caption: str, yours: np.ndarray, wanted: np.ndarray) -> Figure:
    """Draw two matrices, or two curves, on the same scale."""
    figure, both = plt.subplots(1, 2, figsize=(6.4, 3), sharey=True)
    numbers = np.stack([yours, wanted])
    finite = numbers[np.isfinite(numbers)]
    for axes, title, values in zip(both, ("yours", "wanted"), numbers, strict=True):
        if values.ndim == 1:
            axes.plot(values, color=style.BLUE)
        else:
            drawn = axes.imshow(values, cmap=style.SEQUENTIAL, vmin=finite.min(), vmax=finite.max())
            axes.grid(False)
        axes.set_title(title)
    if wanted.ndim == 2:
        figure.colorbar(drawn, ax=both)
    figure.suptitle(caption, fontsize=13)
    return figure
