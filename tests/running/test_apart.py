"""Questions are answered by a process apart, and what ends it is an answer too."""

from __future__ import annotations

import os
import signal

import pytest

from elsa_edge.running.apart import Apart, answer_from_fork


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_what_ends_the_process_that_answers_is_told():
    """Only the fork dies; its signal or exit status comes back."""
    assert answer_from_fork(lambda _: os.kill(os.getpid(), signal.SIGKILL), {}) == {
        "ended": "ended with signal 9"
    }
    assert answer_from_fork(lambda _: os._exit(3), {}) == {"ended": "ended with 3"}
    assert answer_from_fork(lambda question: {"types": [question["package"]]}, {"package": "float32"}) == {
        "types": ["float32"]
    }


def test_a_helper_that_is_gone_is_started_again():
    """A module that ends at once answers nothing, each time, and nothing hangs."""
    helper = Apart("keyword")
    for _ in range(2):
        assert helper.ask({"path": "x"})["ended"].startswith("ended with")
    helper.stop()
