"""The methods that are compared: one row per method."""

from dataclasses import dataclass
from typing import Literal

# Compression levels, and the rounds of pruning that stand against each: 0.79 ** rounds is left.
ROUNDS_AT = {2: 3, 4: 6, 8: 9, 16: 12, 32: 15}
PIXELS, WORDS = ("mnist",), ("multi30k",)  # tasks of a method that is not for both
CONTROL_LEVELS = (4, 16)  # at which hyper-parameters are tried, and controls run


@dataclass(frozen=True)
class Method:
    """How the networks of a method are made and trained."""

    label: str  # in figures
    structure: str = "dense"  # or a key of circtools.structures.STRUCTURES, or of mnist.LAYERS
    at_control_levels: bool = True  # and only there; False: at every level that is compared
    fine_tunes: bool = False  # it starts from the trained dense network
    prunes: Literal["magnitude", "random", "nothing"] | None = None  # in rounds: what these take
    tuned_as: str = ""  # the method whose trials choose its hyper-parameters, if not its own
    longer: bool = False  # it gets as many epochs more as pruning to the same level
    narrower: bool = False  # Multi30k: dense layers, level ** 0.5 times narrower
    gradual: bool = False  # it is pruned during its training
    tasks: tuple[str, ...] = PIXELS + WORDS


METHODS = {
    "dense": Method("dense", at_control_levels=False),
    "block_circulant": Method("block-circulant", "block_circulant", at_control_levels=False),
    "random_sharing": Method("control: weights shared at random", "random_sharing"),
    "pruned": Method("pruned", fine_tunes=True, prunes="magnitude", at_control_levels=False),
    "pruned_all": Method("pruned, output layer too", fine_tunes=True, prunes="magnitude",
                         tuned_as="pruned", at_control_levels=False, tasks=WORDS),
    "random_pruned": Method("control: pruned at random", fine_tunes=True, prunes="random",
                            tuned_as="pruned", at_control_levels=False, tasks=WORDS),
    "finetune_control": Method("control: same loop, nothing pruned", fine_tunes=True,
                               prunes="nothing", tuned_as="pruned", at_control_levels=False),
    "projected": Method("block-circulant, projected", fine_tunes=True, longer=True, tasks=WORDS),
    "low_rank": Method("low rank", "low_rank"),
    "monarch": Method("Monarch", "monarch", tuned_as="low_rank"),
    "small_dense": Method("smaller dense", narrower=True, tasks=WORDS),
    "gradual": Method("pruned while it is trained", gradual=True, tuned_as="dense", tasks=WORDS),
    "block_circulant_long": Method(
        "block-circulant, as many epochs as pruning", "block_circulant",
        tuned_as="block_circulant", longer=True, tasks=WORDS),
    **{f"tiles_{tiles}": Method(f"circulant in two directions, {tiles} tiles", f"tiles_{tiles}",
                                tasks=PIXELS) for tiles in ("raster", "local", "strided")},
}


def tuned_as(method: str) -> str:
    """Return the method whose trials choose the hyper-parameters of this one."""
    return METHODS[method].tuned_as or method


def methods_of(task: str) -> list[str]:
    """Return the methods that can be run on a task."""
    return [name for name, method in METHODS.items() if task in method.tasks]
