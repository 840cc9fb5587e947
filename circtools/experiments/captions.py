"""The built-in sample: 5,000 German-English picture captions, made by a small grammar.

They have what makes the pair hard: the verb's place (second, also after a place; last in a
subordinate clause; split in two), cases and genders with their endings, and compounds. The
grammar was this project's own and is published under the project's MIT licence; this file held it
last at commit 154ab89. The first line of the data says so too.
"""

import gzip
from pathlib import Path

FILE = Path(__file__).with_name("captions.tsv.gz")
LIMIT = 5_000  # pairs in the file


def pairs(n: int) -> list[tuple[str, str]]:
    """Return the first n (German, English) pairs; they are distinct and in random order.

    Raises:
        ValueError: if n is not between 1 and :data:`LIMIT`.
    """
    if not 1 <= n <= LIMIT:
        raise ValueError(f"n must be between 1 and {LIMIT}, got {n}")
    lines = gzip.decompress(FILE.read_bytes()).decode("utf-8").splitlines()
    return [(german, english) for german, english in (ln.split("\t") for ln in lines[1 : n + 1])]
