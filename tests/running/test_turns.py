"""A session is closed after the run of another thread, and by whoever holds the turn at once."""

from __future__ import annotations

import threading

import pytest

from elsa_edge.errors import UsageError
from elsa_edge.running.turns import Turn


def test_closing_waits_for_the_run_of_another_thread() -> None:
    """The pinned files are let go only when nobody reads them."""
    turn, order, running, go_on = Turn(), [], threading.Event(), threading.Event()

    def run() -> None:
        with turn:
            running.set()
            go_on.wait(10)
            order.append("ran")

    def close() -> None:
        with turn.last():
            order.append("closed")

    threads = [threading.Thread(target=run), threading.Thread(target=close)]
    threads[0].start()
    assert running.wait(10)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert order == ["ran", "closed"]


def test_who_holds_the_turn_does_not_wait_for_himself() -> None:
    """A listener may close the session that told it of a run; afterwards everybody may come again."""
    turn = Turn()
    with turn, turn.last():
        pass
    with turn:
        pass


def test_nobody_runs_while_it_is_being_closed() -> None:
    """It is told in words."""
    turn, said = Turn(), []

    def run() -> None:
        try:
            with turn:
                pass
        except UsageError as error:
            said.append(str(error))

    with turn.last():
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(10)
    assert "Another thread" in said[0]
    with pytest.raises(UsageError), turn, turn:
        pass


def test_who_runs_from_inside_a_run_is_told_so() -> None:
    """It is no other thread that is in the way."""
    turn = Turn()
    with turn, pytest.raises(UsageError, match="in this very thread"), turn:
        pass
