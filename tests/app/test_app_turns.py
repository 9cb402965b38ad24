"""Who runs next: first come, first served, one at a time, some waiting, nobody for ever."""

import threading
import time

import pytest

from promptattn.app.session import Session
from promptattn.app.turns import Stopped, Turns
from promptattn.errors import ConfigError


class Person:
    """Somebody who waits for a turn in a thread, has it until released, and keeps what was told meanwhile."""

    def __init__(self, turns, order):
        self.stopped, self.release, self.inside = threading.Event(), threading.Event(), threading.Event()
        self.told, self.raised = [], None
        self._thread = threading.Thread(target=self._run, args=(turns, order))
        self._thread.start()

    def _run(self, turns, order):
        try:
            with turns.taken(self.stopped, self.told.append):
                order.append(self)
                self.inside.set()
                assert self.release.wait(20)
        except Exception as error:
            self.raised = error

    def end(self):
        self.release.set()
        self._thread.join(20)


def until(holds):
    began = time.monotonic()
    while not holds() and time.monotonic() - began < 20:
        time.sleep(0.01)
    assert holds()


def test_one_at_a_time_in_the_order_of_their_coming_and_each_is_told_its_place():
    turns, order = Turns(3), []
    people = [Person(turns, order)]
    assert people[0].inside.wait(20)
    for before in (1, 2):
        people.append(Person(turns, order))
        until(lambda before=before: people[-1].told == [before])
    assert order == people[:1]
    people[0].end()
    until(lambda: len(order) == 2)
    assert not people[2].inside.is_set()
    until(lambda: people[2].told == [2, 1])
    people[1].end()
    assert people[2].inside.wait(20)
    people[2].end()
    assert order == people
    assert (people[0].told, people[1].told, people[2].told) == ([], [1], [2, 1])


def test_no_more_wait_than_allowed_and_the_refusal_says_what_to_do():
    turns, order = Turns(1), []
    first = Person(turns, order)
    assert first.inside.wait(20)
    second = Person(turns, order)
    until(lambda: second.told == [1])
    refused = pytest.raises(ConfigError, match=r"^1 run is waiting already, .* try again .*--queue 2$")
    with refused, turns.taken(threading.Event(), print):
        pass
    first.end()
    assert second.inside.wait(20)
    second.end()
    with turns.taken(threading.Event(), print):
        pass


def test_who_is_stopped_while_waiting_makes_room_at_once():
    turns, order = Turns(1), []
    first = Person(turns, order)
    assert first.inside.wait(20)
    second = Person(turns, order)
    until(lambda: second.told == [1])
    second.stopped.set()
    until(lambda: isinstance(second.raised, Stopped))
    third = Person(turns, order)
    until(lambda: third.told == [1])
    first.end()
    assert third.inside.wait(20)
    third.end()
    second.end()


def test_a_run_that_fails_gives_its_turn_away():
    turns = Turns(1)
    with pytest.raises(ZeroDivisionError), turns.taken(threading.Event(), print):
        raise ZeroDivisionError
    with turns.taken(threading.Event(), print):
        pass


def test_a_page_has_one_run_at_a_time_and_stopping_it_stops_no_later_one(tmp_path):
    session = Session(tmp_path)
    assert not session.stop()
    with session.running() as stopped:
        with pytest.raises(ConfigError, match=r"Another run of yours is not over yet"), session.running():
            pass
        assert session.stop()
        assert stopped.is_set()
    with session.running() as stopped:
        assert not stopped.is_set()
        session.close()
        assert stopped.is_set()


def test_the_files_of_a_page_go_with_it(tmp_path):
    session, other = Session(tmp_path), Session(tmp_path)
    other.fresh()
    folders = []
    for _ in range(6):
        folders.append(session.fresh())
        folders[-1].mkdir()
    assert [each.exists() for each in folders] == [False, False, True, True, True, True]
    session.close()
    assert list(tmp_path.iterdir()) == [other.folder]
