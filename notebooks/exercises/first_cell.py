"""A kernel of the course runs this as it starts, so that a restart does not end in a riddle."""


def _explain(shell, kind, error, traceback, tb_offset=None):
    """Show a NameError; if the notebook's first cell has not been run, say so."""
    import sys
    from pathlib import Path

    if "exercises" not in sys.modules and Path("exercises/first_cell.py").exists():
        error.add_note("Run the first cell first: the others need its names.")
    shell.showtraceback((kind, error, traceback), tb_offset=tb_offset)


get_ipython().set_custom_exc((NameError,), _explain)  # noqa: F821, which a kernel has
del _explain
