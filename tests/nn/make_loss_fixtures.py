"""Writes tests/nn/fixtures/losses.txt, the table of tests/nn/losses_test.cpp: python3 tests/nn/make_loss_fixtures.py

Needs PyTorch (written with 1.13). What CrossEntropyLoss and BCEWithLogitsLoss, and their gradients with respect to the
logits, are on small inputs. A case is seven lines:

    case KIND N C SMOOTHING SHARE   KIND: labels, mixture or several; SHARE: of a mixture, else 1
    weights (C numbers, or none; of KIND several they are BCEWithLogitsLoss's pos_weight)
    labels (N lists, apart by /)
    partners (N numbers of a mixture, or none)
    logits (N * C)
    loss
    gradient (N * C)
"""
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(7)
lines = []


def numbers(values):
    return " ".join(f"{v:.9g}" for v in values)


def case(kind, n, c, smoothing, weights, share=1.0):
    logits = (3 * torch.randn(n, c)).double().requires_grad_()
    weight = torch.tensor(weights, dtype=torch.double) if weights else None
    partners = []
    if kind == "several":
        labels = [[k for k in range(c) if torch.rand(()) < 0.4] for _ in range(n)]
        target = torch.zeros(n, c, dtype=torch.double)
        for row, classes in enumerate(labels):
            target[row, classes] = 1
        target = target * (1 - smoothing) + smoothing / 2
        loss = F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)
    else:
        label = torch.randint(0, c, (n,))
        labels = [[int(v)] for v in label]
        target = label
        if kind == "mixture":
            partners = torch.randperm(n).tolist()
            one_hot = F.one_hot(label, c).double()
            target = share * one_hot + (1 - share) * one_hot[partners]
        loss = F.cross_entropy(logits, target, weight=weight, label_smoothing=smoothing)
    loss.backward()
    lines.append(f"case {kind} {n} {c} {smoothing} {share}")
    lines.append(numbers(weights) if weights else "none")
    lines.append("/".join(" ".join(map(str, row)) for row in labels))
    lines.append(" ".join(map(str, partners)) if partners else "none")
    lines.append(numbers(logits.detach().flatten().tolist()))
    lines.append(numbers([loss.item()]))
    lines.append(numbers(logits.grad.flatten().tolist()))


case("labels", 4, 2, 0.0, None)
case("labels", 5, 3, 0.1, None)
case("labels", 5, 3, 0.0, [1.0, 2.5, 0.5])
case("labels", 7, 4, 0.2, [0.3, 1.0, 2.0, 4.0])
case("mixture", 4, 3, 0.0, None, 0.3)
case("mixture", 6, 4, 0.1, [0.5, 1.0, 2.0, 1.5], 0.8)
case("several", 5, 4, 0.0, None)
case("several", 6, 3, 0.1, None)
case("several", 5, 3, 0.0, [1.0, 3.0, 0.25])
case("several", 4, 4, 0.2, [5.0, 1.0, 0.5, 2.0])
path = pathlib.Path(__file__).parent / "fixtures" / "losses.txt"
path.write_text("\n".join(lines) + "\n")
