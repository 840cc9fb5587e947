"""The command line: ``circtools data|run|...``, or ``python -m circtools``; ``-h`` lists it."""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from circtools.experiments import data, execute, multi30k, results, store, translation
from circtools.experiments.execute import TASKS
from circtools.experiments.files import ROOT
from circtools.experiments.methods import METHODS, methods_of
from circtools.experiments.multi30k_runs import DEMO
from circtools.report import facts, gallery, pages


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status: 1 after an explained error, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # "Łódź" is not in every console's alphabet
        sys.stdout.reconfigure(errors="replace")
    try:
        options.command(options)
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"circtools: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("circtools: stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="circtools", description="Compressing neural networks: the course's commands.")
    commands = parser.add_subparsers(required=True, metavar="command")
    get = commands.add_parser(
        "data", help="get and verify the data",
        description="Find the data (CIRCTOOLS_DATA, then data/raw), download what is missing "
                    "into data/raw, and verify every file.")
    get.add_argument("tasks", nargs="*", default=["mnist", "multi30k"], metavar="task",
                     help="mnist, multi30k (default: both), multi30k-extra")
    get.add_argument("--list", action="store_true", help="only list the files and licences")
    get.add_argument("--optional", action="store_true",
                     help="no failure, only a notice, if a file cannot be downloaded")
    get.set_defaults(command=_data)
    _add_run(commands)
    _add_translate(commands)
    for name, folder, help_ in (
            ("figures", gallery.FOLDER, "draw every figure, as SVG and PNG"),
            ("poster", gallery.FOLDER, "make the poster, poster.pdf (A0), and a preview of it"),
            ("slides", gallery.TEACHING, "make slides.pdf (16:9) and handout.pdf (A4)")):
        help_ += ", from data/results"
        draw = commands.add_parser(name, help=help_, description=help_)
        draw.add_argument("--output", type=_path, default=folder, metavar="FOLDER",
                          help=f"where to (default {folder.relative_to(ROOT)})")
        draw.set_defaults(command=_draw, name=name)
    verdicts = commands.add_parser(
        "report", help="test the poster's claims; write README.md, RESULTS.md and the quiz",
        description="Test the poster's claims on the results, print the verdicts, and write "
                    "README.md, RESULTS.md and the quiz from their templates.")
    verdicts.add_argument("--check", action="store_true",
                          help="change nothing; fail if a page is stale")
    verdicts.set_defaults(command=_report)
    return parser


def _add_run(commands: Any) -> None:
    run = commands.add_parser(
        "run", help="run the experiments, or resume them",
        description="Run every experiment that has no result yet, several at a time. A run that "
                    "was killed resumes; a finished one is never repeated.")
    run.add_argument("task", choices=list(TASKS))
    run.add_argument("--preset", default="base", metavar="PRESET",
                     help="mnist: tiny (a minute) or base (the committed results, 1.5 hours on "
                          "2 cores); multi30k: tiny, small, slight (claim 3's own test), base, "
                          "large (for a GPU)")
    run.add_argument("--seeds", type=int, default=5, help="seeds of the final runs (default 5)")
    run.add_argument("--methods", nargs="+", default=(), metavar="METHOD",
                     help="all, or some of " + ", ".join(METHODS)
                          + " (default: mnist's own, or multi30k's dense network, tied)")
    run.add_argument("--workers", type=int, default=2,
                     help="runs at a time; 1 shows the progress of each (default 2)")
    run.add_argument("--device", default="cpu", choices=["cpu", "cuda"],
                     help="where to train (default cpu)")
    run.add_argument("--scheduler", metavar="ADDRESS",
                     help="address of a Dask scheduler (tcp://host:8786) whose workers, which see "
                          "the same files, do the runs; needs 'pip install circtools[cluster]'")
    run.add_argument("--results", type=_path, default=store.FOLDER, metavar="FOLDER",
                     help="where the results are (default data/results)")
    run.add_argument("--source", default="auto", choices=["auto", "real", "sample"],
                     help="auto uses the built-in sample if the data cannot be had")
    run.add_argument("--plan", action="store_true",
                     help="only print the runs of the next stage as a table; any scheduler can do "
                          "them, each by --only")
    run.add_argument("--only", metavar="RUN",
                     help="do this one run of the next stage, named as --plan names it")
    run.set_defaults(command=_run)


def _add_translate(commands: Any) -> None:
    translate = commands.add_parser(
        "translate", help="translate German captions into English",
        description="Translate German sentences with a trained Transformer; by default with the "
                    "small one that comes with the course, which knows captions of pictures and "
                    "little else.")
    translate.add_argument("sentences", nargs="+", metavar="sentence", help="in German, quoted")
    translate.add_argument("--model", type=_path, default=DEMO, metavar="FILE",
                           help="a network saved beside a result (.pt)")
    translate.add_argument("--beam", type=int, default=translation.BEAM,
                           help="hypotheses kept by the search; 1 is greedy (default 4)")
    translate.add_argument("--unknown", default="copy", choices=["copy", "forbid", "keep"],
                           help="what to do where the network writes an unknown word (default: "
                                "copy the German one)")
    translate.set_defaults(command=_translate)


def _path(text: str) -> Path:
    """Expand the home, as a shell does not in ``--results=~/x``."""
    return Path(os.path.expanduser(text))


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
    methods = methods_of(options.task) if options.methods == ["all"] else options.methods
    if options.plan:
        kept = store.Store(options.results, TASKS[options.task].load(options.source).origin)
        runs = execute.pending(options.task, options.preset, options.seeds, kept, methods)
        if runs:
            print(execute.plan_table(runs, kept, options.device).to_string())
            return
    else:
        execute.run_all(options.task, options.preset, options.seeds, options.workers,
                        options.results, options.source, options.device, methods,
                        options.scheduler, options.only)
    print("every run has its result" if options.only is None else "done")


def _translate(options: argparse.Namespace) -> None:
    model, words = multi30k.load_model(options.model)
    for text in translation.translate(model, words, options.sentences, beam=options.beam,
                                      unknown=options.unknown):
        print(text)


def _draw(options: argparse.Namespace) -> None:
    table, folder = results.load(), options.output
    found = facts.facts(table)
    if options.name == "poster":
        paths = gallery.make_poster(table, found, folder)
    elif options.name == "slides":
        paths = gallery.make_slides(table, found, pages.titles(found), folder)
    else:
        paths = gallery.make_all(table, pages.titles(found), folder)
    print(*paths, sep="\n")


def _report(options: argparse.Namespace) -> None:
    values = facts.facts(results.load())
    print(pages.claims_table(values["claims"]))
    stale = pages.write(values, check=options.check)
    if options.check and stale:
        raise ValueError(f"{' and '.join(stale)} is stale: run 'make report' and commit it")


if __name__ == "__main__":
    sys.exit(main())
