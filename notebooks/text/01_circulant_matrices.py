# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 01 · Circulant matrices: one row says it all
#
# **You will learn** what a circulant matrix is, and why multiplying by it is a convolution. All
# circulant matrices of one size share their eigenvectors, the waves of the discrete Fourier
# transform. That turns products, inverses and whole linear systems into arithmetic on n numbers, if
# the matrix is n x n. It takes n log n operations, where a plain product with a vector takes n² and
# a plain inverse n³.
#
# **You need** matrix products, and complex numbers as far as $e^{i\varphi} = \cos\varphi +
# i\sin\varphi$. Eigenvectors are recalled where they are used. No data.
#
# **Time:** 25 minutes to read, under half a minute to run (2 CPU cores).

# %% tags=["hide-input"]
from exercises import check, hint, solution
from exercises.pictures import moving

import matplotlib.pyplot as plt
import scipy.linalg
import torch
from torch.utils.benchmark import Timer

from circtools import circulant, spectrum
from circtools.report import diagrams, style

style.use()
torch.manual_seed(0)
torch.set_default_dtype(torch.float64)  # 16 digits, so that an identity can be told from a hope


def compare(what, left, right):
    print(f"{what:30s}: largest difference {(left - right).abs().max():.0e}")


# %% [markdown]
# ## One row, rotated
#
# Take a row of $b$ numbers. Write it down. Below it write it again, rotated right by one place. The
# number that falls off on the right comes back on the left. After $b$ rows you have a square matrix
# that holds $b$ different numbers instead of $b^2$. It is called **circulant**, and it is given by
# its first row $w$. With rows $r$ and columns $c$ counted from 0:
#
# $$ C_{r,c} = w_{(c - r) \bmod b} $$
#
# So row 1 begins with $w_{b-1}$, the last number of the first row.

# %% alt="A circulant matrix repeats its first row, rotated right by one from row to row"
diagrams.circulant_technique();

# %% [markdown]
# Follow one colour on the left: it runs down a diagonal, leaves on the right and comes back on the
# left. That is a *wrapped diagonal*, and it carries one number. We call the one of $w_k$ wrapped
# diagonal $k$; number 0 is the main diagonal. (On the right is a matrix of circulant blocks, the
# subject of notebook 02.)
#
# The course's library, `circtools`, builds the matrix from the row:

# %% tags=["nbval-check-output"]
circulant(torch.tensor([1, 2, 3, 4]))

# %% [markdown]
# A warning about conventions. Some books and `scipy.linalg.circulant` give the matrix by its first
# *column*; the two are transposes of each other. This course always means the first row.

# %% tags=["nbval-check-output"]
w = torch.randn(9)
torch.equal(circulant(w), torch.tensor(scipy.linalg.circulant(w.numpy()).T))

# %% [markdown]
# ### Exercise 1.1 ★ 5 minutes
#
# Build the circulant matrix of a row yourself, without `circtools`. `row` is a tensor of $b$
# numbers; return a tensor of shape $(b, b)$. Two lines are enough.

# %%
def rotate_rows(row):
    ...


check("1.1", rotate_rows)
# hint("1.1")
# solution("1.1")

# %% [markdown]
# ## The shift: the one matrix behind all of them
#
# The simplest circulant matrix that does something has the first row $(0, 1, 0, \dots, 0)$. Call
# it $P$. Here it has size 5.
#
# **Predict:** what does $P$ do to the entries of a vector? And what is $P^5$? Decide before you run
# the next cell.

# %% tags=["nbval-check-output"]
P = circulant(torch.tensor([0.0, 1, 0, 0, 0]))
x = torch.tensor([10.0, 20, 30, 40, 50])
print("P x       =", (P @ x).tolist())
print("P P x     =", (P @ P @ x).tolist())
print("P^5 is the identity:", torch.equal(P.matrix_power(5), torch.eye(5)))
print("P^-1 is the transpose of P:", torch.equal(P.inverse(), P.T))

# %% [markdown]
# $P$ moves every entry up by one place, and the first one comes back at the end. After five steps
# all are home again. Its inverse, the transpose, moves them down. The matrix $P^k$ has its ones
# exactly on wrapped diagonal $k$. So a circulant matrix is a weighted sum of shifts, with the
# identity $I = P^0$:
#
# $$ C = w_0 I + w_1 P + w_2 P^2 + \dots + w_{b-1} P^{b-1} $$
#
# In the picture red is positive and blue is negative.

# %% alt="A circulant matrix is the weighted sum of shift matrices, one for each wrapped diagonal"
diagrams.weighted_shifts(torch.tensor([1.0, -0.7, 0.35, 0.8]));

# %%
w = torch.randn(5)
compare("C and the sum of shifts", circulant(w), sum(w[k] * P.matrix_power(k) for k in range(5)))

# %% [markdown]
# **What to notice.** Everything below follows from this sum of shifts. What is true of $P$, and
# stays true for powers and sums, is true of every circulant matrix.
#
# Here and below, `compare` prints the largest difference between two results. We calculate with 16
# digits, so a difference below $10^{-12}$ is only rounding.
#
# ## A circulant matrix is a convolution
#
# Write out one entry of $y = Cx$, with all positions counted modulo $b$. In the second sum $d$ is
# the distance $c - r$:
#
# $$ y_r = \sum_c w_{c-r}\, x_c = \sum_d w_d\, x_{r+d} $$
#
# The same weights $w$ slide along $x$, and at the end of the vector they come round to its
# beginning. This has more than one name:
#
# - Signal processing calls it the circular **cross-correlation** of $x$ with the first *row*.
# - Deep-learning libraries compute the same, and call it *convolution*.
# - A **convolution** in the strict sense runs over $x$ backwards, $\sum_d w_d\, x_{r-d}$. With the
#   first *column* in place of $w$ it is $Cx$. With the first row it is $C^T x$.
#
# The next cell checks all four statements.

# %%
b = 64
w, x = torch.randn(b), torch.randn(b)
C = circulant(w)
around = torch.cat([x, x[:-1]])[None, None]  # (1, 1, 2 b - 1): x, and on round to its beginning
d = torch.arange(b)  # (b,)
r = d[:, None]  # (b, 1)
compare("C x and torch's conv1d", C @ x, torch.nn.functional.conv1d(around, w[None, None])[0, 0])
compare("C x and correlation with row", C @ x, (w * x[(r + d) % b]).sum(1))
compare("C x and convolution, column", C @ x, (C[:, 0] * x[(r - d) % b]).sum(1))
compare("C^T x and convolution, row", C.T @ x, (w * x[(r - d) % b]).sum(1))

# %% [markdown]
# An example that you can see: a noisy signal, and a row that averages each point with its two
# neighbours on either side. Its matrix has five wrapped diagonals.

# %% alt="A circulant matrix that averages five places smooths a noisy wave"
t = torch.arange(b)
signal = torch.sin(2 * torch.pi * t / b) + 0.4 * torch.randn(b)
mean = torch.zeros(b)
mean[[-2, -1, 0, 1, 2]] = 0.2
figure, axes = plt.subplots(figsize=(10, 3.2))
axes.plot(t, signal, "o", color="0.55", label="x, noisy")
axes.plot(t, circulant(mean) @ signal, color=style.BLUE, label="C x, averaged over 5 places")
axes.set_xlabel("position")
axes.legend();

# %% [markdown]
# **Predict:** suppose the signal is first shifted by some places and then averaged. Is the result
# the same as averaging first and shifting afterwards?

# %%
shift = circulant(torch.eye(b)[7])  # seven places
compare("C P^7 x and P^7 C x", circulant(mean) @ shift @ signal, shift @ circulant(mean) @ signal)

# %% [markdown]
# **What to notice.** The two are the same. $C$ is a sum of powers of $P$, and these can be swapped.
# So a circulant matrix treats all positions alike; it *commutes with shifts*.
#
# That is a strong assumption about what $x$ is. For a sound or for a row of pixels it is
# reasonable. The entries of a word embedding, the vector that stands for a word, have no order:
# shifted, they mean nothing. This thought is the fourth claim of the research poster that the
# course tests: sharing works on images, and fails on words. Notebook 03 puts it to a test.
#
# ## The eigenvectors are waves
#
# An eigenvector keeps its direction under a matrix: $Cf = \lambda f$. Which vectors does the shift
# $P$ only multiply by a number? Each entry must be the one before it, times this number. After $b$
# places we are back at the beginning, so the number's $b$-th power is 1. There are $b$ such
# numbers: the powers $\omega^k$ of $\omega = e^{2\pi i/b}$, which is a $b$-th of a full turn. Each
# gives a wave that makes $k$ turns:
#
# $$ f_k = \big(1,\; \omega^k,\; \omega^{2k},\; \dots,\; \omega^{(b-1)k}\big), \qquad
#    k = 0, \dots, b - 1 $$
#
# So $P f_k = \omega^k f_k$, and $j$ steps give $P^j f_k = \omega^{jk} f_k$. With $C = \sum_j w_j
# P^j$:
#
# $$ C f_k = \lambda_k f_k, \qquad \lambda_k = \sum_j w_j\, \omega^{jk} $$

# %% alt="The eight Fourier vectors of size 8 are waves that turn ever faster"
diagrams.fourier_vectors(8);

# %% [markdown]
# **What to notice.** The waves do not depend on $w$ at all: *every* circulant matrix of this size
# has these eigenvectors. Only the eigenvalues $\lambda_k$, its **spectrum**, tell one circulant
# matrix from another. `spectrum(w)` computes them.
#
# Look at the dots only. At $k = 7$ they are those of $k = 1$ with the imaginary part upside
# down: a wave that runs the other way round. The lines between the dots are there for the eye.
#
# Written as a matrix: put the waves, divided by $\sqrt b$, into the columns of $F$. They are
# orthogonal and of length one, $F^\ast F = I$, where the star means conjugate and transpose. Why
# orthogonal? The inner product of columns $j \ne k$ is a geometric sum. With $z = \omega^{k-j}$ we
# have $z^b = 1$ and $z \ne 1$:
#
# $$ \frac{1}{b} \sum_{c=0}^{b-1} z^c = \frac{z^b - 1}{b\,(z - 1)} = 0 $$
#
# So $F^{-1} = F^\ast$. All the equations $C f_k = \lambda_k f_k$ together read
# $CF = F\,\mathrm{diag}(\lambda)$. Multiply by $F^\ast$ from the right:
#
# $$ C = F \,\mathrm{diag}(\lambda)\, F^\ast $$
#
# The sum $\lambda_k$ is a discrete Fourier transform of the first row. Ours has a plus sign in the
# exponent, and `torch.fft.fft` has a minus sign. So for a real row $\lambda$ is the complex
# conjugate of `torch.fft.fft(w)`. (Gray's review, in the references, numbers the waves the other
# way round; the pairs are the same.)

# %%
b = 64
w = torch.randn(b)
C = circulant(w) + 0j  # as a complex matrix
lam = spectrum(w)
c = torch.arange(b)
F = torch.exp(2j * torch.pi * torch.outer(c, c) / b) / b**0.5
compare("F* F and the identity", F.mH @ F, torch.eye(b))
compare("C F  and F diag(lambda)", C @ F, F @ torch.diag(lam))
compare("C    and F diag(lambda) F*", C, F @ torch.diag(lam) @ F.mH)
compare("lambda and conjugate of fft(w)", lam, torch.fft.fft(w).conj())

# %% [markdown]
# A general-purpose eigenvalue routine, which knows nothing of circulants, finds the same numbers,
# in another order. So look up each of its eigenvalues in ours:

# %%
found = torch.linalg.eigvals(circulant(w))
distance = (found[:, None] - lam[None, :]).abs().min(dim=1).values
print(f"largest distance from an eigenvalue of the routine to one of ours: {distance.max():.0e}")

# %% [markdown]
# ## Spectra in the complex plane
#
# The next picture shows the eigenvalues of four circulant matrices of size 16:
#
# - the shift $P$;
# - the average of each entry with its two neighbours, $w_0 = w_1 = w_{15} = 1/3$;
# - the difference between the next entry and this one, $P - I$;
# - a random row.
#
# **Predict:** use $\lambda_k = \sum_j w_j\, \omega^{jk}$. Where in the complex plane do the
# eigenvalues of the shift lie? Those of the average? Which of the first three matrices sends some
# vector to zero, and so has the eigenvalue 0?

# %% alt="Eigenvalues: those of the shift lie on the unit circle, those of the average on a line"
e = torch.eye(16)
rows = {
    "shift": e[1],
    "average of 3": (e[-1] + e[0] + e[1]) / 3,
    "difference": e[1] - e[0],
    "random": torch.randn(16) / 4,
}
diagrams.eigenvalue_planes(rows);

# %% tags=["nbval-check-output"]
for name, row in rows.items():
    values = spectrum(row)
    facts = {
        "all on the unit circle": torch.allclose(values.abs(), torch.ones(16)),
        "all real": bool(values.imag.abs().max() < 1e-12),
        "first is the sum of the row": bool((values[0] - row.sum()).abs() < 1e-12),
        "mirror images": torch.allclose(values[1:], values[1:].flip(0).conj()),
        "singular": bool(values.abs().min() < 1e-12),
    }
    print(f"{name:13s}", ", ".join(fact for fact, holds in facts.items() if holds))

# %% [markdown]
# **What to notice.**
#
# - The shift lets no wave grow or shrink. All its eigenvalues lie on the unit circle (dashed).
# - The eigenvalue of $k = 0$, the diamond, is the sum of the row. It is what multiplies a constant
#   vector. The average keeps constants: 1. The difference removes them: 0. So it has no inverse: it
#   is *singular*.
# - The average has real eigenvalues, because its matrix is symmetric. They fall from 1 through zero
#   to -1/3 for the fastest wave, $k = 8$. So it keeps slow changes and damps quicker ones, though
#   not evenly: it is a low-pass filter.
# - A real row makes the picture symmetric about the real axis: $\lambda_{b-k}$ is the conjugate of
#   $\lambda_k$. For the average the two are one dot. So fast programs compute half of the spectrum:
#   here two real numbers, $\lambda_0$ and $\lambda_8$, and seven complex ones. That makes 16 real
#   numbers, as many as the row has.
#
# Now make a row of your own: with this notebook running, move the six weights below.
#
# **Predict:** which way do all six eigenvalues go when only $w_0$ grows? How must $w_1$ to $w_5$ be
# chosen for all of them to be real? Think of the average.

# %% alt="A circulant matrix of two wrapped diagonals, and its eigenvalues on a circle from 0 to 1"
def draw(w0=0.5, w1=0.5, w2=0.0, w3=0.0, w4=0.0, w5=0.0):
    return diagrams.matrix_and_spectrum(torch.tensor([w0, w1, w2, w3, w4, w5]))


weights = [k / 4 for k in range(-4, 5)]  # -1 to 1
moving(draw, **{f"w{k}": weights for k in range(6)})

# %% [markdown]
# **What to notice.** $w_0$ adds a multiple of the identity, so all eigenvalues move to the right
# together. They are real if the matrix is symmetric: $w_1 = w_5$ and $w_2 = w_4$. Then the row
# reads the same in both directions from $w_1$ on.
#
# ## Matrix algebra becomes arithmetic
#
# Let $A$ and $B$ be circulant, with the spectra $\alpha$ and $\beta$. Because they share $F$, it
# drops out of every calculation. The product, for example:
#
# $$ AB = F\,\mathrm{diag}(\alpha)\,F^\ast F\,\mathrm{diag}(\beta)\,F^\ast
#    = F\,\mathrm{diag}(\alpha\beta)\,F^\ast $$
#
# So $AB$ is circulant again, and its spectrum is $\alpha_k \beta_k$. The other rules are found in
# the same way:
#
# | matrices | spectra |
# | --- | --- |
# | $A + B$ | $\alpha_k + \beta_k$ |
# | $A B$ | $\alpha_k \beta_k$, so $AB = BA$ |
# | $A^T$ (real rows) | conjugate of $\alpha_k$ |
# | $A^{-1}$ | $1 / \alpha_k$, if none is zero |
# | largest stretch of a vector, $\lVert A \rVert_2$ | largest $\lvert\alpha_k\rvert$ |
# | sum of squares of all entries, $\lVert A \rVert_F^2$ | $\sum_k \lvert\alpha_k\rvert^2$ |
#
# The last two hold because $F$ and $F^\ast$ change no length of a vector. The sum of squares adds
# up the squared lengths of the columns.
#
# To get back from a spectrum to a first row, undo the sum: $w_j = \frac{1}{b} \sum_k \lambda_k\,
# \omega^{-jk}$. Mind the sign. A *row* becomes a spectrum with a plus in the exponent, and a
# spectrum a row with a minus. So for rows `torch.fft.fft`, which has the minus, is the way back:
#
# | from | to | in torch |
# | --- | --- | --- |
# | first row $w$ | spectrum $\lambda$ | `ifft(w, norm="forward")`, or `spectrum(w)` |
# | spectrum $\lambda$ | first row $w$ | `fft(lam, norm="forward")`, which divides by $b$ |

# %%
def first_row(values):
    return torch.fft.fft(values, norm="forward").real


u, v = torch.randn(b), torch.randn(b)
A, B = circulant(u), circulant(v)
alpha, beta = spectrum(u), spectrum(v)
compare("A B   and B A", A @ B, B @ A)
compare("A B   and product of spectra", A @ B, circulant(first_row(alpha * beta)))
compare("A^T   and conjugate spectrum", A.T, circulant(first_row(alpha.conj())))
compare("A^-1  and 1 / spectrum", A.inverse(), circulant(first_row(1 / alpha)))
compare("norm  and largest eigenvalue", torch.linalg.matrix_norm(A, 2), alpha.abs().max())
compare("sum of squares and spectrum", A.square().sum(), alpha.abs().square().sum())

# %% [markdown]
# **Predict:** pick two matrices at random, not circulant ones. How often do they commute?

# %%
M, N = torch.randn(2, 5, 5)
print(f"largest entry of M N - N M: {(M @ N - N @ M).abs().max():.1f}")

# %% [markdown]
# Almost never. That all circulant matrices do is rare, and a price as well as a gift. Take two
# circulant layers with no nonlinearity between them. Their order cannot matter, and the two are
# again just one circulant layer.
#
# ### Exercise 1.2 ★ 3 minutes
#
# Return the first row of `circulant(w) @ circulant(v)` without building a matrix. You may use
# `spectrum` and `first_row`.

# %%
def product_row(w, v):
    ...


check("1.2", product_row)
# hint("1.2")
# solution("1.2")

# %% [markdown]
# ## The cost
#
# Multiplying a vector $x$ by a dense $n \times n$ matrix takes $n^2$ multiplications. With $C =
# F\,\mathrm{diag}(\lambda)\,F^\ast$ it takes three steps:
#
# 1. Transform $x$. This is $F^\ast x$, with a minus sign in the exponent: `torch.fft.fft(x)`.
# 2. Multiply entry by entry by $\lambda$.
# 3. Transform back. This is the product with $F$: `torch.fft.ifft`.
#
# A vector meets $F^\ast$ first, so it takes the other sign than a row. The factors $\sqrt n$, by
# which both functions differ from $F^\ast$ and $F$, cancel. One more transform gets $\lambda$ from
# $w$.
#
# As matrix products, the transforms would cost $n^2$, too. But the **fast Fourier transform**
# (FFT) splits a transform of size $n$ into two of half the size. One takes the entries at even
# positions, the other those at odd ones. To put them together, each of the $n/2$ results of the odd
# half is multiplied by one number. One can halve $\log_2 n$ times, and all parts of one size
# together take $n/2$ again. That makes $\frac{n}{2} \log_2 n$ complex multiplications, of four
# real ones each.
#
# **Predict:** for $n = 1024$, $\log_2 n$ is 10. Count three transforms, and the $n$ products with
# $\lambda$. How many times fewer multiplications than $n^2$ is that: about 3, 16, 100? (For real
# vectors half would do.)

# %% tags=["nbval-check-output"]
def fft_multiplications(n):
    return 0 if n == 1 else 2 * fft_multiplications(n // 2) + n // 2


sizes = [2**k for k in range(2, 13)]
dense = [n * n for n in sizes]
fast = [4 * (3 * fft_multiplications(n) + n) for n in sizes]
print("    n      dense    by FFT   times fewer")
for n, slow, quick in zip(sizes, dense, fast, strict=True):
    print(f"{n:5d} {slow:10,d} {quick:9,d} {slow / quick:11.1f}")
print("closed form, n/2 log2 n:",
      all(fft_multiplications(n) == n // 2 * (n.bit_length() - 1) for n in sizes))

# %% alt="From n = 64 on the product by FFT needs fewer multiplications than the dense one"
diagrams.multiplication_counts(sizes, dense, fast);

# %% [markdown]
# On logarithmic axes a power law is a straight line: $n^2$ has slope 2, and $n \log n$ only a
# little more than 1. Up to n = 32 the detour through the transform does not pay; at 1024 it saves a
# factor of 16, and the gap keeps widening. The memory shrinks from $n^2$ numbers to $n$.
#
# Counting is not timing: processors are very good at dense products, and less good at FFTs. So here
# is a measurement on the machine that runs this notebook, of one product with one vector.

# %%
n = 4096
w, x = torch.randn(n), torch.randn(n)
C, lam = circulant(w).contiguous(), spectrum(w)
products = {
    "dense product, matrix given  ": "C @ x",
    "FFT, spectrum given          ": "torch.fft.ifft(lam * torch.fft.fft(x)).real",
    "FFT, spectrum computed from w": "torch.fft.ifft(spectrum(w) * torch.fft.fft(x)).real",
}
for name, code in products.items():
    timer = Timer(code, globals=globals())
    print(f"{name}: {timer.blocked_autorange(min_run_time=0.3).median * 1e6:7.0f} microseconds")
compare("dense and FFT", C @ x, torch.fft.ifft(lam * torch.fft.fft(x)).real)

# %% [markdown]
# **What to notice.** The order of magnitude is as counted. But one large product with one vector is
# the best case for the FFT. The dense product has to read all $n^2$ numbers from memory for it.
# With many vectors at a time, as in training, it reads them once for all, and the gain is smaller.

# %% [markdown]
# ### Exercise 1.3 ★★ 10 minutes
#
# Solve `circulant(w) @ x = y` for the vector `x` without building a matrix. No eigenvalue of
# `circulant(w)` is zero. Start from the three steps in *The cost*.

# %%
def solve_circulant(w, y):
    ...


check("1.3", solve_circulant)
# hint("1.3")
# solution("1.3")

# %% [markdown]
# ### Exercise 1.4 ★★ 15 minutes, an open question
#
# For real vectors half of each transform is enough, because the rest mirrors it.
# `torch.fft.rfft(x)` returns that half, and `torch.fft.irfft(half, n=...)` goes back to $n$ real
# numbers. Write the product `circulant(w) @ x` with them.
#
# The next cell races it against the dense product and the complex FFT, both as above. **Predict:**
# by the count of multiplications the FFT wins from n = 64 on. From which n on does it win on your
# machine? And are the halves twice as fast?


# %%
def race(n, real_product):
    """Print the shortest times of one product with one vector, in microseconds."""
    w, x = torch.randn(n), torch.randn(n)
    products = {"dense": "C @ x", "real": "real_product(w, x)",
                "complex": "torch.fft.ifft(spectrum(w) * torch.fft.fft(x)).real"}
    names = {"C": circulant(w).contiguous(), "w": w, "x": x, "real_product": real_product,
             "torch": torch, "spectrum": spectrum}
    times = {name: min(Timer(code, globals=names).blocked_autorange(min_run_time=0.3).times) * 1e6
             for name, code in products.items()}
    print(f"LIVE: n = {n:4}", *(f"{name} {time:.1f}" for name, time in times.items()), sep=", ")


# %% [markdown]
# Once the check is passed, remove the `#` before the loop and run the cell again.
#
# <details class="help"><summary>What we found</summary>
#
# On our machine, with one thread, the dense product was faster up to n = 256, and both FFTs from
# 512 on. At 4096 the real one was about 80 times as fast as the dense product. Small sizes lose
# because each call of an operation takes a microsecond or more, whatever n is.
#
# The halves saved about a quarter of the time of the complex FFT, not half of it. They take as many
# calls.
#
# </details>


# %% tags=["nbval-check-output"]
def real_product(w, x):
    ...


check("1.4", real_product)
# hint("1.4")
# solution("1.4")
# for n in (64, 128, 256, 512, 1024, 4096): race(n, real_product)

# %% [markdown]
# ## What we saw, and where next
#
# - A circulant matrix holds $b$ numbers; each row is the one above rotated right by one,
#   $C_{r,c} = w_{(c-r) \bmod b}$.
# - It is a weighted sum of shifts; $Cx$ is a circular cross-correlation; it commutes with shifts.
# - All circulant matrices of one size have the same eigenvectors, the Fourier waves; their
#   eigenvalues are the Fourier transform of the first row.
# - So products, inverses and solutions are arithmetic on spectra, in $O(n \log n)$ instead of
#   $O(n^2)$ for a product with a vector.
#
# A whole layer with only $n$ weights is very little, and it is stiff. Next, [02 · Block-circulant
# layers](02_block_circulant_layers.ipynb) cuts the matrix into blocks. The block size then sets how
# much is shared: anything between a circulant and an unstructured layer. Then [03 · The MNIST
# benchmark](03_mnist_benchmark.ipynb) trains them.
#
# **References**
#
# - R. M. Gray, *Toeplitz and Circulant Matrices: A Review*, Foundations and Trends in
#   Communications and Information Theory 2(3), 2006.
#   [doi:10.1561/0100000006](https://doi.org/10.1561/0100000006),
#   [free PDF](https://ee.stanford.edu/~gray/toeplitz.pdf). Chapter 3 is this notebook.
# - P. J. Davis, *Circulant Matrices*, Wiley, 1979. The book on the subject.
# - J. W. Cooley and J. W. Tukey, *An Algorithm for the Machine Calculation of Complex Fourier
#   Series*, Mathematics of Computation 19, 1965.
#   [doi:10.1090/S0025-5718-1965-0178586-1](https://doi.org/10.1090/S0025-5718-1965-0178586-1)
