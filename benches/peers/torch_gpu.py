#!/usr/bin/env python3
"""Chinese-CLIP in PyTorch on a GPU, with fused attention: rows for `cargo xtask gpu`, as `chinese-clip bench --json` prints them.

    python torch_gpu.py MODEL DEVICE DTYPE BATCHES LENGTH SECONDS

MODEL is a checkpoint in the hub's layout, BATCHES has commas, texts have LENGTH tokens, and each row takes about SECONDS.
"""
import json
import statistics
import sys
import time

import torch

from worker import towers


def seconds_of(compute, budget, least=3, warm_up=3):
    """Of each call, the device idle before and after."""
    times = []
    while len(times) < least + warm_up or sum(times[warm_up:]) < budget:
        torch.cuda.synchronize()
        start = time.perf_counter()
        compute()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return times[warm_up:]


def main(model, device, dtype, batches, length, budget):
    names = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
    modules = {stage: module.to(device, names[dtype]) for stage, module in towers(model).items()}
    size = modules["image"].tower.config.image_size
    for batch in map(int, batches.split(",")):
        inputs = {
            "image": (torch.randn(batch, 3, size, size, device=device, dtype=names[dtype]),),
            "text": (torch.randint(1, 20000, (batch, int(length)), device=device),
                     torch.ones(batch, int(length), dtype=torch.int64, device=device)),
        }
        for stage, tensors in inputs.items():
            with torch.inference_mode():
                times = seconds_of(lambda: modules[stage](*tensors), float(budget))
            median = statistics.median(times)
            row = {"stage": stage, "device": f"PyTorch {torch.__version__}, {device}", "dtype": dtype, "batch": batch, "median_s": median,
                   "min_s": min(times), "max_s": max(times), "runs": len(times), "per_second": batch / median}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
