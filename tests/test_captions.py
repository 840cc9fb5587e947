"""The sample's captions: the committed file, distinct pairs, both languages."""

import hashlib

from circtools.experiments.corpus import captions

PAIRS = captions()


def test_the_file_is_the_one_that_the_sample_results_were_made_with() -> None:
    text = "\n".join("\t".join(pair) for pair in PAIRS)
    assert hashlib.sha256(text.encode()).hexdigest() == (
        "dfbb5f211e5878786821ff411da9c63e5d6a7371b8a68656293021e649e12387")


def test_the_pairs_are_distinct() -> None:
    assert len(PAIRS) == len({german for german, _ in PAIRS}) == 5_000


def test_sentences_are_german_and_english() -> None:
    for german, english in PAIRS:
        for text in german, english:
            assert text[0].isupper() and text.endswith(".") and "  " not in text
        assert english.isascii() and (" is " in english or " are " in english)
    assert sum(" während " in german for german, _ in PAIRS) > 500
