"""Steps that leave files: skipped, gone on with, made again, refused."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from emollama_ros.errors import ConfigError, InputError
from training.perception.steps import Ledger, State, Step, carry_out, table


class Kitchen:
    """Three steps: ``mill`` and ``yeast``, and ``dough`` of both, in two parts; what they do is counted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ledger = folder / "work", Ledger(folder / "work")
        self.done: list[str] = []
        self.grain, self.breaks_after, self.is_there = "rye", 99, True

    def file(self, name: str) -> Path:
        return self.folder / name

    def write(self, name: str, text: str) -> None:
        self.done.append(name)
        self.file(name).write_text(text)

    def knead(self) -> None:
        for part in (1, 2):
            path = self.file(f"part-{part}")
            if not path.exists():
                if len(self.done) >= self.breaks_after:
                    raise KeyboardInterrupt
                self.write(path.name, self.file("flour").read_text())
        self.write("dough", self.file("part-1").read_text() + self.file("yeast").read_text())

    def check(self) -> None:
        if not self.is_there:
            raise InputError("no yeast in the house")

    def steps(self, fineness: int = 1) -> list[Step]:
        return [
            Step(
                "mill", "grind", lambda: self.write("flour", f"{self.grain}{fineness}"),
                (self.file("flour"),), settings={"fineness": fineness, "sieves": (1, 2)},
            ),
            Step("yeast", "grow", lambda: self.write("yeast", "y"), (self.file("yeast"),), check=self.check),
            Step(
                "dough", "knead", self.knead, (self.file("dough"),), ("mill", "yeast"), parts=("part-*",)
            ),
        ]  # fmt: skip

    def bake(self, fineness: int = 1, again: bool = False) -> list[str]:
        """What is made now."""
        self.done = []
        carry_out(self.steps(fineness), self.ledger, again, tell=lambda line: None)
        return self.done

    def states(self, fineness: int = 1) -> list[State]:
        return [standing.state for standing in self.ledger.plan(self.steps(fineness))]


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    made = Kitchen(tmp_path)
    made.folder.mkdir()
    return made


def test_what_is_made_is_skipped(kitchen: Kitchen) -> None:
    assert kitchen.states() == [State.TO_DO] * 3
    assert kitchen.bake() == ["flour", "yeast", "part-1", "part-2", "dough"]
    assert kitchen.states() == [State.MADE] * 3
    assert kitchen.bake() == []


def test_planning_writes_nothing(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.states()
    Ledger(tmp_path / "absent").plan(kitchen.steps())
    assert list(tmp_path.rglob("*")) == [kitchen.folder]


def test_a_step_that_was_killed_goes_on_with_its_parts(kitchen: Kitchen) -> None:
    kitchen.breaks_after = 3
    with pytest.raises(KeyboardInterrupt):
        kitchen.bake()
    assert kitchen.done == ["flour", "yeast", "part-1"]
    assert kitchen.states() == [State.MADE, State.MADE, State.BEGUN]
    kitchen.breaks_after = 99
    assert kitchen.bake() == ["part-2", "dough"]
    last = kitchen.ledger.plan(kitchen.steps())[-1]
    assert last.state is State.MADE and last.is_resumed
    assert "> 0.00" in table([last], {})


def test_parts_of_other_inputs_are_not_gone_on_with(kitchen: Kitchen) -> None:
    kitchen.breaks_after = 3
    with pytest.raises(KeyboardInterrupt):
        kitchen.bake()
    kitchen.file("flour").unlink()
    kitchen.grain, kitchen.breaks_after = "wheat", 99
    assert kitchen.bake() == ["flour", "part-1", "part-2", "dough"]
    assert kitchen.file("dough").read_text() == "wheat1y"


def test_what_follows_is_made_again_where_an_earlier_step_gives_something_else(kitchen: Kitchen) -> None:
    kitchen.bake()
    kitchen.file("flour").unlink()
    assert kitchen.states() == [State.TO_DO, State.MADE, State.WAITS]
    assert kitchen.bake() == ["flour"]  # the same flour: nothing follows
    kitchen.file("flour").unlink()
    kitchen.grain = "wheat"
    assert kitchen.bake() == ["flour", "part-1", "part-2", "dough"]


def test_a_deleted_file_has_its_step_made_from_the_beginning(kitchen: Kitchen) -> None:
    kitchen.bake()
    kitchen.file("dough").unlink()
    assert kitchen.bake() == ["part-1", "part-2", "dough"]


def test_other_settings_are_refused_unless_asked_for(kitchen: Kitchen) -> None:
    kitchen.bake()
    with pytest.raises(ConfigError, match="step mill .*other settings .fineness 1, now 2.*--again"):
        kitchen.bake(2)
    assert kitchen.done == [] and kitchen.states() == [State.MADE] * 3
    assert kitchen.bake(2, again=True) == ["flour", "part-1", "part-2", "dough"]
    assert kitchen.states(2) == [State.MADE] * 3


def test_a_damaged_file_is_named_before_anything_is_made(kitchen: Kitchen) -> None:
    kitchen.bake()
    kitchen.file("yeast").unlink()
    kitchen.file("dough").write_text("mould")
    with pytest.raises(InputError, match="step dough: .*dough is not what the step left; delete that file"):
        kitchen.bake()
    assert kitchen.done == []
    kitchen.file("dough").unlink()
    assert kitchen.bake() == ["yeast", "part-1", "part-2", "dough"]


def test_a_file_of_the_same_content_is_not_damaged(kitchen: Kitchen) -> None:
    kitchen.bake()
    os.utime(kitchen.file("flour"), (1, 1))
    assert kitchen.bake() == []


def test_files_of_others_are_not_taken_for_ours(kitchen: Kitchen) -> None:
    kitchen.file("flour").write_text("bought")
    with pytest.raises(InputError, match="flour is there, but was not made by a step here"):
        kitchen.bake()
    assert kitchen.file("flour").read_text() == "bought"


def test_a_step_that_knows_by_itself_takes_over_what_is_there(kitchen: Kitchen) -> None:
    first = replace(kitchen.steps()[0], takes_over=True)
    kitchen.file("flour").write_text("bought")
    carry_out([first], kitchen.ledger, tell=lambda line: None)
    assert kitchen.ledger.standing(first).is_resumed


def test_what_is_missing_is_found_out_before_anything_is_made(kitchen: Kitchen) -> None:
    kitchen.is_there = False
    with pytest.raises(InputError, match="no yeast"):
        kitchen.bake()
    assert kitchen.done == []
    kitchen.is_there = True
    kitchen.bake()
    kitchen.is_there = False
    assert kitchen.bake() == []


def test_a_step_that_leaves_nothing_is_an_error(kitchen: Kitchen) -> None:
    empty = replace(kitchen.steps()[0], make=lambda: None)
    with pytest.raises(InputError, match="step mill ended without .*flour"):
        carry_out([empty], kitchen.ledger, tell=lambda line: None)
    assert kitchen.ledger.standing(empty).state is State.BEGUN


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"settings": {}'])
def test_a_damaged_record_is_named(kitchen: Kitchen, text: str) -> None:
    kitchen.bake()
    (kitchen.folder / "steps" / "mill.json").write_text(text)
    with pytest.raises(InputError, match=r"mill\.json: no record of a step"):
        kitchen.bake()


def test_two_runs_do_not_work_in_one_folder(kitchen: Kitchen) -> None:
    with kitchen.ledger.alone(), pytest.raises(ConfigError, match="is at work here"):
        kitchen.bake()
    assert kitchen.bake()


def test_an_export_that_outlives_its_run_keeps_others_out(kitchen: Kitchen) -> None:
    """As ``exports.export`` starts it: descriptors are passed on, and with them the lock."""
    with kitchen.ledger.alone():
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False)
    with child, pytest.raises(ConfigError, match="an export that it started"):
        kitchen.bake()
    assert child.returncode == 0 and kitchen.bake()


def test_hashes_are_those_of_the_files(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.bake()
    record = json.loads((kitchen.folder / "steps" / "mill.json").read_text())
    assert kitchen.ledger.sha256(kitchen.file("flour")) == record["files"]["flour"]["sha256"]
    with pytest.raises(InputError, match="no step of"):
        kitchen.ledger.sha256(tmp_path / "else")


def test_the_table_says_hours_measured_before_for_what_is_not_made(kitchen: Kitchen) -> None:
    lines = table(kitchen.ledger.plan(kitchen.steps()), {"mill": 1.5}).splitlines()
    assert lines[0].split() == ["step", "state", "hours", "what"]
    assert "~ 1.50" in lines[1] and "?" in lines[2] and len(lines) == 4
