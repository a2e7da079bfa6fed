"""Nothing half-written stays, and a failed write never costs what was there."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hemony import durable


def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    durable.write_json(path, {"kept": 1})
    with pytest.raises(ValueError, match="JSON"):
        durable.write_json(path, {"bad": float("nan")})
    with pytest.raises(ZeroDivisionError), durable.replacing(path) as file:
        file.write(bytes(1 // len(os.listdir(tmp_path)[2:])))
    assert durable.read_json(path) == {"kept": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_full_disk_keeps_the_previous_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    durable.save_state(tmp_path, 1, {"weights": torch.arange(5)})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        durable.save_state(tmp_path, 2, {"weights": torch.zeros(5)})
    monkeypatch.undo()
    state = durable.load_state(tmp_path)
    assert state is not None
    assert torch.equal(state["weights"], torch.arange(5))
    assert len(os.listdir(tmp_path)) == 1


def test_two_states_are_kept_and_a_damaged_one_is_passed_over(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        durable.save_state(tmp_path, step, {"step": step})
    names = sorted(path.name for path in durable.states(tmp_path))
    assert [int(name.split("-")[1]) for name in names] == [2, 3]
    newest = tmp_path / names[-1]
    newest.write_bytes(newest.read_bytes()[:-7] + b"garbage")
    assert durable.load_state(tmp_path) == {"step": 2}
    (tmp_path / names[0]).write_bytes(b"")
    assert durable.load_state(tmp_path) is None


def test_a_state_that_would_run_code_is_not_read(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("false",)

    durable.save_state(tmp_path, 1, {"evil": Evil()})
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        durable.load_state(tmp_path)


def test_killed_while_saving_a_whole_state_is_always_there(tmp_path: Path) -> None:
    script = (
        "import sys, torch; from pathlib import Path; from hemony import durable\n"
        "for step in range(10**6):\n"
        "    durable.save_state(Path(sys.argv[1]), step, {'step': step, 'weights': torch.full((100_000,), step)})\n"
        "    print(step, flush=True)\n"
    )
    for delay in (3, 7, 12, 20):
        process = subprocess.Popen([sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        last = 0
        for _ in range(delay):
            last = int(process.stdout.readline())
        process.kill()
        process.communicate()
        state = durable.load_state(tmp_path)
        assert state is not None
        assert state["step"] >= last
        assert bool((state["weights"] == state["step"]).all())
        for path in tmp_path.iterdir():
            path.unlink()


def test_a_link_stays_one_and_what_it_names_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    durable.write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link", "real"]


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011
        durable.write_text(tmp_path / "missing" / "file", "words")
    assert caught.value.filename == str(tmp_path / "missing" / "file")
