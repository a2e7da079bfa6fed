"""Files decoded ahead of their turn: in their order, whatever is wrong with some, and not too many at a time."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hemony import reading
from hemony.labelling import Content, content_of
from hemony.preprocessing import AudioView
from hemony.reading import Item, Long, ReadAhead, Recordings

RATE_HZ = 4_000


@pytest.fixture
def sources(tmp_path: Path) -> list[tuple[Path, str]]:
    """Forty recordings, of which one is none, one is missing, one is long, and one is already known to be wrong."""
    draw = np.random.default_rng(0)
    paths = [tmp_path / f"{number:02d}.wav" for number in range(40)]
    for number, path in enumerate(paths):
        soundfile.write(path, draw.uniform(-0.5, 0.5, 100 * (number + 1)), RATE_HZ)
    paths[3].write_text("no sound")
    paths[17].unlink()
    soundfile.write(paths[21], np.zeros(11 * RATE_HZ), RATE_HZ)
    return [(path, "known to be wrong" if number == 30 else "") for number, path in enumerate(paths)]


def described(items: Iterable[Item]) -> list[tuple[Path, object, float | None]]:
    """(path, samples or what is said in their place, duration in seconds)."""
    view = AudioView(RATE_HZ // 2, RATE_HZ)
    judged = ((path, content_of(decoded, view)) for path, decoded in items)
    return [
        (path, content.pieces.tolist(), content.duration_s)
        if isinstance(content, Content)
        else (path, "long" if isinstance(content, Long) else content, None)
        for path, content in judged
    ]


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_files_come_in_their_order(sources: list[tuple[Path, str]], batch_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "FILES_SINGLY", 10)
    with ReadAhead(sources, Recordings(RATE_HZ // 2, 10.0), 2 * batch_size) as files:
        read = described(files)
    assert [path for path, _, _ in read] == [path for path, _ in sources]
    found = {path.stem: (content, duration_s) for path, content, duration_s in read}
    assert "not an audio file" in str(found["03"][0])
    assert "no such file" in str(found["17"][0])
    assert found["21"] == ("long", None)
    assert found["30"] == ("known to be wrong", None)
    assert found["39"][1] == 1.0
    assert isinstance(found["39"][0], list)
    assert len(found["39"][0][0]) == RATE_HZ


def test_little_is_decoded_before_it_is_asked_for(sources: list[tuple[Path, str]]) -> None:
    taken = []

    def named() -> Iterator[tuple[Path, str]]:
        for source in sources * 20:
            taken.append(source)
            yield source

    for batch_size in (1, 25):
        taken.clear()
        with ReadAhead(named(), Recordings(RATE_HZ, 10.0), 2 * batch_size) as files:
            reader = iter(files)
            for asked in range(1, 200):
                next(reader)
                assert len(taken) <= asked + 2 * batch_size + reading.FILES_A_TASK
