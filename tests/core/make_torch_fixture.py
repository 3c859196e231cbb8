"""Writes tests/core/fixtures/*.pth, the files of tests/core/torch_file_test.cpp: python3 tests/core/make_torch_fixture.py

Needs PyTorch (written with 1.13). The tensors count up from a number each, so that the test knows them without PyTorch.
"""
import collections
import io
import pathlib
import pickle
import zipfile

import torch

FOLDER = pathlib.Path(__file__).parent / "fixtures"


def count(start, *shape, dtype=torch.float32):
    n = int(torch.Size(shape).numel())
    return torch.arange(start, start + n).to(dtype).reshape(shape)


def tensors():
    both = count(100, 12)  # two views of one storage
    return collections.OrderedDict([
        ("conv.weight", count(0, 2, 3, 2, 2).to(memory_format=torch.channels_last)),  # strided as NHWC
        ("fc.weight", count(50, 3, 4).t()),  # (4, 3), transposed
        ("fc.bias", torch.nn.Parameter(count(7, 3))),
        ("head", both[:4]),
        ("tail", both[6:].reshape(2, 3)),
        ("expanded", count(9, 1, 2).expand(3, 2)),
        ("half", count(1, 3, dtype=torch.float16) / 2),
        ("bfloat", count(1, 3, dtype=torch.bfloat16) / 4),
        ("int", count(-1, 3, dtype=torch.int32)),
        ("bn.num_batches_tracked", torch.tensor(1 << 40)),
        ("byte", count(253, 3, dtype=torch.uint8)),
        ("nothing", torch.empty(0, 5)),
    ])


def repack(source, target, method=zipfile.ZIP_STORED, change=lambda entries: None):
    """The same archive written by Python: compressed, or with other entries."""
    with zipfile.ZipFile(source) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=method)


class Evil:
    def __reduce__(self):
        import os
        return os.system, ("touch pwned",)


def pickled(value, protocol=2):
    buffer = io.BytesIO()
    pickle.dump(value, buffer, protocol=protocol)
    return buffer.getvalue()


def with_pickle(name, data):
    def change(entries):
        entries[next(n for n in entries if n.endswith("/data.pkl"))] = data
    repack(FOLDER / "plain.pth", FOLDER / name, change=change)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(2, 1)
        self.fc.weight.data = count(3, 1, 2)
        self.fc.bias.data = count(5, 1)


FOLDER.mkdir(exist_ok=True)
torch.save(tensors(), FOLDER / "plain.pth")
torch.save({"fc.bias": torch.nn.Parameter(count(7, 3))}, FOLDER / "protocol4.pth", pickle_protocol=4)
torch.save({"epoch": 3, "lr": 0.5, "best": True, "tags": ["a", None], "state_dict": Net().state_dict()},
           FOLDER / "checkpoint.pth")  # a module's state_dict carries attributes of its own (BUILD)
torch.save({"wide": count(0, 2, dtype=torch.float64)}, FOLDER / "double.pth")
torch.save(count(0, 2), FOLDER / "tensor.pth")
repack(FOLDER / "plain.pth", FOLDER / "deflated.pth", zipfile.ZIP_DEFLATED)
repack(FOLDER / "protocol4.pth", FOLDER / "little.pth", change=lambda e: e.update({"protocol4/byteorder": b"little"}))
repack(FOLDER / "protocol4.pth", FOLDER / "big.pth", change=lambda e: e.update({"protocol4/byteorder": b"big"}))
with_pickle("evil2.pth", pickled({"w": Evil()}))
with_pickle("evil4.pth", pickled({"w": Evil()}, protocol=4))
with_pickle("newobj.pth", b"\x80\x02ccollections\nOrderedDict\n)\x81.")
torch.save(tensors(), FOLDER / "legacy.pth", _use_new_zipfile_serialization=False)
