"""The examples for users of the API work as they are printed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from understudy.testing.serving import Served

ROOT = Path(__file__).parents[2]
PRINTED = "http://127.0.0.1:8288"
KEY = "a-key-for-the-examples-of-the-documentation-012"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server for the readers."""
    home = tmp_path_factory.mktemp("docs") / "home"
    with Served(home, admin_key=KEY) as server:
        yield server


def examples(page: str) -> list[str]:
    """The Python blocks of a page that use the client."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [block for block in blocks if "Client(" in block]


@pytest.fixture
def reader(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """A folder with small photos under the printed names, and what the printed values mean."""
    for path in (ROOT / "examples" / "photos").glob("*.jpg"):
        small = tmp_path / "examples" / "photos" / path.name
        small.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.resize((64, 48)).save(small)
    monkeypatch.chdir(tmp_path)
    yield {PRINTED: served.url, "us_…": KEY}
    shutil.rmtree(tmp_path / "examples")


def played(code: str, values: dict[str, str]) -> None:
    """Run an example with these values in the place of what is printed."""
    for printed, value in values.items():
        code = code.replace(printed, value)
    exec(compile(code, "example", "exec"), {})


def test_the_quickstart_makes_a_film(reader: dict[str, str], tmp_path: Path) -> None:
    """The first lines that anybody types against a server."""
    (example,) = examples("quickstart.md")
    played(example.replace(f'"{PRINTED}"', f'"{PRINTED}", "us_…"'), reader)
    assert (tmp_path / "film.mp4").read_bytes()[4:8] == b"ftyp"


def test_the_howto_goes_through(
    reader: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each example of the page, in order; the second one works with files of the first."""
    first, second, third = examples("howto/use-the-api.md")
    played(first, reader)
    assert (tmp_path / "film.mp4").read_bytes()[4:8] == b"ftyp"
    upload = 'ids = [client.upload(p).id for p in sorted(Path("examples/photos").glob("*"))[:2]]\n'
    second = second.replace('["art_…", "art_…"]', "ids").replace(
        "    run = client.submit", f"    {upload}    run = client.submit"
    )
    played(f"from pathlib import Path\n{second}", reader)
    assert "succeeded" in capsys.readouterr().out
    played(third, reader)
    assert "/input/images" in capsys.readouterr().out
