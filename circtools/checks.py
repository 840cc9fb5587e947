"""Arguments are checked where they come in, with a message that says what is wanted."""

from collections.abc import Collection


def check_size(name: str, size: int, largest: int | None = None) -> None:
    """Raise an error if a size is not an integer of at least 1 (and at most ``largest``)."""
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"{name} must be an int, got {size!r}")
    if size < 1:
        raise ValueError(f"{name} must be 1 or more, got {size}")
    if largest is not None and size > largest:
        raise ValueError(f"{name} {size} is larger than the matrix: it would only store padding; "
                         f"use at most {largest}")


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Raise an error if a value is none of the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
