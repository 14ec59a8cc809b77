"""`inspect --diff` names what differs, layer by layer; results can be piped."""

from __future__ import annotations

import json

from click.testing import CliRunner
from support.bundles import bundle, model

from elsa_edge.cli import cli
from elsa_edge.cli._differences import differences


def inspect(*arguments):
    return CliRunner().invoke(cli, ["inspect", *map(str, arguments)])


def test_the_same_thing_has_no_differences():
    found = json.loads(inspect(model("conv"), "--diff", model("conv"), "--json").stdout)
    assert found["same"]
    assert found["differences"] == []


def test_two_networks_differ_by_the_names_of_their_layers():
    done = inspect(model("conv"), "--diff", model("mlp"), "--json")
    assert done.exit_code == 0, done.output
    places = {row["what"] for row in json.loads(done.stdout)["differences"]}
    assert any(place.startswith("layers[mix.weight].densities") for place in places)


def test_two_kinds_are_not_compared():
    done = inspect(model("conv"), "--diff", bundle("conv"))
    assert done.exit_code == 1
    assert "different kinds" in done.stderr
    words = " ".join(done.stderr.split())
    assert f"expected {bundle('conv')} to be a canonical graph like {model('conv')}, found a bundle" in words


def test_named_entries_are_matched_by_name():
    """A layer more in front does not make all that follow differ."""
    old = [{"name": "a", "size": [1, 2]}, {"name": "b", "size": [3, 4]}]
    new = [{"name": "new", "size": [9, 9]}, {"name": "a", "size": [1, 2]}, {"name": "b", "size": [3, 5]}]
    assert {place for place, _, _ in differences({"layers": old}, {"layers": new})} == {
        "layers[b].size[1]",
        "layers[new].name",
        "layers[new].size[0]",
        "layers[new].size[1]",
    }


def test_results_are_on_stdout_and_only_json_where_json_is_asked_for():
    """`elsa-edge inspect X | grep` finds something; names are not broken at 80 columns."""
    plain = inspect(model("conv"))
    assert "mix.weight" in plain.stdout
    assert "canonical graph" in plain.stdout
    json.loads(inspect(model("conv"), "--json").stdout)
