"""Finding, downloading and verifying the data; MNIST and the sample that stands in for it."""

import gzip
import hashlib
import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from circtools.experiments import data, mnist

CONTENT = bytes(range(256)) * 400  # of the file that the tests download


class Server:
    """An HTTP server on this machine; ``files`` maps a path to a body or to a broken answer."""

    def __init__(self) -> None:
        files: dict[str, bytes] = {}
        asked: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                if self.path not in files:
                    self.send_error(404)
                    return
                body = files[self.path]
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                # A name with "cut" promises a whole body and breaks off halfway.
                self.wfile.write(body[: len(body) // 2] if "cut" in self.path else body)

            def log_message(self, *_: object) -> None:
                pass

        self.files, self.asked = files, asked
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def closed_address() -> str:
    """An address on this machine where nothing answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/nothing"


def entry(primary: str, mirror: str = "", unpack: str | None = None) -> dict[str, Any]:
    return {"task": "mnist", "path": "MNIST/raw/digits", "address": primary, "mirror": mirror,
            "unpack": unpack, "size": len(CONTENT), "licence": "none",
            "sha256": hashlib.sha256(CONTENT).hexdigest()}


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# --- Download ------------------------------------------------------------------------------------


@pytest.mark.parametrize("unpack", [None, "gzip"])
def test_a_good_file_gets_its_name(server: Server, tmp_path: Path, unpack: str | None) -> None:
    server.files["/a"] = gzip.compress(CONTENT) if unpack else CONTENT
    target = tmp_path / "folder" / "digits"
    data.download(entry(f"{server.address}/a", unpack=unpack), target)
    assert target.read_bytes() == CONTENT
    assert left_behind(tmp_path) == ["digits"]


@pytest.mark.parametrize("unpack", [None, "gzip"])
@pytest.mark.parametrize("damage", ["cut", "shorter", "longer", "other", "no gzip"])
def test_a_damaged_file_is_named_and_not_kept(
    server: Server, tmp_path: Path, damage: str, unpack: str | None
) -> None:
    content = {"shorter": CONTENT[:-1], "longer": CONTENT + b"!",
               "other": bytes([1, *CONTENT[1:]])}.get(damage, CONTENT)
    packed = gzip.compress(content) if unpack else content
    path = "/cut" if damage == "cut" else "/a"
    server.files[path] = b"No archive" if damage == "no gzip" else packed
    address = server.address + path
    with pytest.raises(data.CorruptData, match=r"MNIST/raw/digits arrived") as caught:
        data.download(entry(address, address, unpack), tmp_path / "digits")
    assert address in str(caught.value) and "Try again later" in str(caught.value)
    assert "delete it" not in str(caught.value), "there is nothing to delete"
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("first", ["/missing", "/cut", "/damaged"])
def test_the_mirror_serves_when_the_first_address_does_not(
    server: Server, tmp_path: Path, first: str
) -> None:
    server.files |= {"/good": CONTENT, "/cut": CONTENT, "/damaged": CONTENT[::-1]}
    data.download(entry(server.address + first, f"{server.address}/good"), tmp_path / "digits")
    assert server.asked == [first, "/good"]
    assert (tmp_path / "digits").read_bytes() == CONTENT
    assert left_behind(tmp_path) == ["digits"]


def test_no_answer_says_what_to_do(tmp_path: Path) -> None:
    address = closed_address()
    with pytest.raises(data.DataUnavailable, match="could not be downloaded") as caught:
        data.download(entry(address, address), tmp_path / "digits")
    for words in ("MNIST/raw/digits", address, "CIRCTOOLS_DATA", str(tmp_path / "digits")):
        assert words in str(caught.value)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("unpack", [None, "gzip"])
@pytest.mark.parametrize("page", [b"<html>Log in</html>", b"\r\n<!DOCTYPE html>\n<p>Blocked"])
def test_a_proxys_page_counts_as_no_answer(
    server: Server, tmp_path: Path, page: bytes, unpack: str | None
) -> None:
    server.files |= {"/page": page, "/damaged": CONTENT[::-1]}
    address = f"{server.address}/page"
    with pytest.raises(data.DataUnavailable, match=r"page: a web page came instead"):
        data.download(entry(address, address, unpack), tmp_path / "digits")
    with pytest.raises(data.CorruptData):  # what is damaged stays an error
        data.download(entry(address, f"{server.address}/damaged", unpack), tmp_path / "digits")
    assert left_behind(tmp_path) == []


def test_an_error_status_counts_as_no_answer(server: Server, tmp_path: Path) -> None:
    address = f"{server.address}/missing"
    with pytest.raises(data.DataUnavailable, match="404"):
        data.download(entry(address, address), tmp_path / "digits")


def test_an_answer_that_is_no_http_counts_as_no_answer(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def answer() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(b"gibberish\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/a"
        with pytest.raises(data.DataUnavailable, match="could not be downloaded"):
            data.download(entry(address, address), tmp_path / "digits")


# --- Look-up -------------------------------------------------------------------------------------


@pytest.fixture
def two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """A manifest of two small files, at addresses where nothing answers until others are given."""
    def at(digits: str, labels: str) -> None:
        files = [entry(digits, digits), entry(labels, labels) | {"path": "MNIST/raw/labels"}]
        data.MANIFEST.write_text(json.dumps({"files": files}), encoding="utf-8")

    monkeypatch.delenv("CIRCTOOLS_DATA", raising=False)
    monkeypatch.setattr(data, "RAW", tmp_path / "raw")
    monkeypatch.setattr(data, "MANIFEST", tmp_path / "manifest.json")
    at(closed_address(), closed_address())
    return at


def put(folder: Path, digits: bytes = CONTENT, labels: bytes | None = CONTENT) -> Path:
    (folder / "MNIST" / "raw").mkdir(parents=True, exist_ok=True)
    (folder / "MNIST" / "raw" / "digits").write_bytes(digits)
    if labels is not None:
        (folder / "MNIST" / "raw" / "labels").write_bytes(labels)
    return folder


@pytest.mark.usefixtures("two_files")
def test_order_of_look_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, raw = tmp_path / "given", tmp_path / "raw"
    given.mkdir()
    monkeypatch.setenv("CIRCTOOLS_DATA", str(given))
    with pytest.raises(data.DataUnavailable):  # nowhere, and no address answers
        data.locate("mnist")
    put(raw)
    assert data.locate("mnist") == raw
    put(given)
    assert data.locate("mnist") == given
    monkeypatch.delenv("CIRCTOOLS_DATA")
    assert data.locate("mnist") == raw


def test_only_what_is_missing_is_downloaded(
    two_files: Callable[[str, str], None], server: Server, tmp_path: Path
) -> None:
    server.files |= {"/digits": CONTENT, "/labels": CONTENT}
    two_files(f"{server.address}/digits", f"{server.address}/labels")
    raw = put(tmp_path / "raw", labels=None)
    for _ in range(2):
        assert data.locate("mnist") == raw
    assert server.asked == ["/labels"]


@pytest.mark.parametrize(("content", "words"), [
    (CONTENT[:-5], f"digits is truncated: {len(CONTENT) - 5} bytes, expected {len(CONTENT)}"),
    (CONTENT + b"!", "digits is too long"),
    (CONTENT[::-1], "digits is corrupted: SHA-256"),
])
@pytest.mark.parametrize("place", ["given", "raw"])
@pytest.mark.usefixtures("two_files")
def test_a_damaged_file_on_disk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, content: bytes, words: str
) -> None:
    folder = put(tmp_path / place, digits=content)
    if place == "given":
        monkeypatch.setenv("CIRCTOOLS_DATA", str(folder))
    with pytest.raises(data.CorruptData, match=words) as caught:
        data.locate("mnist")
    assert str(folder) in str(caught.value) and "delete it" in str(caught.value)


@pytest.mark.usefixtures("two_files")
def test_a_missing_file_of_a_given_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIRCTOOLS_DATA", str(put(tmp_path / "given", labels=None)))
    with pytest.raises(data.CorruptData, match="lacks MNIST/raw/labels; copy it there"):
        data.locate("mnist")


@pytest.mark.parametrize("name", ["~/given", "given"])
@pytest.mark.usefixtures("two_files")
def test_a_given_folder_is_the_same_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(data, "ROOT", tmp_path)
    monkeypatch.setenv("CIRCTOOLS_DATA", name)
    given = put(tmp_path / "given")
    assert data.locate("mnist") == given


@pytest.mark.usefixtures("two_files")
def test_a_given_folder_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIRCTOOLS_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(NotADirectoryError, match="nowhere is not a folder"):
        data.locate("mnist")


def test_the_manifest_is_complete_and_an_unknown_task_is_named() -> None:
    for task in ("mnist", "multi30k"):
        for file in data.manifest(task):
            assert len(file["sha256"]) == 64 and file["size"] > 0 and file["licence"]
            assert file["address"].startswith("https://") and file["mirror"] != file["address"]
            assert file["path"] in data.describe([task])
    with pytest.raises(ValueError, match=r"'cifar'; the manifest has mnist, multi30k"):
        data.manifest("cifar")


def test_a_missing_manifest_says_how_to_install_the_course(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "MANIFEST", tmp_path / "manifest.json")
    with pytest.raises(FileNotFoundError, match="Clone the course"):
        data.manifest("mnist")


# --- MNIST and the sample ------------------------------------------------------------------------


@pytest.mark.usefixtures("two_files")
def test_without_data_and_network_the_sample_serves_with_a_notice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mnist.load().origin == "sample"
    printed = capsys.readouterr().out
    assert printed.startswith("NOTICE: MNIST is not available") and "data: sample" in printed
    with pytest.raises(data.DataUnavailable):
        mnist.load("real")
    mnist.load("sample")
    assert capsys.readouterr().out == "", "no notice when the sample was asked for"


@pytest.mark.usefixtures("two_files")
def test_damaged_data_is_an_error_and_not_replaced_by_the_sample(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CIRCTOOLS_DATA", str(put(tmp_path / "given", digits=b"")))
    with pytest.raises(data.CorruptData, match="truncated: 0 bytes"):
        mnist.load()


def check_digits(digits: mnist.Mnist, sizes: tuple[int, int, int]) -> None:
    """Shapes, types, classes and normalisation, common to the sample and the real data."""
    parts = [(digits.train_x, digits.train_y), (digits.val_x, digits.val_y),
             (digits.test_x, digits.test_y)]
    for (x, y), size in zip(parts, sizes, strict=True):
        assert x.shape == (size, 784) and x.dtype == torch.float32
        assert y.shape == (size,) and y.dtype == torch.int64
        assert y.unique().tolist() == list(range(10))
        assert torch.bincount(y).min() > 0.05 * size
        low, high = -mnist.MEAN / mnist.STD, (1 - mnist.MEAN) / mnist.STD
        assert low - 1e-5 <= x.min() and x.max() <= high + 1e-5


def test_the_sample_has_mnists_form() -> None:
    digits = mnist.load("sample")
    check_digits(digits, (10_000, 1_000, 2_000))
    assert digits.origin == "sample"


def test_the_sample_is_the_same_every_time() -> None:
    one, other = (mnist._sample.__wrapped__() for _ in range(2))
    assert torch.equal(one.train_x, other.train_x) and torch.equal(one.test_y, other.test_y)


def test_real_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_download(entry: dict[str, Any], _: Path) -> None:
        pytest.skip(f"{entry['path']} is on no disk, and a test downloads nothing")

    monkeypatch.setattr(data, "download", no_download)
    digits = mnist.load("real")
    check_digits(digits, (55_000, 5_000, 10_000))
    assert digits.origin == "real"
    assert digits.train_y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert float(digits.train_x.mean()) == pytest.approx(0, abs=0.01)
    assert float(digits.train_x.std()) == pytest.approx(1, abs=0.01)


def test_idx_files_are_read_without_their_headers(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(256, size=(5_003, 28, 28), dtype=np.uint8)
    for name, images in ("train", pixels), ("t10k", pixels[:50]):
        for kind, array in ("images", images), ("labels", images[:, 14, 14] % 10):
            header = b"".join(size.to_bytes(4, "big") for size in array.shape)
            path = raw / f"{name}-{kind}-idx{array.ndim}-ubyte"
            path.write_bytes(bytes([0, 0, 8, array.ndim]) + header + array.tobytes())
    digits = mnist._real.__wrapped__(tmp_path)
    for part, images in ("train", pixels[:3]), ("val", pixels[3:]), ("test", pixels[:50]):
        x, y = getattr(digits, f"{part}_x"), getattr(digits, f"{part}_y")
        expected = (images.reshape(-1, 784) / 255 - mnist.MEAN) / mnist.STD
        torch.testing.assert_close(x, torch.from_numpy(expected).float())
        assert y.tolist() == (images[:, 14, 14] % 10).tolist()


def test_permuted_pixels_are_one_fixed_permutation() -> None:
    digits = mnist.load("sample")
    once, again, other = digits.permuted(), digits.permuted(), digits.permuted(seed=1)
    assert torch.equal(once.test_x, again.test_x) and not torch.equal(once.test_x, other.test_x)
    positions = torch.arange(784.0).expand(1, -1)
    order = mnist.Mnist("sample", *[positions, torch.zeros(1)] * 3).permuted()
    order = order.train_x[0].long()
    assert order.sort().values.tolist() == list(range(784))
    for name in ("train_x", "val_x", "test_x"):
        assert torch.equal(getattr(once, name), getattr(digits, name)[:, order])
    assert torch.equal(once.train_y, digits.train_y)


def test_first_takes_fewer_training_images_only() -> None:
    digits = mnist.load("sample")
    fewer = digits.first(100)
    assert torch.equal(fewer.train_x, digits.train_x[:100]) and len(fewer.train_y) == 100
    assert fewer.test_x is digits.test_x and fewer.val_x is digits.val_x


def test_an_unknown_source_is_named() -> None:
    with pytest.raises(ValueError, match="got 'fashion'"):
        mnist.load("fashion")


def test_error_is_the_share_of_wrong_classes() -> None:
    labels = torch.arange(10).repeat(250)  # more than one part of 1000
    logits = torch.eye(10)[labels]
    logits[:100] = torch.eye(10)[(labels[:100] + 1) % 10]
    assert mnist.error(torch.nn.Identity(), logits, labels) == 100 / 2500
