"""The page: self-contained, escaped, readable without pictures; and it carries the record that it shows."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from support.records import record

from elsa_edge.cli._differences import differences
from elsa_edge.errors import InputError
from elsa_edge.report.markdown import markdown
from elsa_edge.report.page import page
from elsa_edge.report.record import Run, read_record
from elsa_edge.report.tables import changes_of_level_table, number


class Tree(HTMLParser):
    """Collects tags, and checks that they close in order."""

    VOID = frozenset({"meta", "link", "path", "use", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.open, self.seen, self.links, self.ids = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v]
        self.ids += [v for k, v in attrs if k == "id"] if "svg" not in self.open else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def parsed(text):
    tree = Tree()
    tree.feed(text)
    assert tree.open == []
    return tree


def test_nothing_is_fetched_and_nothing_runs():
    """No link leaves the page, no script runs, and the policy in it would stop both."""
    text = page(record())
    tree = parsed(text)
    assert all(link.startswith(("#", "data:")) for link in tree.links), tree.links
    assert re.findall(r"<script([^>]*)>", text) == [' type="application/json" id="record"']
    assert "default-src 'none'" in text
    assert len(text) < 3_000_000
    assert tree.seen.count("svg") == 4


def test_every_figure_is_in_a_table():
    """Whoever cannot see the pictures finds each number in a table with headed rows and columns."""
    text = page(record())
    for figure in (
        "2.00",
        "2.40",
        "2.50",
        "3.00",
        "80.0% ±3.9 [-10.0]",
        "over 400 samples",
        "ort-nested · s95",
        "a chip",
    ):
        assert figure in text, figure
    assert text.count('<th scope="row">') == text.count("<tr") - text.count("<thead>")


def test_names_of_people_cannot_break_the_page():
    """Names of layers and networks come from others' files."""
    evil = "</script><script>alert(1)</script>&\"'"
    text = page(record(name=evil, provenance={evil: evil}))
    assert "<script>" not in text
    assert parsed(text).seen.count("script") == 1
    assert "| a\\|b |" in markdown(record(provenance={"x": "a|b"}))
    levels = tuple(
        level.model_copy(update={"name": f"{level.name}|<i>`\x1b[31m"}) for level in record().levels
    )
    text = markdown(record(levels=levels))
    assert "\x1b" not in text
    assert "s95\\|\\<i>\\`" in text
    assert not re.search(r"(?<!\\)[<]i>", text)


def test_the_page_carries_its_record(tmp_path):
    """`--against` reads it back: every figure, to seven digits."""
    made = record(name="a < b </script>", runs=(Run(at_ms=1 / 3, level=0, latency_ms=2e6 / 3),))
    (tmp_path / "r.html").write_text(page(made))
    carried = read_record(tmp_path / "r.html")
    assert carried.runs == (Run(at_ms=0.3333333, level=0, latency_ms=666666.7),)
    assert all(
        new == pytest.approx(old, rel=1e-6)
        for _, old, new in differences(made.model_dump(), carried.model_dump())
    )
    (tmp_path / "r.json").write_text(made.model_dump_json())
    assert read_record(tmp_path / "r.json") == made


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("r.json", "{", "not a whole report"),
        ("r.json", '{"format": "elsa-edge report 1", "name": "n"}', "not a whole report"),
        ("r.json", '{"format": "elsa-edge report 2"}', "not a whole report"),
        ("r.html", "<html>hello</html>", "not a report of elsa-edge"),
    ],
)
def test_other_files_are_no_reports(tmp_path, name, content, reason):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=reason):
        read_record(tmp_path / name)


def test_half_a_page_is_no_report(tmp_path):
    """A page that was cut off while it was copied."""
    text = page(record())
    (tmp_path / "r.html").write_text(text[: text.index('id="record">') + 200])
    with pytest.raises(InputError, match="not a report"):
        read_record(tmp_path / "r.html")


def test_light_and_dark_colours_have_enough_contrast():
    """WCAG AA: text 4.5 to 1, lines of pictures 3 to 1, on the page's own background."""
    text = page(record())
    blocks = re.findall(r":root \{(.*?)\}", text, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for name, colour in colours.items():
            needed = 4.5 if name in ("ink", "soft", "lead") else 3.0 if name.startswith("series") else 0.0
            assert _contrast(colour, colours["paper"]) >= needed, (name, colour)
        assert _contrast(colours["ink"], colours["mark"]) >= 4.5
        assert _contrast(colours["ink"], colours["panel"]) >= 4.5
        for tone in ("series-0", "series-1"):  # the darkest shades of the heat map
            assert _contrast(colours["ink"], _mixed(colours[tone], colours["paper"], 0.45)) >= 4.5


def _mixed(a, b, share):
    parts = [round(share * int(a[i : i + 2], 16) + (1 - share) * int(b[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{part:02x}" for part in parts)


def _contrast(a, b):
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0"), (1.0, "1.00"), (12.34, "12.3"), (1234.5, "1234"), (0.01234, "0.0123")],
)
def test_numbers_are_read_at_a_glance(value, text):
    assert number(value) == text


def test_each_change_of_level_has_its_reason():
    """The reason is that of the decision after the run before; a run without changes has no such table."""
    runs = (
        Run(at_ms=1000.0, level=2, latency_ms=9.0, reason="down-latency", available_mb=200.0),
        Run(at_ms=2000.0, level=0, latency_ms=3.0, reason="hold"),
        Run(at_ms=3000.0, level=0, latency_ms=3.0, reason="up"),
        Run(at_ms=4000.0, level=1, latency_ms=5.0, reason="hold"),
    )
    table = changes_of_level_table(record(runs=runs))
    assert table.rows == (
        ("dense → s95", "down-latency", "1.00", "9.00", "200"),
        ("s95 → s90", "up", "3.00", "3.00", "-"),
    )
    assert "down-latency (1), up (1)" in table.note
    assert not changes_of_level_table(record(runs=runs[:1])).rows
