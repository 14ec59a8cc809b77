"""Errors that a person can act on."""

from __future__ import annotations

from elsa_edge.errors import ElsaError, UnknownNameError, UsageError, first_line


def test_all_parts_make_sentences():
    """Problem, expected, found, allowed, fix: in this order."""
    error = ElsaError("It broke", expected=1, found=2, allowed=["a", "b"], fix="Mend it")
    assert str(error) == "It broke: expected 1, found 2. Allowed: a, b. Mend it."


def test_a_problem_alone_is_a_sentence():
    """Nothing else is required."""
    assert str(ElsaError("It broke")) == "It broke."


def test_exit_codes():
    """1: the work failed; 2: wrong usage."""
    assert ElsaError("").exit_code == 1
    assert UsageError("").exit_code == 2


def test_an_unknown_name_suggests_the_nearest():
    """A misspelt name is answered with the one that was meant."""
    text = str(UnknownNameError("device", "rasberry-pi-5", ["raspberry-pi-5", "android-arm64"]))
    assert "no device named 'rasberry-pi-5'" in text
    assert "Nearest: 'raspberry-pi-5'" in text
    assert "Allowed: android-arm64, raspberry-pi-5" in text


def test_the_first_line_of_somebody_else_s_error():
    """One line, and never an empty one: an error that says nothing is named by its class."""
    assert first_line(ValueError("\n  bad shape \nmore")) == "bad shape"
    assert first_line(AssertionError()) == "AssertionError"
    long = first_line(OSError("opening /a/path" + "/x" * 300 + " failed: no such operator"))
    assert len(long) == 300
    assert long.startswith("opening /a/path")
    assert long.endswith("failed: no such operator")
