"""What the page on repair starts from: a small network, trained on handwritten digits, and inputs without labels.

python examples/repair.py        writes net.pt (of examples.cnn:tiny) and inputs.npz
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from examples.cnn import handwritten, tiny


def main() -> None:
    """Train for three epochs and write the checkpoint and the images."""
    torch.manual_seed(0)
    (images, labels), (test_images, test_labels) = (part.tensors for part in handwritten())
    model = tiny()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(3):
        for chosen in torch.split(torch.randperm(len(images)), 64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        right = float((model(test_images).argmax(1) == test_labels).float().mean())
    print(f"accuracy on digits that it has not seen: {right:.1%}")
    torch.save(model.state_dict(), "net.pt")
    np.savez("inputs.npz", images=images[:2000].numpy())


if __name__ == "__main__":
    main()
