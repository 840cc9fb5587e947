"""The command line: ``circtools data|run|figures|report``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from circtools import claims, data, experiments, figures, results


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status, 1 after an error that has been explained."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except (OSError, ValueError) as error:
        print(f"circtools: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="circtools", description="Compressing neural networks: the course's commands.")
    commands = parser.add_subparsers(required=True, metavar="command")

    get = commands.add_parser(
        "data", help="get and verify the data",
        description="Find the data (CIRCTOOLS_DATA, then data/raw), download what is missing "
                    "into data/raw, and verify every file.")
    get.add_argument("tasks", nargs="*", default=["mnist"], metavar="task",
                     help="mnist (the default), multi30k")
    get.add_argument("--list", action="store_true", help="only list the files and licences")
    get.add_argument("--optional", action="store_true",
                     help="no failure, only a notice, if a file cannot be downloaded")
    get.set_defaults(command=_data)

    run = commands.add_parser(
        "run", help="run the experiments, or resume them",
        description="Run every experiment that has no result yet, several at a time. A run that "
                    "was killed resumes; a finished one is never repeated.")
    run.add_argument("task", choices=["mnist"])
    run.add_argument("--preset", default="course", choices=list(experiments.PRESETS),
                     help="course: the committed results, 1.5 hours on 2 cores; quick: a minute")
    run.add_argument("--seeds", type=int, default=5, help="seeds of the final runs (default 5)")
    run.add_argument("--workers", type=int, default=2, help="runs at a time (default 2)")
    run.add_argument("--results", type=Path, default=results.FOLDER, metavar="FOLDER",
                     help="where the results are (default data/results)")
    run.add_argument("--source", default="auto", choices=["auto", "real", "sample"],
                     help="auto uses the built-in sample if MNIST cannot be had")
    run.add_argument("--plan", action="store_true", help="only list the runs of the next stage")
    run.set_defaults(command=_run)

    draw = commands.add_parser(
        "figures", help="draw the poster's figures from the results",
        description="Draw every figure from data/results into figures/, as SVG and PNG.")
    draw.add_argument("--output", type=Path, default=figures.FOLDER, metavar="FOLDER",
                      help="where to (default figures)")
    draw.set_defaults(command=_figures)

    report = commands.add_parser(
        "report", help="print the claims table and write it into the README",
        description="Test the poster's claims on the results and write the table into README.md.")
    report.add_argument("--check", action="store_true",
                        help="change nothing; fail if the README is stale")
    report.set_defaults(command=_report)
    return parser


def _data(options: argparse.Namespace) -> None:
    if options.list:
        print(data.describe(options.tasks))
        return
    for task in options.tasks:
        try:
            print(f"{task}: complete and verified in {data.locate(task)}")
        except data.DataUnavailable as error:
            if not options.optional:
                raise
            print(f"NOTICE: {error}\nNOTICE: the built-in sample will serve instead.")


def _run(options: argparse.Namespace) -> None:
    if options.plan:
        source = "sample" if options.source == "sample" else "real"
        for run in experiments.pending(options.preset, options.seeds, options.results, source):
            print(run.name)
        return
    experiments.run_all(options.preset, options.seeds, options.workers, options.results,
                        options.source)
    print("every run has its result")


def _figures(options: argparse.Namespace) -> None:
    for path in figures.make_all(results.load(), options.output):
        print(path)


def _report(options: argparse.Namespace) -> None:
    table = results.load()
    print(claims.markdown(claims.table_of_claims(table[table["preset"] == "course"])))
    fresh = claims.write_report(table, check=options.check)
    if options.check and not fresh:
        raise ValueError("README.md is stale: run 'circtools report' and commit it")
