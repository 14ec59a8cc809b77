"""The zoo's table and claims, from rows as its worker writes them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from benchmarks.zoo import __main__ as program
from benchmarks.zoo.networks import NETWORKS
from benchmarks.zoo.table import beyond, claims, table
from elsa_edge.tensors import parse_inputs

WHOLE = {
    "network": "hf_gpt2",
    "reached": "all",
    "parameters": 591872,
    "nested_parameters": 0.66,
    "nested_multiply_adds": 0.86,
    "depthwise_multiply_adds": 0.125,
    "measured": {"commit": "abc1234", "quick": True, "static": False},
    "batch": "free",
    "graph_difference": [1e-7, 2e-7],
    "variants": {"ort-switch": [3e-7, 2e-7]},
    "speed": None,
    "sparsify_s": 1.2,
    "export_s": 18.1,
    "build_s": 9.0,
    "build_peak_mb": 900,
}
REFUSED = {"network": "timm_mobileone_s0", "reached": "export", "refusal": "It is not equal."}
CRASHED = {"network": "yolov8n", "reached": "process", "crash": "status -9"}


def test_the_table_has_a_line_for_each_network():
    """What arrives with its figures, what is refused with the reason."""
    text = table([WHOLE, REFUSED, CRASHED])
    assert (
        "| hf_gpt2 | 0.59 | 66.0%, 86.0% (12.5%) | free | 3e-07 | - | 1, 18, 9 | 900 | abc1234 quick |"
        in text
    )
    assert "refused at export | | | | older |" in text
    assert "refused at export" in text
    assert "failed at process" in text
    assert "- timm_mobileone_s0, at export: It is not equal." in text


def test_a_difference_is_held_to_what_the_contract_allows_at_its_level():
    """One and the same difference is right at a noisy level and wrong at another; without a word 1e-3 is the limit."""
    noisy = WHOLE | {"graph_difference": [2e-3, 1e-5], "allowed": [4e-3, 1e-4]}
    assert not beyond(noisy)
    assert beyond(noisy | {"graph_difference": [1e-5, 2e-3]})
    assert beyond(WHOLE | {"graph_difference": [2e-3, 1e-5]})
    assert "the contract allows 4e-03 here" in table([noisy])


def test_claims_count_what_they_say():
    """Tried, crashed, wrong, little nested, of these without a reason."""
    found = {claim["claim"]: claim["measured"] for claim in claims([WHOLE, REFUSED, CRASHED])}
    assert list(found.values()) == [3, 1, 0, 1, 1]


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_inputs_of_every_network_are_readable(name):
    """As `--input-shape` would take them."""
    assert parse_inputs(NETWORKS[name].inputs)


def test_the_verbs_answer_as_json_too(tmp_path, monkeypatch):
    """`install` and `table`, as `run` does."""
    page = tmp_path / "zoo.md"
    page.write_text("# Zoo\n<!-- table -->\nold")
    monkeypatch.setattr(program, "PAGE", page)
    monkeypatch.setattr(program, "REPORT", tmp_path / "none.json")
    monkeypatch.setattr(program, "install", lambda: tmp_path)
    told = {
        verb: json.loads(CliRunner().invoke(program.main, [verb, "--json"]).stdout)
        for verb in ("install", "table")
    }
    assert told == {
        "install": {"environment": str(tmp_path)},
        "table": {"page": str(page), "networks": 0},
    }
    assert "old" not in page.read_text()
