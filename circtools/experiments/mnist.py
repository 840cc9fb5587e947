"""The MNIST task: its data, the two-layer classifier, its training and metric, a run at work."""

from collections import OrderedDict
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from circtools import counting, pruning
from circtools.experiments import data, runs, store, training
from circtools.experiments.methods import METHODS
from circtools.experiments.mnist_runs import PRESETS
from circtools.linear import BlockCirculantLinear
from circtools.structures import STRUCTURES, TileCirculantLinear

PIXELS = 28 * 28
CLASSES = 10
VALIDATION = 5_000  # images held out of the training set, the last ones, the same for every run
BATCH_SIZE = 128
MEAN, STD = 0.1307, 0.3081  # of the training pixels
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono-Bold", "DejaVuSerif", "DejaVuSerif-Bold",
         "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic")  # of the sample
LAYERS: dict[str, Any] = STRUCTURES | {  # each makes a layer of two sizes and a block size
    f"tiles_{tiles}": partial(TileCirculantLinear, arrangement=tiles)
    for tiles in ("raster", "local", "strided")}


@dataclass(frozen=True)
class Mnist:
    """Images as rows of normalised pixels, shape (n, 784), and labels, shape (n,)."""

    origin: Literal["real", "sample"]
    train_x: Tensor
    train_y: Tensor
    val_x: Tensor
    val_y: Tensor
    test_x: Tensor
    test_y: Tensor

    def first(self, n: int) -> "Mnist":
        """Return the same data with only the first n training images."""
        return replace(self, train_x=self.train_x[:n], train_y=self.train_y[:n])

    def to(self, device: torch.device | str) -> "Mnist":
        """Return the same data on a device."""
        tensors: dict[str, Any] = {name: value.to(device) for name, value in vars(self).items()
                                   if isinstance(value, Tensor)}
        return replace(self, **tensors)

    def permuted(self, seed: int = 0) -> "Mnist":
        """Return the same images with their pixels in one fixed random order."""
        order = torch.randperm(PIXELS, generator=torch.Generator().manual_seed(seed))
        order = order.to(self.train_x.device)
        return replace(self, train_x=self.train_x[:, order], val_x=self.val_x[:, order],
                       test_x=self.test_x[:, order])


def load(origin: str = "auto") -> Mnist:
    """Return MNIST, or the built-in sample of digits; see :func:`.data.real_or_sample`."""
    return data.real_or_sample(origin, lambda: _real(data.locate("mnist")), _sample, "MNIST",
                               "printed digits")


def _split(origin: Literal["real", "sample"], train: tuple[Tensor, Tensor],
           test: tuple[Tensor, Tensor], validation: int) -> Mnist:
    (x, y), (test_x, test_y) = train, test
    return Mnist(origin, x[:-validation], y[:-validation], x[-validation:], y[-validation:],
                 test_x, test_y)


def _normalise(pixels: Tensor) -> Tensor:
    """Map bytes to numbers of mean 0 and variance 1."""
    return (pixels.float() / 255 - MEAN) / STD


@cache
def _real(folder: Path) -> Mnist:
    def read(name: str) -> tuple[Tensor, Tensor]:
        images, labels = (  # of files whose checksums have been verified, without their headers
            torch.from_numpy(np.fromfile(folder / f"MNIST/raw/{name}-{kind}-ubyte", np.uint8,
                                         offset=header))
            for kind, header in (("images-idx3", 16), ("labels-idx1", 8)))
        return _normalise(images.view(-1, PIXELS)), labels.long()

    return _split("real", read("train"), read("t10k"), VALIDATION)


@cache
def _sample() -> Mnist:
    """Printed digits in several fonts, turned, slanted, scaled and shifted at random."""
    generator = torch.Generator().manual_seed(0)
    glyphs = _glyphs()

    def draw(n: int) -> tuple[Tensor, Tensor]:
        fonts = torch.randint(len(glyphs), (n,), generator=generator)
        labels = torch.randint(CLASSES, (n,), generator=generator)
        maps = torch.eye(2, 3) + torch.empty(n, 2, 3).uniform_(-0.2, 0.2, generator=generator)
        grid = F.affine_grid(maps, [n, 1, 28, 28], align_corners=False)
        images = F.grid_sample(glyphs[fonts, labels].unsqueeze(1), grid, align_corners=False)
        return _normalise(images.flatten(1)), labels

    return _split("sample", draw(11_000), draw(2_000), 1_000)


def _glyphs() -> Tensor:
    """The ten digits in some of matplotlib's fonts, shape (fonts, 10, 56, 56), up to 255."""
    def glyph(font: str, digit: int) -> np.ndarray:
        path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{font}.ttf")
        image = Image.new("L", (56, 56))
        ImageDraw.Draw(image).text((28, 28), str(digit), fill=255, anchor="mm",
                                   font=ImageFont.truetype(str(path), 48))
        return np.asarray(image)

    glyphs = [[glyph(font, digit) for digit in range(CLASSES)] for font in FONTS]
    return torch.from_numpy(np.array(glyphs, dtype=np.float32))


def classifier(hidden: int = PIXELS) -> nn.Sequential:
    """Return the two-layer feed-forward classifier: (n, 784) pixels to (n, 10) logits."""
    return nn.Sequential(OrderedDict(hidden=nn.Linear(PIXELS, hidden), relu=nn.ReLU(),
                                     output=nn.Linear(hidden, CLASSES)))


def train(model: nn.Module, digits: Mnist, *, epochs: int, lr: float, seed: int,
          checkpoint: Path | None = None, progress: training.Progress = None
          ) -> list[dict[str, float]]:
    """Train a classifier in place with cross-entropy; return its metrics, a dictionary per epoch.

    The arguments and errors are those of :func:`.training.fit`; the metrics are ``train_loss``
    (nats per image), ``val_error`` (a fraction) and ``seconds``.
    """
    x, y = digits.train_x, digits.train_y
    task = training.Task(
        batches=lambda: torch.randperm(len(x)).split(BATCH_SIZE),
        loss=lambda m, index: F.cross_entropy(m(x[index]), y[index]),
        count=len, size=len(x), unit="image",
        evaluate=lambda m: {"val_error": error(m, digits.val_x, digits.val_y)})
    return training.fit(model, task, training.Recipe(epochs, lr), seed=seed,
                        checkpoint=checkpoint, progress=progress)


def error(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the share of images that the model puts into the wrong class."""
    wrong = sum((model(part).argmax(1) != label).sum()
                for part, label in zip(x.split(1000), y.split(1000), strict=True))
    return int(wrong) / len(y)


class Experiment(runs.Experiment):
    """One MNIST run at work: its data, its network, and what is done with them."""

    def __init__(self, run: runs.Run, origin: str, device: str = "cpu") -> None:
        self.run, self.preset = run, PRESETS[run.preset]
        self.digits = load(origin).first(self.preset.train_images).to(device)
        if run.pixels == "permuted":
            self.digits = self.digits.permuted()
        torch.manual_seed(run.seed)
        self.model = classifier()
        if run.block_size > 1:
            layer = LAYERS[METHODS[run.method].structure]
            self.model.hidden = layer(PIXELS, PIXELS, run.block_size)
            if run.layers == "all":
                self.model.output = layer(PIXELS, CLASSES, run.block_size)
        self.model.to(device)
        self.finetune_epochs, self.rounds_at_once = self.preset.finetune_epochs, 1
        self.config = {"base_lr": self.preset.base_lr, "preset_values": asdict(self.preset),
                       "batch_size": BATCH_SIZE, "optimizer": "Adam",
                       "schedule": "linear decay to 0 in each training"}

    def fit(self, epochs: int, seed: int, checkpoint: Path | None,
            progress: str | None = None) -> list[dict[str, float]]:
        return train(self.model, self.digits, epochs=epochs, lr=self.run.lr, seed=seed,
                     checkpoint=checkpoint, progress=progress)

    def prunable(self) -> list[nn.Module]:
        names = ["hidden"] if self.run.layers == "first" else ["hidden", "output"]
        return [self.model.get_submodule(name) for name in names]

    def measure(self, path: Path, number: int) -> dict[str, Any]:
        digits = self.digits
        metrics = {"val_error": error(self.model, digits.val_x, digits.val_y)}
        if self.run.stage == "final":
            metrics["test_error"] = error(self.model, digits.test_x, digits.test_y)
        return metrics

    def counts(self) -> dict[str, Any]:
        ratio = partial(counting.compression_ratio, self.model)
        return {"compression": ratio(), "compression_all": ratio("weights"),
                "compression_model": ratio("model")}

    def keep(self, path: Path) -> None:
        layer = self.model.hidden
        if isinstance(layer, BlockCirculantLinear) and self.run.block_size >= 7:
            rows = layer.weight.detach().cpu().numpy().astype(np.float16)
            store.write_arrays({"first_rows": rows}, path.with_suffix(".npz"))
        if self.run.method == "pruned":
            mask = pruning.masks(self.model)["hidden"].cpu().numpy()
            store.write_arrays({"mask": np.packbits(mask), "shape": np.array(mask.shape)},
                               path.with_suffix(".npz"))
