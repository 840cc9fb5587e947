"""Find the data: ``CIRCTOOLS_DATA``, then ``data/raw``, then a download, each file verified."""

import gzip
import json
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pooch
from requests.exceptions import ChunkedEncodingError, ContentDecodingError
from tqdm import tqdm

from circtools.experiments.files import ROOT, replacing

MANIFEST = ROOT / "data" / "manifest.json"
RAW = ROOT / "data" / "raw"
# What a download raises that arrived broken: cut off, or no gzip.
DAMAGE = (ChunkedEncodingError, ContentDecodingError, EOFError, zlib.error, gzip.BadGzipFile)
Data = TypeVar("Data")


class DataUnavailable(OSError):
    """The data is on no disk we know of and cannot be downloaded now."""


class CorruptData(ValueError):
    """A data file is incomplete, or not the one that the manifest names."""


def manifest(task: str) -> list[dict[str, Any]]:
    """Return the manifest's entries for a task: path, address, mirror, size, sha256, licence.

    It raises a FileNotFoundError without the course's folder, and a ValueError of an unknown task.
    """
    if not MANIFEST.exists():
        raise FileNotFoundError(
            f"{MANIFEST} is missing: circtools is installed without the course. Clone the course's "
            "repository and install it with 'pip install -e .' to use its data and results")
    entries = json.loads(MANIFEST.read_text(encoding="utf-8"))["files"]
    chosen = [entry for entry in entries if entry["task"] == task]
    if not chosen:
        tasks = sorted({entry["task"] for entry in entries})
        raise ValueError(f"no data for task {task!r}; the manifest has {', '.join(tasks)}")
    return chosen


def locate(task: str) -> Path:
    """Return the folder below which a task's files lie, each verified; download what is missing.

    A relative ``CIRCTOOLS_DATA`` is seen from the course's folder: the notebooks run in another.

    Raises:
        CorruptData: if a file is incomplete or has the wrong content, on disk or as downloaded.
        DataUnavailable: if a download is needed and no address answers.
        NotADirectoryError: if ``CIRCTOOLS_DATA`` names no folder.
    """
    entries, folder = manifest(task), RAW
    if given := os.environ.get("CIRCTOOLS_DATA"):
        own = ROOT / os.path.expanduser(given)
        if not own.is_dir():
            raise NotADirectoryError(f"CIRCTOOLS_DATA: {own} is not a folder; point it at one "
                                     f"that holds {entries[0]['path']}, or unset it")
        missing = [e["path"] for e in entries if not (own / e["path"]).exists()]
        if 0 < len(missing) < len(entries):
            raise CorruptData(f"CIRCTOOLS_DATA={given} lacks {', '.join(missing)}; copy it there, "
                              "or unset CIRCTOOLS_DATA to download everything")
        folder = RAW if missing else own
    for entry in entries:
        path = folder / entry["path"]
        if not path.exists():
            download(entry, path)
        elif damage := fault(path, entry):
            raise CorruptData(f"{damage}; delete it and run 'circtools data {task}' to get it "
                              "again (or copy it anew, if it is in your CIRCTOOLS_DATA)")
    return folder


def fault(path: Path, entry: dict[str, Any]) -> str:
    """Say in what a file differs from the manifest's size and SHA-256; nothing if in neither."""
    size = path.stat().st_size
    if size != entry["size"]:
        kind = "truncated" if size < entry["size"] else "too long"
        return f"{path} is {kind}: {size} bytes, expected {entry['size']}"
    digest = pooch.file_hash(str(path), alg="sha256")
    if digest != entry["sha256"]:
        return f"{path} is corrupted: SHA-256 {digest}, expected {entry['sha256']}"
    return ""


def download(entry: dict[str, Any], path: Path) -> None:
    """Download one file of the manifest, verify it, and only then give it its name.

    It raises :class:`CorruptData` if what an address gave is damaged and no other gave the right
    content, else :class:`DataUnavailable`.
    """
    failures: list[str] = []
    corrupt = False
    for address in (entry["address"], entry["mirror"]):
        try:
            with replacing(path) as temporary:
                _receive(address, temporary, entry)
                if damage := fault(temporary, entry):
                    raise CorruptData(damage)
            return
        except (CorruptData, OSError, *DAMAGE) as error:
            # Any other OSError is no answer: no network, a timeout, an HTTP status, a web page.
            corrupt |= isinstance(error, (CorruptData, *DAMAGE))
            failures.append(f"{address}: {error}")
    tried = "\n  ".join(failures)
    if corrupt:
        raise CorruptData(f"{entry['path']} arrived truncated or corrupted and was not kept:\n  "
                          f"{tried}\nTry again later, or put the file under {path} yourself")
    raise DataUnavailable(f"{entry['path']} could not be downloaded:\n  {tried}\nCheck the "
                          f"network, or put the file under {path}, or point CIRCTOOLS_DATA at a "
                          "folder that has it")


def _receive(address: str, target: Path, entry: dict[str, Any]) -> None:
    with tqdm(desc=Path(entry["path"]).name, total=entry["size"], unit="B", unit_scale=True,
              leave=False, disable=None) as bar:  # None: for a terminal alone
        fetch = pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16, timeout=10,
                                     headers={"Accept-Encoding": "identity"})
        fetch(address, str(target), None)
    with target.open("rb") as file:  # a proxy's page comes with a status that says all is well
        if file.read(512).lstrip().lower().startswith((b"<!doctype html", b"<html")):
            raise DataUnavailable("a web page came instead; a proxy or a login may be in the way")
    if entry["unpack"] == "gzip":
        target.write_bytes(gzip.decompress(target.read_bytes()))


def real_or_sample(origin: str, real: Callable[[], Data], sample: Callable[[], Data], name: str,
                   contents: str) -> Data:
    """Return real data, or the built-in sample where they cannot be had.

    With the origin ``"auto"`` the sample serves, with a printed notice of the data's name and the
    sample's contents, if the data is on no disk and cannot be downloaded; ``"real"`` raises
    :class:`DataUnavailable` instead, and ``"sample"`` asks for it. A damaged file raises
    :class:`CorruptData`, a wrong origin a ValueError.
    """
    if origin not in ("auto", "real", "sample"):
        raise ValueError(f"origin must be 'auto', 'real' or 'sample', got {origin!r}")
    if origin != "sample":
        try:
            return real()
        except DataUnavailable as error:
            if origin == "real":
                raise
            print(f"NOTICE: {name} is not available ({str(error).splitlines()[0]}).\n"
                  f"NOTICE: the built-in sample, {contents}, is used instead; results are recorded "
                  "as data: sample.")
    return sample()


def describe(tasks: Sequence[str]) -> str:
    """Return a few lines per file: path and size, licence, address."""
    return "\n".join(f"{entry['path']}  {entry['size'] / 1e6:.1f} MB\n    {entry['licence']}\n"
                     f"    {entry['address']}" for task in tasks for entry in manifest(task))
