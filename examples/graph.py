"""Graph attention network that finds a Debian package's section from its neighbours' descriptions.

Nodes are packages of eight sections, edges their Depends, features the words of their short descriptions; all
from apt's own package lists (run `apt-get update` once). Each sample is the neighbourhood of one package:
itself first, then up to 23 packages at a distance of one or two, with their features and who touches whom.

    elsa-edge train examples/graph.yaml -o graph.safetensors
    elsa-edge export graph.safetensors --model examples.graph:gat \
        --input-shape features=1x24x400 --input-shape edges=1x24x24 -o g.onnx
"""

from __future__ import annotations

import functools
import re
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from elsa_edge.errors import ElsaError

SECTIONS = ("perl", "python", "javascript", "haskell", "rust", "golang", "java", "ruby")
_TELLTALE = re.compile("perl|python|java|script|node|haskell|rust|golang|go|ruby|gem|module|crate|library")
WORDS, NODES = 400, 24
_PER_SECTION = 400
_LISTS = Path("/var/lib/apt/lists")


class Attention(nn.Module):
    """One graph attention layer:

    each head weighs the neighbours by what they and the node itself look like.
    """

    def __init__(self, inputs: int, outputs: int, heads: int) -> None:
        super().__init__()
        self.heads, self.outputs = heads, outputs
        self.values = nn.Linear(inputs, heads * outputs, bias=False)
        self.source = nn.Linear(inputs, heads, bias=False)
        self.target = nn.Linear(inputs, heads, bias=False)

    def forward(self, features: Tensor, edges: Tensor) -> Tensor:
        """Features `(batch, n, inputs)`, edges `(batch, n, n)` of 0 and 1 to `(batch, n, heads * outputs)`."""
        values = self.values(features).unflatten(-1, (self.heads, self.outputs)).transpose(1, 2)
        to, by = self.target(features).transpose(1, 2), self.source(features).transpose(1, 2)
        scores = nn.functional.leaky_relu(to.unsqueeze(3) + by.unsqueeze(2), 0.2)  # (batch, heads, n, n)
        scores = scores.masked_fill(edges.unsqueeze(1) < 0.5, -1e9)
        return torch.matmul(scores.softmax(-1), values).transpose(1, 2).flatten(2)


class GraphAttention(nn.Module):
    """A neighbourhood to the logits `(batch, 8)` of its first node."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Attention(WORDS, 16, 4)
        self.second = Attention(64, 32, 2)
        self.head = nn.Linear(64, len(SECTIONS))

    def forward(self, features: Tensor, edges: Tensor) -> Tensor:
        """Classify the first node."""
        hidden = nn.functional.elu(self.first(features, edges))
        hidden = nn.functional.elu(self.second(hidden, edges))
        logits: Tensor = self.head(hidden[:, 0])
        return logits


class Neighbourhoods(Dataset[tuple[dict[str, Tensor], Tensor]]):
    """Samples ({features, edges}, section)."""

    def __init__(self, features: Tensor, members: Tensor, edges: Tensor, labels: Tensor) -> None:
        self._features, self._members, self._edges, self._labels = features, members, edges, labels

    def __len__(self) -> int:
        return len(self._labels)

    def take(self, picked: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return a whole batch at once; `elsa-edge train` uses it where a dataset has it."""
        return {
            "features": self._features[self._members[picked]],
            "edges": self._edges[picked],
        }, self._labels[picked]

    def __getitem__(self, index: int) -> tuple[dict[str, Tensor], Tensor]:
        features = self._features[self._members[index]]
        return {"features": features, "edges": self._edges[index]}, self._labels[index]


def _packages() -> dict[str, tuple[str, str, list[str]]]:
    """Return package -> (section, description, names it depends on) from apt's lists."""
    lists = sorted(_LISTS.glob("*_main_binary-*_Packages*"), key=lambda path: -path.stat().st_size)
    if not lists:
        raise ElsaError(
            f"There are no package lists in {_LISTS}", fix="Run apt-get update on a Debian system"
        )
    found = {}
    helper = ["/usr/lib/apt/apt-helper", "cat-file", str(lists[0])]  # apt keeps its lists compressed
    text = subprocess.run(helper, check=True, capture_output=True).stdout.decode("utf-8")  # noqa: S603 - apt's own tool
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Section|Description|Depends): (.*)$", paragraph, re.MULTILINE))
        if "Package" in fields:
            depends = re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]+)", fields.get("Depends", ""))
            section = fields.get("Section", "").rpartition("/")[2]
            found[fields["Package"]] = (section, fields.get("Description", ""), depends)
    return found


def _words(text: str) -> set[str]:
    """Return the words of a description that do not give the section away."""
    return {word for word in re.findall(r"[a-z]{3,}", text.lower()) if not _TELLTALE.search(word)}


@functools.cache
def _graph() -> tuple[Tensor, list[list[int]], Tensor]:
    """Return features `(nodes, words)`, neighbours of each node, and labels `(nodes,)`."""
    packages = _packages()
    chosen: list[str] = []
    order = np.random.default_rng(0)
    for section in SECTIONS:
        names = sorted(name for name, (own, _, depends) in packages.items() if own == section and depends)
        chosen += [names[i] for i in order.permutation(len(names))[:_PER_SECTION]]
    number = {name: i for i, name in enumerate(chosen)}
    counts = Counter(word for name in chosen for word in sorted(_words(packages[name][1])))
    vocabulary = {word: i for i, (word, _) in enumerate(counts.most_common(WORDS))}
    features = torch.zeros(len(chosen), WORDS)
    neighbours: list[set[int]] = [set() for _ in chosen]
    shared: dict[str, list[int]] = {}
    for name, i in number.items():
        for word in _words(packages[name][1]):
            if word in vocabulary:
                features[i, vocabulary[word]] = 1.0
        for other in packages[name][2]:
            if other in number:
                neighbours[i].add(number[other])
                neighbours[number[other]].add(i)
            else:
                shared.setdefault(other, []).append(i)
    for users in shared.values():  # two packages that need the same third one touch, where few need it
        if 2 <= len(users) <= 12:
            for i in users:
                neighbours[i].update(user for user in users if user != i)
    labels = torch.tensor([SECTIONS.index(packages[name][0]) for name in chosen])
    return features, [sorted(found) for found in neighbours], labels


@functools.cache
def package_sections() -> tuple[Neighbourhoods, Neighbourhoods]:
    """Return four fifths of the packages for training and a fifth for testing."""
    features, lists, labels = _graph()
    neighbours = [dict.fromkeys(near) for near in lists]  # keeps the order and finds quickly
    members = torch.zeros(len(labels), NODES, dtype=torch.long)
    edges = torch.zeros(len(labels), NODES, NODES)
    for i in range(len(labels)):
        near = lists[i][: NODES - 1]
        far = [j for n in near for j in neighbours[n] if j != i and j not in near]
        group = [i, *near, *dict.fromkeys(far)][:NODES]
        members[i, : len(group)] = torch.tensor(group)
        for a, one in enumerate(group):
            for b, other in enumerate(group):
                edges[i, a, b] = float(a == b or other in neighbours[one])
        for a in range(len(group), NODES):
            edges[i, a, a] = 1.0  # a place without a package touches only itself
    order = torch.from_numpy(np.random.default_rng(1).permutation(len(labels)))
    cut = len(labels) * 4 // 5
    parts = [
        Neighbourhoods(features, members[picked], edges[picked], labels[picked])
        for picked in (order[:cut], order[cut:])
    ]
    return parts[0], parts[1]


def gat() -> nn.Module:
    """Return the network: 34 thousand weights."""
    return GraphAttention()
