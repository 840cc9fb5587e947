# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 02 · Block-circulant layers: between everything and one row
#
# **You will learn** how blocks make a dial between an unstructured and a circulant matrix, and how
# many numbers a layer stores. You see what is lost when a dense matrix is forced into this form,
# and how the gradient reaches the first rows. You write the layer twice: once with its matrix, and
# once with a fast product that never builds it. At the end you use it in any PyTorch model.
#
# **You need** notebook 01, and to have seen an `nn.Linear`. In short: a circulant matrix is given
# by its first row. Each next row is the one above, rotated right by one. The Fourier transform
# makes the matrix diagonal, and the diagonal is its *spectrum*. No data is needed.
#
# **Time:** 35 minutes to read, under half a minute to run (2 CPU cores).

# %% tags=["hide-input"]
from exercises import check, hint, solution
from exercises.pictures import moving

import inspect
import warnings

import matplotlib.pyplot as plt
import torch
from IPython.display import Markdown
from torch import nn

from circtools import (
    BlockCirculantLinear,
    block_circulant,
    circulant,
    compress,
    compression_ratio,
    nearest_circulant,
    prune,
    spectrum,
)
from circtools.products import ALGORITHMS, choose, dft_product, dft_spectrum
from circtools.report import diagrams, style

style.use()
torch.set_num_threads(1)  # its products are small: beside a busy program, more threads only wait
torch.manual_seed(0)
torch.set_default_dtype(torch.float64)  # 16 digits: rounding stays far below the numbers


def compare(what, left, right):
    torch.testing.assert_close(left, right)  # stops with an error if they differ
    print(f"{what:30s}: the same up to rounding")


# %% [markdown]
# ## A ladder from everything to one row
#
# A circulant layer with $n$ inputs and outputs has only $n$ weights. That is often too stiff. So
# cut the matrix into $b \times b$ blocks and let each *block* be circulant, with a first row of
# its own:
#
# $$ W = \begin{pmatrix} C(w_{11}) & \cdots & C(w_{1q}) \\ \vdots & & \vdots \\
#    C(w_{p1}) & \cdots & C(w_{pq}) \end{pmatrix}, \qquad p = q = n / b $$
#
# Here $b$ is the **block size**, and $C(w_{ij})$ is the circulant matrix with the first row
# $w_{ij}$. If the matrix is not square, the numbers $p$ and $q$ of blocks differ.
#
# **Predict:** let the blocks of one matrix grow, each time to twice the size. How does the number
# of stored weights change? And what kind of matrix is it at b = 1?

# %% alt="The larger the circulant blocks of a matrix are, the fewer numbers it stores"
diagrams.block_circulant_ladder();

# %% [markdown]
# Within a block one colour is one stored number. The outlined rows are those that are stored; at
# b = 1 every number is. There are $(n/b)^2$ blocks with $b$ numbers each:
#
# $$ \Big(\frac{n}{b}\Big)^2 \cdot b = \frac{n^2}{b} $$
#
# **The block size is the compression.** At b = 1 a block is a single number and the matrix is any
# matrix; at b = n it is circulant.

# %% tags=["nbval-check-output"]
rows = torch.arange(1, 7).view(1, 2, 3)  # (out_blocks, in_blocks, b)
print(block_circulant(rows))
print(f"{rows.numel()} numbers make {block_circulant(rows).numel()}")

# %% [markdown]
# ## The layer
#
# A layer that learns such a matrix needs a dozen lines. Its parameter holds the first rows, with
# the shape (output blocks, input blocks, b). Row r of a block is its first row rotated right by r
# places, which is `torch.roll`. Two lines do that for all blocks at once:

# %% tags=["nbval-check-output"]
def dense_matrix(rows):  # (out_blocks, in_blocks, b)
    turned = [rows.roll(r, dims=-1) for r in range(rows.shape[-1])]  # row r of every block
    return torch.stack(turned, dim=1).flatten(2).flatten(0, 1)  # (out_features, in_features)


compare("one block and circulant", dense_matrix(rows[:, :1]), circulant(rows[0, 0]))
compare("two and block_circulant", dense_matrix(rows), block_circulant(rows))

# %% [markdown]
# The layer builds its matrix at every call, and PyTorch's gradients find their way back to the rows
# by themselves.

# %%
class PlainLayer(nn.Module):
    """A block-circulant layer in its plainest form, for sizes that the block divides."""

    def __init__(self, in_features, out_features, block_size):
        super().__init__()
        shape = out_features // block_size, in_features // block_size, block_size
        bound = in_features**-0.5  # as nn.Linear has it
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x):  # (batch, in_features)
        matrix = dense_matrix(self.weight)  # (out_features, in_features)
        return x @ matrix.T + self.bias  # (batch, out_features)


# %% [markdown]
# `BlockCirculantLinear` does the same and takes the place of `nn.Linear`. It adds what a library
# owes: any size, any precision, errors that say what is wrong, and products that never build the
# matrix. Given the same weights the two agree.

# %% tags=["nbval-check-output"]
plain, library = PlainLayer(32, 16, block_size=4), BlockCirculantLinear(32, 16, block_size=4)
library.load_state_dict(plain.state_dict())
x = torch.randn(100, 32)  # (batch, in_features)
compare("plain and library layer", plain(x), library(x))

# %% tags=["nbval-check-output"]
layer = BlockCirculantLinear(in_features=32, out_features=16, block_size=4)
print(layer)
print("weight", tuple(layer.weight.shape), "stands for", tuple(layer.dense_weight().shape))
# algorithm=auto: the one of three that suits the block size; see below

# %% tags=["nbval-check-output"]
compare("layer and dense product", layer(x), x @ layer.dense_weight().T + layer.bias)

# %% [markdown]
# ### Sizes that the block does not divide
#
# Not every layer has a width that is a multiple of b. The layer then adds zeros to the input and
# leaves out the surplus outputs. The blocks at the edge stick out, but their first rows are stored
# all the same.

# %% alt="A block size that does not divide the layer makes blocks reach over its edge as padding"
diagrams.padded_layer(out_features=10, in_features=28, block_size=8);

# %% [markdown]
# **Predict:** the last layer of a digit classifier has 784 inputs and 10 outputs. How many times
# smaller does b = 8 make it? And b = 16? Count whole blocks.

# %% tags=["nbval-check-output"]
print(f"dense:   {784 * 10} numbers")
for b in (2, 5, 8, 16, 784):
    small = nn.Sequential(BlockCirculantLinear(784, 10, b))
    print(f"b = {b:3d}: {small[0].weight.numel()} numbers, {compression_ratio(small):.2f}x smaller")

# %% [markdown]
# **What to notice.** Padding counts as stored. At b = 8 the ten outputs need two rows of blocks,
# and most of the second row is padding. So the layer gets 5 times smaller, hardly better than at
# b = 5. It never gets more than ten times smaller: at b = 784 it is a single block, and ten of its
# rotations are used. The course always states compression in numbers really stored.
#
# ### Exercise 2.1 ★ 5 minutes
#
# Return the smallest block size that makes a layer at least `ratio` times smaller. Padding counts
# as stored. In all cases checked there is such a size.

# %%
def smallest_block(out_features, in_features, ratio):
    ...


check("2.1", smallest_block)
# hint("2.1")
# solution("2.1")

# %% [markdown]
# ## Forcing a dense matrix into the form
#
# Given any matrix $W$, which block-circulant one is nearest? We mean the smallest sum of squared
# differences, whose root is the Frobenius norm $\lVert \cdot \rVert_F$. Each wrapped diagonal of a
# block has $b$ entries, and one number has to stand for all of them. The number nearest to several
# is their **mean**. So, with rows $r$ and columns $c$ counted within the block,
#
# $$ w_k = \frac{1}{b} \sum_{(c - r) \bmod b \,=\, k} W_{r,c} $$
#
# Check one of these means in the first block below:

# %% tags=["nbval-check-output"]
W = torch.tensor([[1.0, 2, 5, 5], [4, 3, 7, 5]])  # two blocks of 2 x 2
kept = block_circulant(nearest_circulant(W, 2))
print("matrix", W, "kept", kept, "lost", W - kept, sep="\n")
print("sums of squares:", *(part.square().sum().item() for part in (W, kept, W - kept)))

# %% [markdown]
# The squares of what is kept and of what is lost add up to those of the matrix,
# $\lVert W \rVert_F^2 = \lVert \text{kept} \rVert_F^2 + \lVert \text{lost} \rVert_F^2$. It is
# Pythagoras: as vectors of numbers the two parts are perpendicular. This is an *orthogonal
# projection*.
#
# **What does a random matrix lose?** Let all entries be independent with mean 0 and variance
# $\sigma^2$. A mean of $b$ of them has variance $\sigma^2 / b$, and stands in all $b$ places. So
# the kept part has on average $1/b$ of the squared norm. The lost part has the rest:
#
# $$ \frac{\lVert W - \text{kept} \rVert_F}{\lVert W \rVert_F} \approx \sqrt{1 - \frac1b} $$
#
# **Predict:** b = 2 merely halves the storage. What share of a random matrix's norm is lost? Does a
# matrix lose more or less whose entries vary smoothly from place to place?
#
# Here are three matrices of 128 x 128. The first holds independent random numbers. The second is a
# smooth surface of a few slow waves. The third is a filter, whose entries depend only on $c - r$
# and fade away from the diagonal. That is a *Toeplitz* matrix: circulant but for the corners, where
# it does not wrap. Red is positive, blue is negative, and b = 1 is the matrix itself.

# %% alt="The nearest block-circulant matrix keeps little of a random matrix and much of a filter"
n = 128
place = torch.arange(n) / n
waves = (torch.cos, torch.sin)
slow = torch.stack([wave(torch.pi * k * place) for k in (1, 2, 3) for wave in waves])  # (6, n)
matrices = {
    "random": torch.randn(n, n),
    "smooth": slow.T @ torch.randn(6, 6) @ slow,
    "filter": torch.exp(-(n * (place - place[:, None])).abs() / 8),
}
diagrams.projections(matrices, [1, 2, 8, 32, 128]);

# %% alt="A random matrix loses most of its norm at once, a smooth one only at large blocks"
sizes = [2**k for k in range(8)]
lost = {
    name: {b: ((W - block_circulant(nearest_circulant(W, b))).norm() / W.norm()).item()
           for b in sizes}
    for name, W in matrices.items()
}
diagrams.losses(lost);

# %% tags=["nbval-check-output"]
print("random matrix within 0.01 of sqrt(1 - 1/b):",
      all(abs(lost["random"][b] - (1 - 1 / b) ** 0.5) < 0.01 for b in sizes))
for name, W in matrices.items():
    kept = block_circulant(nearest_circulant(W, 8))
    squares = kept.square().sum() + (W - kept).square().sum()
    print(f"{name}: the squares add up:", torch.allclose(squares, W.square().sum()))

# %% [markdown]
# **What to notice.**
#
# - A random matrix loses 71 % at b = 2, and 94 % at b = 8. The colours fade, because means of
#   random numbers are near zero.
# - A smooth matrix loses little as long as the blocks are small beside its waves, and a great deal
#   when they are not.
# - The filter loses most in the middle of the ladder, where the blocks cut its diagonal up. It
#   loses little at b = n, where only the corners are wrong. A larger block can be the better one.
#
# So the ladder is *not nested*: a circulant matrix is in general not block-circulant for a smaller
# b above 1. In a 4 x 4 circulant matrix the first block of 2 x 2 has the rows $(w_0, w_1)$ and
# $(w_3, w_0)$. It is circulant only if $w_1 = w_3$.
#
# With this notebook running, move the block size and watch what is kept and what is lost. Then
# choose another kind of matrix. The squares of the two shares add up to one. The fourth kind is
# circulant, from a random first row, with noise added to every entry.
#
# **Predict:** which block size above 1 loses least of the fourth kind? And what is lost there?

# %% alt="A smooth matrix, its nearest block-circulant one with blocks of 16, and the difference"
seeded = torch.Generator().manual_seed(0)
row, noise = torch.randn(n, generator=seeded), torch.randn(n, n, generator=seeded)
kinds = matrices | {"circulant + noise": circulant(row) + 0.3 * noise}


def draw(block_size=16, matrix="smooth"):
    return diagrams.kept_and_lost(kinds[matrix], block_size)


moving(draw, block_size=sizes, matrix=list(kinds))

# %% [markdown]
# **What to notice.** From 2 to 64 every block size loses more than half of the fourth kind's norm.
# One block of the full size keeps the circulant part, and loses nothing but noise.
#
# The smooth matrix and the filter are made up. Where a *trained* layer stands between them is a
# question for an experiment. And even a large loss is no verdict on the layer. It says only that a
# finished dense matrix cannot be squeezed into the form. A network that is *trained* in the form
# from the start is another matter, and the subject of notebook 03.
#
# ### Exercise 2.2 ★★ 10 minutes
#
# For a square matrix, return the first row of the nearest circulant matrix (a single block). Use no
# `circtools`.

# %%
def nearest_row(matrix):
    ...


check("2.2", nearest_row)
# hint("2.2")
# solution("2.2")

# %% [markdown]
# ## Where to start: the initial weights
#
# With $n$ inputs, `nn.Linear` draws its weights uniformly between $-1/\sqrt n$ and $1/\sqrt n$.
# They have variance $1/(3n)$. Let the inputs be independent, with mean 0 and variance 1. Then an
# output adds up $n$ independent terms. Its variance is $1/3$ for every $n$, and its standard
# deviation 0.58.
#
# **Predict:** in a block-circulant layer the weights are shared. Must they be drawn larger,
# smaller, or the same, for outputs of the same variance? Think of one row of the matrix.
#
# **Predict:** `from_linear` projects a layer. By what factor do the outputs of a fresh `nn.Linear`
# shrink?

# %%
x = torch.randn(1000, 256)
fresh = nn.Linear(256, 256, bias=False)
print(f"nn.Linear: outputs have standard deviation {fresh(x).std().item():.2f}")
for b in (4, 16, 256):
    drawn = BlockCirculantLinear(256, 256, b, bias=False)(x).std().item()
    projected = BlockCirculantLinear.from_linear(fresh, b)(x).std().item()
    print(f"b = {b:3d}: drawn {drawn:.2f}, projected {projected:.2f}, "
          f"projected times sqrt(b) {projected * b**0.5:.2f}")

# %% [markdown]
# **What to notice.** Look along one *row* of a block-circulant matrix. Every number stored for that
# row of blocks occurs in it exactly once. So within one output nothing is shared, and the weights
# are drawn as for `nn.Linear`. The small differences are chance: at b = 256 the layer has only 256
# random numbers.
#
# Projecting a random matrix, on the other hand, averages it towards zero, and the outputs shrink by
# $\sqrt b$. That is the previous section again: the kept part has $1/b$ of the square. To train
# from scratch, draw; to compress a trained layer, project.
#
# What *is* shared shows across the outputs. **Predict:** what comes out for a constant vector?

# %%
with torch.no_grad():
    print(BlockCirculantLinear(8, 8, 4, bias=False)(torch.ones(8)).numpy().round(3))

# %% [markdown]
# All outputs of a block row are equal, for any weights: a rotation does not change the sum of a
# row. The layer can give them different values only through the bias, or if the input varies.
#
# ## The gradient
#
# A shared weight stands in many places, and a change of it changes all of them. So its gradient is
# the sum of the gradients at all those places. Let $L$ be the loss and $G = \partial L / \partial
# W$ its gradient with respect to the dense matrix. For each block:
#
# $$ \frac{\partial L}{\partial w_k} = \sum_{(c-r) \bmod b \,=\, k} G_{r,c} $$
#
# The projection takes the mean along a wrapped diagonal, the gradient takes the sum. So it is $b$
# times the projection of $G$. Let autograd compute both sides, with some loss that is not linear.

# %% tags=["nbval-check-output"]
b = 8
x, target = torch.randn(50, 32), torch.randn(50, 16)
layer = BlockCirculantLinear(32, 16, b, bias=False)
(layer(x) - target).pow(4).mean().backward()

W = layer.dense_weight().detach().requires_grad_()
(x @ W.T - target).pow(4).mean().backward()
compare("gradient and b * projection", layer.weight.grad, b * nearest_circulant(W.grad, b))

# %% [markdown]
# **What to notice.** The gradients of shared weights have another scale than those of a dense
# layer. An optimizer such as Adam divides the scale out. But a step in one number still moves $b$
# entries of the matrix, all in the same way. So this layer may need another learning
# rate: see notebooks 03 and 06.
#
# ## Three ways to multiply
#
# - **dense**: build the matrix and multiply. This takes $n^2$ multiplications for every input, and
#   room for the whole matrix. It is the plain reference.
# - **fft**: with each block do what notebook 01 did with one. First `fft` takes the input apart
#   into frequencies. Each is multiplied by its number in the spectrum of the block. Then `ifft`
#   puts them together again, and `.real` drops an imaginary part that is only rounding. Each input
#   block is transformed once. The products are added up over the input blocks, and transformed back
#   once for each output block.
# - **dft**: the same with the Fourier transform written as a small real matrix of size b x b. That
#   is more arithmetic. But matrix products are fast, and work in half precision too.
#
# They must agree, also where the block does not divide the sizes:

# %% tags=["nbval-check-output"]
x = torch.randn(5, 45)
layer = BlockCirculantLinear(45, 30, 7)
outputs, gradients = {}, {}
for name in ALGORITHMS:
    layer.algorithm = name
    layer.zero_grad()
    outputs[name] = layer(x)
    outputs[name].square().sum().backward()
    gradients[name] = layer.weight.grad.clone()
for name in ("fft", "dft"):
    compare(f"{name} and dense, outputs", outputs[name], outputs["dense"])
    compare(f"{name} and dense, gradients", gradients[name], gradients["dense"])
print("by the block size, auto takes", {b: choose(b, 1) for b in (1, 2, 8, 64, 1024)})

# %% [markdown]
# All three agree up to rounding. So `auto` is free to take the one that was fastest where we
# measured: dft for small blocks, fft for large ones.
#
# ### Exercise 2.3 ★★★ 15 minutes
#
# Multiply a block-circulant matrix by one vector with the FFT, without building the matrix. `rows`
# has shape (out_blocks, in_blocks, b), and `x` has in_blocks * b entries. `spectrum(rows)` gives
# the spectra of all blocks at once.

# %%
def block_multiply(rows, x):
    ...


check("2.3", block_multiply)
# hint("2.3")
# solution("2.3")

# %% [markdown]
# ## The fast product, step by step
#
# Now build the fast layer. First comes the FFT for many inputs at once: exercise 2.3 with one more
# index. Here n counts inputs, q and p count blocks, and k counts frequencies.

# %% tags=["nbval-check-output"]
def fft_multiply(x, rows):  # (batch, in_features), (out_blocks, in_blocks, b)
    x_hat = torch.fft.fft(x.unflatten(1, rows.shape[1:]))  # (batch, in_blocks, b)
    y_hat = torch.einsum("nqk,pqk->npk", x_hat, spectrum(rows))  # (batch, out_blocks, b)
    return torch.fft.ifft(y_hat).real.flatten(1)  # (batch, out_features)


b = 8
x, rows = torch.randn(100, 6 * b), torch.randn(4, 6, b)
y = x @ dense_matrix(rows).T  # (batch, out_features)
compare("FFT and dense product", fft_multiply(x, rows), y)

# %% [markdown]
# The `dft` does this in real numbers. At one frequency, inputs, first rows and outputs each have a
# cosine part and a sine part. The product of spectra from notebook 01 then reads
#
# $$ y_c + i\,y_s = (x_c + i\,x_s)\,(w_c - i\,w_s) $$
#
# Multiplied out, these are four real products:

# %% tags=["nbval-check-output"]
k = 3  # one of the frequencies
angles = 2 * torch.pi * k * torch.arange(b) / b  # (b,)
waves = torch.stack([angles.cos(), angles.sin()], 1)  # (b, 2)
x_c, x_s = (x.unflatten(1, (6, b)) @ waves).unbind(-1)  # (batch, in_blocks) each
y_c, y_s = (y.unflatten(1, (4, b)) @ waves).unbind(-1)  # (batch, out_blocks) each
w_c, w_s = (rows @ waves).unbind(-1)  # (out_blocks, in_blocks) each
compare("four products, cosine part", x_c @ w_c.T + x_s @ w_s.T, y_c)
compare("four products, sine part", x_s @ w_c.T - x_c @ w_s.T, y_s)

# %% [markdown]
# Three are enough. Take any complex product $(s + it)(u + iv)$. *Gauss's trick* computes
# $(s + t)\,u$ once and uses it for both parts:
#
# $$ \begin{aligned} \text{real part:} \quad su - tv &= (s + t)\,u - t\,(u + v) \\
#    \text{imaginary part:} \quad tu + sv &= (s + t)\,u - s\,(u - v) \end{aligned} $$
#
# Here $s$ and $t$ are $x_c$ and $x_s$, while $u$ and $v$ are $w_c$ and $-w_s$.

# %% tags=["nbval-check-output"]
both = (x_c + x_s) @ w_c.T  # (batch, out_blocks)
compare("three products, cosine part", both - x_s @ (w_c - w_s).T, y_c)
compare("three products, sine part", both - x_c @ (w_c + w_s).T, y_s)

# %% [markdown]
# Do this at all frequencies, and it is a layer. Three matrices, made once, transform the inputs,
# the first rows, and the products back. Frequency $b - k$ mirrors $k$, so those up to $b/2$ are
# enough.
#
# **Predict:** a block of size 8 times a vector takes 64 multiplications. How many are left between
# the transforms?

# %% tags=["nbval-check-output"]
def transforms(b):
    k = torch.arange(b // 2 + 1)[:, None]  # (frequencies, 1)
    angles = 2 * torch.pi * k * torch.arange(b) / b  # (frequencies, b)
    cos, sin = angles.cos(), angles.sin()
    of_x = torch.cat([cos + sin, cos, sin])  # (products, b): three for each frequency
    of_w = torch.cat([cos, cos + sin, cos - sin])  # (products, b)
    share = torch.where(2 * k % b == 0, 1, 2) / b  # (frequencies, 1): 2 if k has a mirror image
    back = torch.cat([share * (cos + sin), -share * sin, -share * cos])  # (products, b)
    return {"of_x": of_x, "of_w": of_w, "back": back}


class FastLayer(PlainLayer):
    """The same weights and bias, but the matrix is never built."""

    def __init__(self, in_features, out_features, block_size):
        super().__init__(in_features, out_features, block_size)
        for name, matrix in transforms(block_size).items():
            self.register_buffer(name, matrix, persistent=False)  # no weights: not saved

    def forward(self, x):  # (batch, in_features)
        x = x.unflatten(1, self.weight.shape[1:])  # (batch, in_blocks, b)
        x_hat = (x @ self.of_x.T).movedim(-1, 0)  # (products, batch, in_blocks)
        w_hat = (self.weight @ self.of_w.T).movedim(-1, 0)  # (products, out_blocks, in_blocks)
        y_hat = x_hat @ w_hat.mT  # (products, batch, out_blocks)
        y = y_hat.movedim(0, -1) @ self.back  # (batch, out_blocks, b)
        return y.flatten(1) + self.bias  # (batch, out_features)


fast, library = FastLayer(6 * b, 4 * b, b), BlockCirculantLinear(6 * b, 4 * b, b)
library.load_state_dict(fast.state_dict())
for layer in (fast, library):
    layer(x).pow(4).mean().backward()
compare("outputs, fast and library", fast(x), library(x))
compare("gradients, fast and library", fast.weight.grad, library.weight.grad)

# %% tags=["nbval-check-output"]
print(f"multiplications per block: {len(fast.of_x)}, in the library {len(dft_spectrum(rows))}")

# %% [markdown]
# **What to notice.** There are three products at each of five frequencies. At frequencies 0 and 4
# the sine is zero, so the library makes one product there. The transforms come on top, but an input
# block is transformed once for all output blocks.
#
# Below is the library's own. Its `dft_matrices` are our `transforms` in any dtype.

# %% tags=["nbval-check-output"]
def source_of(thing):
    return Markdown(f"```python\n{inspect.getsource(thing)}```")


source_of(dft_spectrum)

# %% [markdown]
# Its product adds the strided order of the features, explained below. The layer pads its input
# before.

# %% tags=["nbval-check-output"]
source_of(dft_product)

# %% [markdown]
# ## Two orders of the features
#
# Which features belong to one block? In the **contiguous** order, the one so far, they are
# neighbours. In the **strided** order they stand apart: with two blocks, every second feature
# belongs to the first one. The weights are the same; only their places in the matrix differ.
#
# Take four blocks of size 4, two above two. They store the numbers from 0 to 15. In the contiguous
# order the first row of the matrix counts from 0 to 7. **Predict:** what is it in the strided
# order?

# %% alt="Sixteen weights twice: four circulant blocks, and a circulant matrix of small blocks"
numbers = torch.arange(16).view(2, 2, 4)
figure, panels = plt.subplots(1, 2, figsize=(9, 4.4))
for axes, order in zip(panels, ("contiguous", "strided"), strict=True):
    places = block_circulant(numbers, order)
    axes.imshow(places, cmap="viridis")
    for row, line in enumerate(places.tolist()):
        for column, number in enumerate(line):
            axes.text(column, row, number, ha="center", va="center",
                      color="white" if number < 10 else "black")
    axes.set(title=order, xticks=[], yticks=[])

# %% [markdown]
# On the left are four circulant blocks of 4 by 4. On the right the whole matrix is circulant, and
# its entries are blocks of 2 by 2. Follow the one that begins with 0 and 4 down the diagonal. One
# matrix is the other with rows and columns shuffled. So a shuffle before the layer and one after it
# leads from one to the other:

# %% tags=["nbval-check-output"]
layer = BlockCirculantLinear(12, 8, 4, bias=False)
strided = BlockCirculantLinear(12, 8, 4, bias=False, order="strided")
strided.load_state_dict(layer.state_dict())

x = torch.randn(5, 12)
shuffled = x.view(5, 3, 4).mT.flatten(1)  # (5, blocks, positions) to (5, positions * blocks)
y = strided(shuffled).view(5, 4, 2).mT.flatten(1)  # and back
compare("one order between shuffles", y, layer(x))

# %% [markdown]
# **What to notice.** Between two layers of a network no feature has a place of its own, so the
# order is free to choose. The fast products multiply all blocks at one frequency together. In the
# strided order these lie side by side, which can save a transposition. Only where neighbours mean
# something, as pixels do, can the order change what a network learns.

# %% [markdown]
# ## In any model
#
# `compress` swaps the `nn.Linear` layers of a model, except those that you name in `skip`. In an
# `nn.Sequential` the names are the positions, so "5" is its last layer. `init="random"` draws fresh
# weights, to train from scratch; the default projects the present ones.

# %%
def small_model():
    return nn.Sequential(nn.Embedding(100, 64), nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 64),
                         nn.LayerNorm(64), nn.Linear(64, 10))


model = compress(small_model(), "block_circulant", block_size=8, skip=["5"], init="random")
print(model)

# %% [markdown]
# **Predict:** the two large layers are 8 times smaller. Is the whole model 8 times smaller, too?

# %% tags=["nbval-check-output"]
for over, meaning in {
    "compressed": "the weights of the swapped layers",
    "weights": "all weight matrices but embeddings",
    "model": "every parameter",
}.items():
    print(f"{compression_ratio(model, over):.2f}x over {meaning}")

# %% [markdown]
# **What to notice.** One model, three honest numbers. A compression without the set it is taken
# over means nothing, so this course always says which. Comparisons between methods use the first.
#
# What it cannot do rightly `compress` refuses: the appendix has examples.

# %% [markdown]
# ## Live: when does sharing help?
#
# A layer has 64 inputs and 64 outputs. It is shown random inputs with the outputs of a *true
# matrix*, and has to learn that matrix. It gets only 48 examples, without noise. There are three
# tasks:
#
# - **filter**: the true matrix is circulant;
# - **shuffled filter**: the same, but the inputs come in a fixed random order;
# - **unstructured**: the true matrix is random.
#
# Each is learned by three layers: a dense one, one of b = 8, and one of b = 64, fully circulant.
# The error is measured on new inputs, relative to the size of the true outputs. So 0 is perfect,
# and 1 is no better than answering zero.
#
# **Predict** the table: nine numbers, each near 0, near 1 or in between. In which rows will the
# dense layer be the best of the three?

# %%
def test_error(matrix, block_size):
    generator = torch.Generator().manual_seed(1)
    x, new = torch.randn(2, 1000, 64, generator=generator)
    x = x[:48]
    model = BlockCirculantLinear(64, 64, block_size, bias=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(500):
        optimizer.zero_grad()
        (model(x) - x @ matrix.T).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        return ((model(new) - new @ matrix.T).norm() / (new @ matrix.T).norm()).item()


torch.manual_seed(0)
true_filter = block_circulant(torch.randn(1, 1, 64) / 8)
tasks = {
    "filter": true_filter,
    "shuffled filter": true_filter[:, torch.randperm(64)],
    "unstructured": torch.randn(64, 64) / 8,
}
print("                  dense   b = 8  b = 64")
for name, matrix in tasks.items():
    print(f"{name:16s}", *(f"{test_error(matrix, b):7.2f}" for b in (1, 8, 64)))

# %% [markdown]
# **What to notice.**
#
# - If the layer has the symmetry of the truth, sharing is knowledge. It has no more weights than
#   outputs, so 48 examples are plenty. For the weights of the dense layer they are too few.
#   Its inputs span 48 of 64 directions, and of the others it learns nothing. So its error cannot be
#   below $\sqrt{16/64} = 0.5$ on average. Its random start adds to that.
# - Shuffle the same truth, and both circulant layers fail as they do on the unstructured one. To
#   the dense layer the order of the inputs means nothing. It does not notice, and so it is the best
#   of the three in the last two rows.
# - It has to be the *right* symmetry: on the filter b = 8 does hardly better than the dense layer.
#   How close to the filter is the nearest matrix with b = 8?

# %%
for b in (8, 64):
    off = true_filter - block_circulant(nearest_circulant(true_filter, b))
    print(f"b = {b:2d}: the nearest is off by {off.norm() / true_filter.norm():.2f} of the norm")

# %% [markdown]
# The ladder is not nested: this filter is not among the matrices with b = 8. Even the nearest one
# is off by more than half, and more examples cannot change that.
#
# This is the poster's fourth claim in small: sharing works where the data have the symmetry. But
# here we chose the truth. Whether pixels are like this filter, only real data can say.

# %% [markdown]
# ### Exercise 2.4 ★★ 15 minutes, an open question
#
# How many examples does each layer need? Give `test_error` an argument `examples` in place of 48.
# Print the three errors on the filter for one example, for two, four and so on up to 512.
# **Predict:** from how many on is the dense layer's error zero? And that of b = 64? Then make the
# true matrix one of b = 8.
#
# <details class="help"><summary>What we found</summary>
#
# For b = 64 a single example is enough: its outputs are as many equations as there are weights. The
# dense layer has enough equations with 64 examples, but the training does not solve them. With 128
# it does.
# With b = 8 the error stays above a half, however many there are. On a true matrix of b = 8 it is
# zero from 16 on.
#
# </details>

# %% [markdown]
# ## Appendix: what it refuses
#
# `compress` refuses what it cannot do as you meant it:

# %% tags=["nbval-check-output"]
def tied():
    model = small_model()
    model[5] = nn.Linear(64, 100)
    model[5].weight = model[0].weight
    return model


def pruned():
    model = small_model()
    prune([model[1]])
    return model


attempts = {
    "tied output weights": (tied(), {"block_size": 8}),
    "a pruned layer": (pruned(), {"block_size": 8}),
    "a name that is not there": (small_model(), {"block_size": 8, "skip": ["head"]}),
    "a block of size 0": (small_model(), {"block_size": 0}),
    "a block of size 8.0": (small_model(), {"block_size": 8.0}),
    "a block beyond the layer": (small_model(), {"block_size": 512}),
}
for what, (model, options) in attempts.items():
    try:
        compress(model, "block_circulant", **options)
        print(f"{what}: accepted")
    except (TypeError, ValueError) as error:
        print(f"{what}: {type(error).__name__}\n    {error}")

# %% [markdown]
# *Tied* output weights are those of the embedding, used a second time. Pruning, the subject of
# notebook 04, sets weights to zero.
#
# PyTorch's own attention layer does not call the layers that hold its weights. It reads the weights
# directly, so a swapped layer would stop it with an error. What is read in this way is left dense,
# with a warning, and the rest of the model is compressed. `circtools.split_attention(model)` first
# makes such weights swappable, too.

# %% tags=["nbval-check-output"]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    block = compress(nn.TransformerDecoderLayer(64, 4, 256, batch_first=True),
                     "block_circulant", block_size=8)
for warning in caught:
    print(warning.message)
print([name for name, m in block.named_modules() if isinstance(m, BlockCirculantLinear)])

# %% [markdown]
# ## What we saw, and where next
#
# - Cut into circulant b x b blocks, a matrix stores b times fewer numbers; b = 1 is unstructured,
#   b = n circulant. Padding counts.
# - The nearest block-circulant matrix averages along wrapped diagonals. A random matrix loses
#   $\sqrt{1 - 1/b}$ of its norm.
# - Gradients are summed along wrapped diagonals. Three algorithms compute the same product. The
#   one called dft multiplies real matrices, at most three for each frequency.
# - In the live experiment sharing helped where the layer had the symmetry of the truth, and only
#   there.
# - `compress(model, structure, skip=...)` works on any model. What it cannot do rightly it refuses,
#   or leaves dense with a warning.
#
# Next, [03 · The MNIST benchmark](03_mnist_benchmark.ipynb) trains these layers on real digits, at
# every step of the ladder. Then [04 · Pruning](04_pruning.ipynb) sets them against the removal of
# weights.
#
# **References**
#
# - C. Ding et al., *CirCNN: Accelerating and Compressing Deep Neural Networks Using
#   Block-Circulant Weight Matrices*, MICRO 2017.
#   [arXiv:1708.08917](https://arxiv.org/abs/1708.08917). The layer of this notebook.
# - Y. Cheng et al., *An Exploration of Parameter Redundancy in Deep Networks with Circulant
#   Projections*, ICCV 2015. [arXiv:1502.03436](https://arxiv.org/abs/1502.03436). Fully circulant
#   layers, with random signs on the inputs.
# - T. F. Chan, *An Optimal Circulant Preconditioner for Toeplitz Systems*, SIAM Journal on
#   Scientific and Statistical Computing 9(4), 1988.
#   [doi:10.1137/0909051](https://doi.org/10.1137/0909051). The projection.
# - A. Chen et al., *Parameter-Efficient Fine-Tuning via Circular Convolution*, 2024.
#   [arXiv:2407.19342](https://arxiv.org/abs/2407.19342). Block-circulant *changes* to a large
#   dense model; [in the peft package](https://huggingface.co/docs/peft/package_reference/c3a) as
#   C3A.
# - R. M. Gray, *Toeplitz and Circulant Matrices: A Review*, 2006.
#   [doi:10.1561/0100000006](https://doi.org/10.1561/0100000006)
