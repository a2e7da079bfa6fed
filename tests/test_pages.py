"""Pages in a browser: they open from the disk, ask for nothing and complain of nothing."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import hemony

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
Bundle = tuple[Path, Path, dict[str, object]]


@pytest.mark.skipif(BROWSER is None, reason="neither Chromium nor Chrome is installed")
def test_a_browser_finds_nothing_wrong_with_the_pages(tones_bundle: Bundle, tmp_path: Path) -> None:
    bundle, _, _ = tones_bundle
    asked = hemony("inspect", bundle, "--out", tmp_path)
    assert asked.returncode == 0, asked.stderr
    assert re.findall(r"(?:src|href)=[\"'](?!data:|#)[^\"']+", (tmp_path / "inspect.html").read_text()) == []
    assert complaints(tmp_path / "inspect.html", tmp_path / "profile") == []
    assert complaints(bundle / "run" / "report.html", tmp_path / "profile") == []
    broken = tmp_path / "broken.html"
    broken.write_text("<!doctype html><title>x</title><script>nothing.there()</script><img src='missing.png'>")
    assert any("nothing is not defined" in line for line in complaints(broken, tmp_path / "profile"))


def complaints(page: Path, profile: Path) -> list[str]:
    """What is said on the console."""
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={profile}",
        "--enable-logging=stderr",
        "--dump-dom",
    ]
    finished = subprocess.run([*map(str, command), page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    assert "</html>" in finished.stdout
    return re.findall(r"CONSOLE.*", finished.stderr)
