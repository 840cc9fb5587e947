"""Where the course's files are, and how one is written, whole or not at all, and read again."""

import pickle
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]  # of the course: data, figures and notebooks
# What torch.load raises of a missing or a damaged file, and what follows from a wrong content.
DAMAGED = (OSError, RuntimeError, EOFError, pickle.UnpicklingError, LookupError, TypeError,
           ValueError, AttributeError)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file to write, and rename it at the end: a file that exists is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except RuntimeError as error:  # torch.save's
        raise OSError(f"{path} cannot be written ({error!r:.80}); is the disk full?") from error
    finally:
        temporary.unlink(missing_ok=True)


def save_atomically(payload: Any, path: Path) -> None:
    """Save with ``torch.save``; no half file is ever left."""
    with replacing(path) as temporary:
        torch.save(payload, temporary)


def load_saved(path: Path, device: torch.device | str = "cpu") -> Any:
    """Return what :func:`save_atomically` saved; a ValueError names a damaged file."""
    with blaming(path):
        return torch.load(path, map_location=device, weights_only=True)


@contextmanager
def blaming(path: Path) -> Iterator[None]:
    """Name the file in a ValueError if its content is damaged, or of another network."""
    try:
        yield
    except DAMAGED as error:
        raise ValueError(f"{path} cannot be read ({error!r:.80}); delete it and start again"
                         ) from error


def check_writable(folder: Path) -> None:
    """Make a folder and write a little into it: an OSError is better before the training."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
    except OSError as error:
        raise OSError(f"nothing can be written in {folder} ({error.strerror}); make room or name "
                      "another folder") from error
