"""Writes fixtures/torch_schedules.json: what torch's schedulers say, step by step, for schedule_test.cpp to hold ours against.

python3 make_torch_schedules.py

Each entry has the policy's name and options here, torch's scheduler as it was called, and a row (rate, momentum or null) for each step.
"""
import json
import pathlib
import warnings

import torch
from torch.optim import lr_scheduler as torch_schedules

warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")


def rows(steps, momentum, make):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=momentum)
    scheduler, result = make(optimizer), []
    for _ in range(steps):
        group = optimizer.param_groups[0]
        result.append([float(f"{group['lr']:.10g}"), float(f"{group['momentum']:.10g}")])
        optimizer.step()
        scheduler.step()
    return result


def entry(policy, name, arguments, steps, epoch, options, lr=0.1, momentum=0.9, warmup=0):
    def make(optimizer):
        for group in optimizer.param_groups:
            group["lr"] = lr
        inner = getattr(torch_schedules, name)(optimizer, **arguments)
        if not warmup:
            return inner
        first = torch_schedules.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
        return torch_schedules.SequentialLR(optimizer, [first, inner], milestones=[warmup])

    torch_call = f"{name}({', '.join(f'{k}={v}' for k, v in arguments.items())})"
    if warmup:
        torch_call = f"LinearLR(start_factor=1/{warmup + 1}, total_iters={warmup}), then {torch_call}"
    return {
        "policy": policy, "torch": torch_call, "steps": steps, "steps_per_epoch": epoch, "lr": lr, "momentum": momentum,
        "options": options, "rows": rows(steps, momentum, make),
    }


def cyclic(policy, mode, up, base, top, steps, epoch, options, gamma=1.0):
    arguments = dict(base_lr=base, max_lr=top, step_size_up=up, mode=mode, gamma=gamma, cycle_momentum=False)
    return entry(policy, "CyclicLR", arguments, steps, epoch, options, lr=top)


def one_cycle(steps, top=0.1, momentum=0.95, options=(), **arguments):
    momentum_range = dict(options).get("momentum_range", 0.1)
    arguments = dict(max_lr=top, total_steps=steps, max_momentum=momentum, base_momentum=momentum - momentum_range) | arguments
    # torch refuses the step behind the last one, which rows() asks for.
    e = dict(options)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=top, momentum=momentum)
    scheduler, result = torch_schedules.OneCycleLR(optimizer, **arguments), []
    for step in range(steps):
        group = optimizer.param_groups[0]
        result.append([float(f"{group['lr']:.10g}"), float(f"{group['momentum']:.10g}")])
        optimizer.step()
        if step + 1 < steps:
            scheduler.step()
    return {
        "policy": "one-cycle", "torch": f"OneCycleLR({', '.join(f'{k}={v}' for k, v in arguments.items())})", "steps": steps,
        "steps_per_epoch": 5, "lr": top, "momentum": momentum, "options": e, "rows": result,
    }


def restarts(first, mult, steps, epoch, options, lr=0.1, eta_min=0.0, warmup=0):
    return entry("sgdr", "CosineAnnealingWarmRestarts", dict(T_0=first, T_mult=mult, eta_min=eta_min), steps, epoch, options, lr, warmup=warmup)


entries = [
    cyclic("triangular", "triangular", 8, 0.025, 0.1, 40, 4, {}),
    cyclic("triangular", "triangular", 5, 0.002, 0.02, 33, 5, {"step_size": 1, "lr_base": 0.1}),
    cyclic("triangular2", "triangular2", 6, 0.025, 0.1, 50, 3, {}),
    cyclic("triangular2", "triangular2", 7, 0.0, 0.3, 47, 14, {"step_size": 0.5, "lr_base": 0}),
    cyclic("exp-range", "exp_range", 8, 0.025, 0.1, 40, 4, {"gamma": 0.97}, gamma=0.97),
    cyclic("exp-range", "exp_range", 3, 0.001, 0.01, 25, 3, {"gamma": 0.9, "step_size": 1, "lr_base": 0.1}, gamma=0.9),
    restarts(5, 1, 23, 5, {"cycle_len": 1}),
    restarts(4, 2, 33, 4, {"cycle_len": 1, "cycle_mult": 2}),
    restarts(6, 3, 40, 3, {"cycle_len": 2, "cycle_mult": 3, "lr_min": 0.01}, lr=0.02, eta_min=0.0002),
    one_cycle(20),
    one_cycle(7),
    one_cycle(30, 0.4, 0.9, {"pct_start": 0.25, "div": 10, "final_div": 100}, pct_start=0.25, div_factor=10, final_div_factor=100),
    one_cycle(24, 0.2, 0.95, {"momentum_range": 0.25}),
    one_cycle(15, 0.1, 0.9, {"momentum_range": 0, "pct_start": 0.4}, pct_start=0.4),
    entry("step", "StepLR", dict(step_size=6, gamma=0.5), 20, 3, {"step_size": 2, "gamma": 0.5}),
    entry("poly", "PolynomialLR", dict(total_iters=12, power=2.0), 12, 4, {"power": 2}),
    entry("cosine", "CosineAnnealingLR", dict(T_max=15, eta_min=0.001), 15, 5, {"lr_min": 0.01}),
    entry("constant", "ConstantLR", dict(factor=1.0), 8, 4, {"warmup": 1}, warmup=4),
]
path = pathlib.Path(__file__).parent / "fixtures" / "torch_schedules.json"
path.write_text("[\n" + ",\n".join(json.dumps(e) for e in entries) + "\n]\n")
print(f"{path}: {len(entries)} schedules, {sum(len(e['rows']) for e in entries)} rows, torch {torch.__version__.split('+')[0]}")
