"""What holds of the repository as a whole: pins, committed results, figures, the command line."""

import io
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import house
import pytest
import yaml
from matplotlib.figure import Figure
from sacrebleu.metrics import BLEU

from circtools import __main__ as cli
from circtools.experiments import data, execute, multi30k, results, runs, store, translation
from circtools.report import comparisons, facts, gallery, style

ROOT = Path(__file__).resolve().parents[1]


def pins() -> dict[str, str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in wanted), "not all pinned"
    return dict(line.split("==") for line in wanted)


def test_environment_installs_exactly_the_requirements() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *conda, pip = environment["dependencies"]
    assert pip["pip"] == ["-r requirements.txt", "-e ."]
    assert [re.split("[=<>]", package)[0] for package in conda] == ["python", "pip"]


def test_what_circtools_needs_is_among_the_pins() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^dependencies = \[(.*?)\]", text, re.DOTALL | re.MULTILINE)
    assert block
    needed = re.findall(r'"([\w.-]+)>=', block[1])
    assert len(needed) > 5 and set(needed) <= set(pins())


def core_modules() -> set[str]:
    return {f"circtools.{path.stem}" for path in (ROOT / "circtools").glob("*.py")
            if path.stem not in ("__init__", "__main__")}


def test_the_core_loads_torch_alone() -> None:
    with open(ROOT / "pyproject.toml", "rb") as file:
        _, contract = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    assert set(contract["source_modules"]) == core_modules(), "a contract forgets a module"
    code = (f"import sys, circtools, {', '.join(sorted(core_modules()))}\n"
            f"print(*sorted(set(sys.modules) & {set(contract['forbidden_modules'])!r}))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                          check=True)
    assert done.stdout.split() == []


def test_the_core_is_strictly_typed() -> None:
    with open(ROOT / "pyproject.toml", "rb") as file:
        strict, _ = tomllib.load(file)["tool"]["mypy"]["overrides"]
    assert {*core_modules(), "circtools"} == set(strict["module"])


def test_the_house_is_measured(tmp_path: Path) -> None:
    """A package of nine lines on three floors, whose longest function has a decorator."""
    package = tmp_path / "cottage"
    for name, text in {
        "__init__.py": "", "__main__.py": "from cottage.attic import roof\n",
        "ground.py": "FLOOR = 0\n", "attic/__init__.py": "", "attic/templates/page.j2": "a\nb\n",
        "attic/roof.py": "import functools\n\nfrom cottage import ground\n\n"
                         "@functools.cache\ndef high():\n    return ground.FLOOR\n",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text, encoding="utf-8")
    assert {name: (value, where) for name, value, _, where in house.sizes(package)} == {
        "core": (1, ""), "command line": (1, ""), "attic": (7, ""), "templates": (2, ""),
        "total": (9, "without templates"), "floors": (3, "__main__ > roof > ground"),
        "longest file": (7, "roof"), "longest function": (3, "roof.high"),
    }


def test_the_committed_results_are_complete() -> None:
    assert execute.pending("mnist", "base", 5, store.Store()) == []


def test_committed_results_are_of_the_real_data_and_unchanged_code() -> None:
    table = results.load(data=None)
    assert set(table["data"]) == {"real"}
    assert not table["commit"].str.contains("changed").any()
    table = table[table["series"] != "diverged"]
    search, final = table[table["series"] == "search"], table[table["series"] != "search"]
    assert search[["test_error", "test_bleu"]].isna().all(axis=None)
    mnist, multi30k = (final[final["task"] == task] for task in ("mnist", "multi30k"))
    assert mnist["test_error"].between(0.005, 0.95).all()
    assert multi30k["test_bleu"].between(0, 60).all()


def test_a_chain_starts_from_the_dense_network_that_it_is_compared_with() -> None:
    """At ``small`` from that very one; at ``base`` it was trained again (data/README.md)."""
    everything = {result["run"]: result for result in store.read()}
    chains = [result for result in everything.values() if result["config"]["task"] == "multi30k"
              and result["config"]["start"] and result["config"]["rounds"]
              and "diverged" not in result]
    assert len(chains) > 10
    for chain in chains:
        start = store.Store(Path()).path(runs.Run(**chain["config"]["start"])).with_suffix("")
        [dense] = everything[start.as_posix()]["final"]
        assert chain["final"][0]["val_loss"] == pytest.approx(
            dense["val_loss"], rel=0,
            abs={"base": 2e-3}.get(chain["config"]["preset"], 1e-6))


def test_the_notebooks_name_the_size_that_their_figures_show() -> None:
    preset = comparisons.main_preset(results.load())
    for number in ("06", "07", "08"):
        [path] = (ROOT / "notebooks" / "text").glob(f"{number}_*.py")
        assert f"in the preset `{preset}`" in path.read_text(encoding="utf-8"), path.name


@pytest.mark.slow
def test_every_translation_scores_what_its_result_says() -> None:
    corpus = multi30k.load("auto")
    if corpus.origin == "sample":
        pytest.skip("needs Multi30k: the references are not committed")
    rows = results.select(results.load(), task="multi30k").dropna(subset="test_bleu")
    metric = BLEU(lowercase=True, references=[corpus.test.english])  # read once for all
    for row in rows.drop_duplicates(["run", "round"]).itertuples():
        scored = metric.corpus_score(store.texts(row.run, row.round), None)
        assert scored.score == pytest.approx(row.test_bleu, abs=1e-9), row.run


def test_the_sentences_that_notebook_08_quotes_are_in_the_test_set() -> None:
    corpus = multi30k.load("auto")
    if corpus.origin == "sample":
        pytest.skip("needs Multi30k")
    text = (ROOT / "notebooks" / "text" / "08_analysis.py").read_text(encoding="utf-8")
    text = " ".join(text.replace("\n#", " ").split())
    short, long = re.findall(r"German: \*(.+?)\* \* By a person: \*(.+?)\*", text)
    assert short == (corpus.test.german[4], corpus.test.english[4])
    assert long in zip(corpus.test.german, corpus.test.english, strict=True)


@pytest.mark.slow
def test_figures_are_whole_and_the_committed_ones_to_the_byte(tmp_path, monkeypatch) -> None:
    save = style.save

    def save_whole(figure: Figure, stem: Path) -> list[Path]:
        box = figure.get_tightbbox()
        assert box.x0 >= 0 and box.x1 <= figure.get_figwidth(), f"{stem.name} has a cut title"
        return save(figure, stem)

    monkeypatch.setattr(style, "save", save_whole)
    paths = gallery.make_all(results.load(), tmp_path)
    assert len(paths) >= 12
    for path in paths:
        committed = ROOT / "figures" / path.name
        assert committed.read_bytes() == path.read_bytes(), f"{path.name}: run 'make figures'"


def test_an_empty_table_has_no_facts() -> None:
    with pytest.raises(ValueError, match="circtools run mnist"):
        facts.facts(results.load(data="sample"))


@pytest.mark.parametrize("command", ["data", "run", "translate", "figures", "poster", "report"])
def test_help(command: str, capsys) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main([command, "--help"])
    assert exit_.value.code == 0
    assert len(capsys.readouterr().out) > 150


def test_errors_are_one_line_on_stderr(capsys) -> None:
    assert cli.main(["data", "cifar"]) == 1
    assert "no data for task 'cifar'" in capsys.readouterr().err
    assert cli.main(["run", "mnist", "--seeds", "0", "--source", "sample"]) == 1
    assert "seeds must be 1 or more, got 0" in capsys.readouterr().err
    assert cli.main(["translate", "Ein Hund.", "--model", "nowhere.pt"]) == 1
    assert "no model nowhere.pt" in capsys.readouterr().err


def test_ctrl_c_is_one_line(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(execute, "run_all", interrupted)
    assert cli.main(["run", "mnist"]) == 130
    assert capsys.readouterr().err == "circtools: stopped; the same command goes on\n"


def test_the_home_is_expanded(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cli.main(["translate", "Ein Hund.", "--model=~/m.pt"]) == 1
    assert f"no model {tmp_path / 'm.pt'}" in capsys.readouterr().err
    options = cli._parser().parse_args(["run", "mnist", "--results=~/x"])
    assert options.results == tmp_path / "x"


def test_a_folder_that_cannot_be_written_is_named_before_the_training(tmp_path: Path, capsys
                                                                      ) -> None:
    folder = tmp_path / "file" / "results"
    (tmp_path / "file").touch()
    assert cli.main(["run", "mnist", "--source", "sample", f"--results={folder}"]) == 1
    assert f"nothing can be written in {folder}" in capsys.readouterr().err


def test_a_report_without_its_results_is_one_line(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = results.load()
    for missing, words in (
            (whole["task"] != "", "there are no results of mnist to report (preset base)"),
            (whole["task"] == "mnist", "there are no results of mnist to report (preset base)"),
            (whole["task"] == "multi30k", "there are no results of multi30k to report (preset sm"),
            (whole["preset"] == "small", "_small' is undefined, which a page quotes: it needs")):
        monkeypatch.setattr(results, "load", lambda some=whole[~missing]: some)
        assert cli.main(["report", "--check"]) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert words in line


def test_a_console_without_a_letter_shows_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of Windows, in western Europe."""
    console = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", newline="")
    monkeypatch.setattr(sys, "stdout", console)
    monkeypatch.setattr(multi30k, "load_model", lambda path: (None, None))
    monkeypatch.setattr(translation, "translate", lambda *_, **__: ["a café in Łódź"])
    assert cli.main(["translate", "Ein Café in Łódź."]) == 0
    console.flush()
    assert console.buffer.getvalue().decode("cp1252").split() == ["a", "café", "in", "?ód?"]


def run(*command: str, folder: Path) -> str:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_a_clone_on_windows_has_the_same_bytes(tmp_path: Path) -> None:
    """Git converts line ends there, where nothing forbids it."""
    names = (".ci/run", "Makefile", "figures/headline.svg", "figures/poster.pdf",
             "circtools/experiments/captions.tsv.gz")
    for name in (".gitattributes", *names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for command in (["init", "-q"], ["config", "core.autocrlf", "true"], ["add", "."],
                    ["rm", "-rqf", "--cached", "."], ["add", "."]):
        run("git", *command, folder=tmp_path)
    for name in names:
        (tmp_path / name).unlink()
    run("git", "checkout", "-q", "--", ".", folder=tmp_path)
    for name in names:
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes(), name


@pytest.mark.parametrize("name", ["course", "a copy of the course"])
def test_a_copied_or_moved_venv_is_made_anew(name: str, tmp_path: Path) -> None:
    """Its scripts name the folder that they were made in, and run the code there."""
    folder = tmp_path / name
    (folder / ".venv").mkdir(parents=True)
    for file in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / file, folder)
    record = folder / ".venv" / ".installed"
    for made_in, anew, installs in ((str(folder), False, False), (f"{tmp_path}/old", True, True),
                                    ("", False, True)):
        record.write_text(f"{made_in}\n", encoding="utf-8")
        planned = run("make", "-n", "--no-print-directory", "venv", folder=folder)
        assert ("pip install" in planned) == installs
        if installs:
            check = next(line for line in planned.splitlines() if line.startswith("[ -z"))
            tried = subprocess.run(["sh", "-c", check.split("|| {")[0]], check=False)
            assert (tried.returncode != 0) == anew
            assert planned.splitlines()[-1] == f'echo "{folder}" > .venv/.installed'


def test_data_lists_both_tasks_and_forgives_only_if_asked(
    capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["data", "--list"]) == 0
    listed = capsys.readouterr().out
    assert "MNIST/raw/" in listed and "multi30k/" in listed

    def unavailable(task: str) -> Path:
        raise data.DataUnavailable(f"{task} could not be downloaded")

    monkeypatch.setattr(data, "locate", unavailable)
    assert cli.main(["data", "mnist"]) == 1
    assert cli.main(["data", "--optional", "mnist"]) == 0
    assert "NOTICE: the built-in sample will serve" in capsys.readouterr().out


@pytest.mark.slow
def test_translate_with_the_network_that_comes_with_the_course(capsys) -> None:
    assert cli.main(["translate", "Ein Hund rennt über den Strand.", "--beam", "2"]) == 0
    words = capsys.readouterr().out.split()
    assert "dog" in words and "beach." in words


def test_no_path_of_a_machine() -> None:
    forbidden = re.compile(r"(?<![\w.])/(?:work|root|home)/")
    for pattern in ("*.md", "*.toml", "*.txt", "*.yml", "circtools/*.py", ".ci/run",
                    "Makefile"):
        for path in ROOT.glob(pattern):
            found = forbidden.search(path.read_text(encoding="utf-8"))
            assert not found, f"{path.name}: {found[0]}"
