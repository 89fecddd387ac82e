"""The rules of the house that neither ruff, mypy nor the import contracts can express."""

from __future__ import annotations

import ast
import fnmatch
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from understudy import errors

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "understudy"
SOURCES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted((ROOT / "bench").glob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

FILE_LINES = 400
FUNCTION_LINES = 50
PARAMETERS = 6
ROOT_ENTRIES = 16

Function = ast.FunctionDef | ast.AsyncFunctionDef


def place(path: Path, node: ast.AST | None = None) -> str:
    """A file, or a line of it, as an editor opens it."""
    line = f":{node.lineno}" if isinstance(node, ast.stmt | ast.expr) else ""
    return f"{path.relative_to(ROOT)}{line}"


def parsed(path: Path) -> ast.Module:
    """A source file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(path: Path) -> Iterator[Function]:
    """Every function and method of a file."""
    return (node for node in ast.walk(parsed(path)) if isinstance(node, Function))


def code_lines(function: Function, source: list[str]) -> int:
    """The lines of a function that are neither docstring, comment nor blank."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    if not body:
        return 0
    start = function.body[0].lineno - 1 if body is function.body else body[0].lineno - 1
    lines = source[start : function.end_lineno]
    signature = function.body[0].lineno - function.lineno
    return signature + sum(bool(line.strip()) and line.strip()[0] != "#" for line in lines)


@pytest.mark.parametrize("path", [*SOURCES, *SCRIPTS, *TESTS], ids=place)
def test_files_stay_short(path: Path) -> None:
    """A file that grows past the budget holds two things and is to be split."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE_LINES


def test_functions_stay_short() -> None:
    """A function fits on a screen; a migration is a list of tables and may be longer."""
    long = []
    for path in [path for path in [*SOURCES, *SCRIPTS] if "versions" not in path.parts]:
        source = path.read_text(encoding="utf-8").splitlines()
        sized = ((node, code_lines(node, source)) for node in functions(path))
        long += [f"{place(path, f)} {f.name}: {n}" for f, n in sized if n > FUNCTION_LINES]
    assert not long


def test_functions_take_few_parameters() -> None:
    """Past six parameters there is a value waiting to be named; `self` and `ctx` do not count."""
    wide = []
    for path in SOURCES:
        for node in functions(path):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            counted = [a for a in given if a.arg not in {"self", "cls", "ctx"}]
            if len(counted) > PARAMETERS:
                wide.append(f"{place(path, node)} {node.name}: {len(counted)}")
    assert not wide


def test_names_mean_something() -> None:
    """No room for leftovers: such names only say that nobody knew where a thing belongs."""
    meaningless = {"base", "common", "core", "helpers", "manager", "misc", "util", "utils"}
    assert not [place(path) for path in SOURCES if path.stem in meaningless]
    assert not [place(p) for p in PACKAGE.rglob("*") if p.is_dir() and p.name in meaningless]


def test_every_folder_is_a_package() -> None:
    """The import contracts cannot see a folder without an `__init__.py`."""
    folders = {path.parent for path in SOURCES}
    assert not [place(folder) for folder in folders if not (folder / "__init__.py").exists()]


def reads_environment(path: Path) -> list[str]:
    """The places in a file that look at the process environment."""
    names = {"environ", "environb", "getenv", "getenvb"}
    return [
        place(path, node)
        for node in ast.walk(parsed(path))
        if (isinstance(node, ast.Attribute) and node.attr in names)
        or (isinstance(node, ast.ImportFrom) and names & {alias.name for alias in node.names})
    ]


def test_only_settings_reads_the_environment() -> None:
    """What a process is told is in one place, typed and listed in the reference."""
    found = [at for path in SOURCES if path.name != "settings.py" for at in reads_environment(path)]
    assert not found


def test_nothing_of_the_workshop_is_in_the_house() -> None:
    """No path of a developer's machine and no note to self is shipped."""
    marks = re.compile(r"/(?:home|Users)/\w|\b(TODO|FIXME|XXX)\b")
    kept = [path for path in [*SOURCES, *SCRIPTS, *TESTS] if path != Path(__file__)]
    kept += [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    assert not [place(path) for path in kept if marks.search(path.read_text(encoding="utf-8"))]


def test_importing_does_nothing() -> None:
    """Importing every module opens no socket and no database, starts nothing and writes nothing."""
    names = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for path in SOURCES
        if path.stem not in {"__main__", "env"} and "versions" not in path.parts
    ]
    program = f"""
import importlib, sys
def watch(event, arguments):
    started = event in {{"sqlite3.connect", "subprocess.Popen", "os.fork", "os.mkdir"}}
    written = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if started or written or event.startswith("socket."):
        raise SystemExit(f"importing {{name}} did {{event}} {{arguments}}")
import socket, subprocess, sqlite3
sys.dont_write_bytecode = True
sys.addaudithook(watch)
for name in {names!r}:
    importlib.import_module(name.removesuffix(".__init__"))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_public_names_are_listed_in_order() -> None:
    """Where a module has `__all__`, it is sorted, without doubles, and every name is there."""
    for path in SOURCES:
        for node in parsed(path).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                names = ast.literal_eval(node.value)
                assert list(names) == sorted(set(names)), place(path, node)


def test_the_front_door_opens_every_name() -> None:
    """`understudy.__all__` is what an operation's author needs, and each name can be had."""
    import understudy

    assert understudy.__all__
    for name in understudy.__all__:
        assert getattr(understudy, name) is not None


@pytest.mark.parametrize("error", list(errors.every_error()), ids=lambda error: error.__name__)
def test_every_error_carries_its_facts(error: type[errors.Error]) -> None:
    """An error has a sentence, a code of its own, an HTTP status, and a place in the drawn tree."""
    assert error.__doc__
    assert error.__doc__.strip().split("\n")[0].rstrip(".")
    assert error is errors.Error or "code" in vars(error)
    assert [other.code for other in errors.every_error()].count(error.code) == 1
    assert 400 <= error.status <= 599
    tree = re.findall(r"^ *[│├└─ ]*(\w+):?(?:  |$)", (errors.__doc__ or ""), flags=re.MULTILINE)
    assert error.__name__ in tree


def test_every_test_says_what_it_proves() -> None:
    """A test's first line is the promise that breaks when it fails."""
    silent = [
        place(path, node)
        for path in TESTS
        for node in functions(path)
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert not silent


def test_every_operation_and_provider_has_its_test() -> None:
    """What a customer can buy, and whom we buy from, is tested in a file of the same name."""
    for room in ("operations", "providers"):
        files = [path for path in (PACKAGE / room).glob("*.py") if path.stem != "__init__"]
        assert files
        missing = [p for p in files if not (ROOT / "tests" / room / f"test_{p.name}").exists()]
        assert not missing


def test_the_root_stays_small() -> None:
    """The first page of the repository is read by everyone: at most sixteen entries."""
    ignored = [
        line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    ]
    entries = [
        path.name
        for path in ROOT.iterdir()
        if path.name != ".git" and not any(fnmatch.fnmatch(path.name, mark) for mark in ignored)
    ]
    assert len(entries) <= ROOT_ENTRIES, sorted(entries)


def requirement_lines(name: str) -> list[str]:
    """A requirements file without comments and blank lines."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("name", ["run.txt", "dev.txt", "bench.txt"])
def test_requirements_are_pinned_and_name_no_index(name: str) -> None:
    """Everyone installs the same versions, from whichever index their machine is set up for."""
    for line in requirement_lines(name):
        assert re.fullmatch(r"-r \w+\.txt|[a-z0-9-]+==[\w.]+", line), line


def test_requirements_hold_what_the_project_asks_for() -> None:
    """A dependency of pyproject.toml that is not pinned would be missing after `make demo`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    names = {re.split(r"[<>=\[;]", line)[0].replace("_", "-").lower() for line in asked}
    assert names <= {line.split("==")[0] for line in requirement_lines("run.txt")}
