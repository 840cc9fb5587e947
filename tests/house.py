"""Print the sizes that the house is built to; exit with 1 where one is above its target."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp

Size = tuple[str, int, int | None, str]  # name, value, target, where it is


def lines(paths: Iterator[Path]) -> int:
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def functions(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of each function, its decorators and its docstring included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min(part.lineno for part in (node, *node.decorator_list))
            yield (node.end_lineno or first) - first + 1, f"{path.stem}.{node.name}"


def longest_chain(package: Path) -> tuple[str, ...]:
    """Return modules of which each imports the next: as many as there are floors."""
    sys.path.insert(0, str(package.parent))
    graph = grimp.build_graph(package.name, cache_dir=None)

    @cache
    def below(module: str) -> tuple[str, ...]:
        chains = map(below, sorted(graph.find_modules_directly_imported_by(module)))
        return (module, *max(chains, key=len, default=()))

    return max(map(below, sorted(graph.modules)), key=len)


def sizes(package: Path) -> Iterator[Size]:
    """Yield what is measured of a package."""
    files, command_line = sorted(package.rglob("*.py")), package / "__main__.py"
    yield "core", lines(p for p in package.glob("*.py") if p != command_line), 1200, ""
    yield "command line", lines(iter([command_line])), None, ""
    for room in sorted(path.parent for path in package.glob("*/__init__.py")):
        yield room.name, lines(room.rglob("*.py")), None, ""
    yield "total", lines(iter(files)), 5500, "without templates"
    yield "templates", lines(p for p in package.rglob("templates/*") if p.is_file()), None, ""
    chain = longest_chain(package)
    yield "floors", len(chain), 8, " > ".join(name.split(".")[-1] for name in chain)
    yield "longest file", *max((lines(iter([p])), 400, p.stem) for p in files)
    length, name = max(found for path in files for found in functions(path))
    yield "longest function", length, 60, name


if __name__ == "__main__":
    found = list(sizes(Path(__file__).resolve().parents[1] / "circtools"))
    for name, value, target, where in found:
        print(f"{name:17}{value:6}{f'  at most {target}' if target else '':16}{where}".rstrip())
    sys.exit(any(target is not None and value > target for _, value, target, _ in found))
