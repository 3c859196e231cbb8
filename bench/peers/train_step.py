#!/usr/bin/env python3
"""Throughput of one training step (forward, backward, SGD with momentum 0.9) in PyTorch on random data: the peer of
bench/train_step, with its flags and its last line.

    train_step.py [--arch resnet34] [--size 224] [--batch 128] [--device cuda|cpu] [--amp] [--compile] [--math tf32] [--steps 7]

In PyTorch's best form: channels-last, bfloat16 through autocast with --amp, cuDNN's exhaustive choice, torch.compile with
--compile. Without --amp the products are float32 as they stand; with --math tf32 they may be TF32. Exits 3 where PyTorch or torchvision is missing.
"""

import argparse
import sys
import time


def arguments():
    parser = argparse.ArgumentParser(description="Images per second of one training step in PyTorch on random data.")
    parser.add_argument("--arch", default="resnet18")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--math", default="fast", choices=["fast", "strict", "tf32"], help="tf32: products may be TF32")
    parser.add_argument("--amp", action="store_true", help="bfloat16 through autocast")
    parser.add_argument("--compile", action="store_true", help="torch.compile, max-autotune")
    return parser.parse_args()


def main():
    options = arguments()
    try:
        import torch
        import torchvision
    except ImportError as error:
        print(f"train_step.py: {error}", file=sys.stderr)
        return 3
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = options.math == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = options.math == "tf32"
    device = torch.device(options.device)
    model = getattr(torchvision.models, options.arch)(num_classes=2).to(device, memory_format=torch.channels_last)
    step = torch.compile(model, mode="max-autotune") if options.compile else model
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    pictures = torch.randn(options.batch, 3, options.size, options.size, device=device)
    pictures = pictures.to(memory_format=torch.channels_last)
    labels = torch.randint(0, 2, (options.batch,), device=device)

    def train():
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=options.amp):
            loss = torch.nn.functional.cross_entropy(step(pictures), labels)
        loss.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start, loss

    warm_up = 3
    first = None
    for _ in range(warm_up):
        _, loss = train()
        first = loss.item() if first is None else first
    seconds = sorted(train()[0] for _ in range(options.steps))
    last = train()[1].item()
    if not (last == last and abs(last) < 1e30):
        print(f"train_step.py: the loss is {last}: these are not the times of a training step", file=sys.stderr)
        return 1
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{options.threads} threads"
    print(f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}, {name}, loss {first:.4f} -> {last:.4f}")
    rate = lambda t: options.batch / t
    print(f"{options.arch} {options.size}px batch {options.batch} {'bf16' if options.amp else 'fp32'}: "
          f"median {rate(seconds[len(seconds) // 2]):.1f} img/s (best {rate(seconds[0]):.1f}, worst {rate(seconds[-1]):.1f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
