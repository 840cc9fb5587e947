from matplotlib.figure import Figure


def block_circulant_ladder() -> Figure:
    return Figure()


def pruning_technique() -> Figure:
    return Figure()


def circulant_technique() -> Figure:
    return Figure()
