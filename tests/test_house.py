"""The house keeps its own rules: import directions, style, types, and what the README promises.

Each check is a program that a developer runs alone (`make lint`), so its output is the message.
"""

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support import needs
from tools.main import VERBS

HOUSE = Path(__file__).resolve().parent.parent
README = HOUSE / "README.md"


def check(program: str, *arguments: str) -> None:
    """Run a program of the virtual environment over the whole checkout; its output is what fails."""
    command = [str(Path(sysconfig.get_path("scripts"), program)), *arguments]
    result = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=False)
    said = "\n".join(filter(None, (result.stdout.strip(), result.stderr.strip())))
    assert result.returncode == 0, f"{program} {' '.join(arguments)} found:\n{said}"


def test_imports_point_downwards() -> None:
    check("lint-imports", "--no-cache", "--no-logo")


def test_style() -> None:
    check("ruff", "check", ".")


@pytest.mark.timeout(600)
def test_types() -> None:
    check("mypy")


def files_of_the_product() -> list[Path]:
    """Every file under version control that is text."""
    needs.commands("git")
    command = ["git", "-c", f"safe.directory={HOUSE}", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=True).stdout
    return [HOUSE / name for name in listed.split("\0") if name and (HOUSE / name).is_file()]


def test_no_file_names_paths_of_one_machine() -> None:
    """Neither this checkout's anywhere, nor a home directory but in tests, where users are invented."""
    private = re.compile(rf"{re.escape(str(HOUSE))}\b")
    home = re.compile(r"(?<![\w}.])/(?:home|Users)/[a-z]\w*")
    found = []
    for path in files_of_the_product():
        name = path.relative_to(HOUSE)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if private.search(line) or (name.parts[0] != "tests" and home.search(line)):
                found.append(f"{name}:{number}: {line.strip()}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_two_commands_of_the_readme_exist(target: str) -> None:
    assert re.search(rf"^\s*make {target}\b", README.read_text(), re.MULTILINE), f"README does not say `make {target}`"
    needs.commands("make")
    subprocess.run(["make", "--dry-run", target], cwd=HOUSE, check=True, capture_output=True)


def test_every_verb_in_the_documents_is_one() -> None:
    documents = [README, *sorted((HOUSE / "docs").glob("*.md"))]
    text = "\n".join(path.read_text() for path in documents)
    used = set(re.findall(r"^(?:[$#] )?pyunion ([a-z]+)", text, re.MULTILINE))
    assert used
    assert used <= set(VERBS), f"not verbs of pyunion: {', '.join(sorted(used - set(VERBS)))}"


def test_links_in_the_documents_lead_to_files() -> None:
    documents = [README, HOUSE / "CHANGELOG.md", *sorted((HOUSE / "docs").glob("*.md"))]
    links = [(path, link) for path in documents for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())]
    broken = [f"{path.relative_to(HOUSE)}: {link}" for path, link in links if not (path.parent / link).exists()]
    assert not broken, "\n".join(broken)


def test_the_command_line_costs_no_import_of_trio() -> None:
    """trio takes 0.2 s to import: nothing on the way to a container's first instruction may do it."""
    code = "import sys, runtime.container.monitor, runtime.container.init; print('trio' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=HOUSE, capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


@pytest.mark.parametrize("package", ["unionfs", "runtime", "tools"])
def test_the_page_on_architecture_names_every_module(package: str) -> None:
    page = (HOUSE / "docs/architecture.md").read_text()
    modules = [path.relative_to(HOUSE) for path in files_of_the_product() if path.suffix == ".py"]
    ours = [path for path in modules if path.parts[0] == package and not path.stem.startswith("__")]
    assert ours
    missing = [str(path) for path in ours if not re.search(rf"\b{path.stem}\b", page)]
    assert not missing, f"docs/architecture.md doesn't say what these are for: {', '.join(missing)}"
