#!/usr/bin/env python3
"""Times `bench data` against Pillow + torchvision on the same files with the same crops, one core each.

Set up, outside the repository:
    python3 -m venv VENV && VENV/bin/pip install torch torchvision pillow
Run, on a quiet machine:
    build/bin/bench data --write DIR
    VENV/bin/python tools/peers/data.py --bench build/bin/bench --files DIR [--rounds 3] [--seconds 2]

DIR holds pictures or folders of pictures (see `bench data --help`). In each round `bench data --json` runs
first and names the crop rectangle and flip of every picture; then each peer does the same pictures:
    pil      Image.open, convert("RGB"), functional.resized_crop(224, bicubic), hflip, pil_to_tensor: what
             ImageFolder with RandomResizedCrop(224, scale=(0.2, 1), interpolation=3) and a flip does
    tensor   read_file, decode_jpeg, resized_crop(224, bicubic, antialias=True), hflip on u8 tensors
Printed are medians over rounds of CPU milliseconds per picture, and the best peer's over ours. Evaluation is
compared in the same way: Resize(256), CenterCrop(224).
"""
import argparse
import json
import resource
import statistics
import subprocess
import tempfile
import time

import PIL
import torch
import torchvision
from PIL import Image, features
from torchvision.io import decode_jpeg, read_file
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

BICUBIC = InterpolationMode.BICUBIC


def load_pil(path):
    with open(path, "rb") as file:
        return Image.open(file).convert("RGB")


def load_tensor(path):
    return decode_jpeg(read_file(path))


def train(picture, crop):
    top, left, height, width, flip = crop
    picture = F.resized_crop(picture, top, left, height, width, [224, 224], BICUBIC, antialias=True)
    return F.hflip(picture) if flip else picture


def evaluate(picture, _):
    return F.center_crop(F.resize(picture, [256], BICUBIC, antialias=True), [224, 224])


PEERS = {
    "pil": lambda path, crop, what: F.pil_to_tensor(what(load_pil(path), crop)),
    "tensor": lambda path, crop, what: what(load_tensor(path), crop).contiguous(),
}


def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def time_peer(peer, files, what, seconds):
    """CPU milliseconds and minor page faults per picture: medians over passes, the first one left out."""
    work = [(f["path"], crop) for f in files for crop in (f["crops"] if what is train else f["crops"][:1])]
    times, page_faults = [], []
    begin = time.process_time()
    while len(times) < 4 or time.process_time() - begin < seconds:
        start, before = time.process_time(), faults()
        for path, crop in work:
            peer(path, crop, what)
        times.append((time.process_time() - start) / len(work) * 1e3)
        page_faults.append((faults() - before) / len(work))
    return statistics.median(times[1:]), statistics.median(page_faults[1:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bench", default="build/bin/bench")
    parser.add_argument("--files", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="per set, kind and peer in each round")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, Pillow {PIL.__version__}, "
          f"its libjpeg-turbo {features.version('libjpeg_turbo')}; one core")

    figures = {}  # (set, kind) -> who -> list of (ms, faults)
    for _ in range(options.rounds):
        with tempfile.NamedTemporaryFile(suffix=".json") as out:
            command = [options.bench, "data", "--files", options.files, "--json", out.name]
            subprocess.run(command + ["--seconds", str(options.seconds)], check=True, stdout=subprocess.DEVNULL)
            sets = json.load(open(out.name))["sets"]
        for one in sets:
            for kind, what in (("train", train), ("eval", evaluate)):
                row = figures.setdefault((one["name"], kind), {})
                row.setdefault("ours", []).append((one[kind]["ms"], one[kind]["minor_faults"]))
                for name, peer in PEERS.items():
                    row.setdefault(name, []).append(time_peer(peer, one["files"], what, options.seconds))

    print(f"{'set':<20}{'':<7}{'ours ms':>9}{'pil ms':>9}{'tensor ms':>11}{'ratio':>7}"
          f"{'lowest':>8}{'faults: ours':>14}{'pil':>8}{'tensor':>8}")
    for (name, kind), row in figures.items():
        ms = {who: statistics.median(v[0] for v in values) for who, values in row.items()}
        pages = {who: statistics.median(v[1] for v in values) for who, values in row.items()}
        ratios = [min(p[0], t[0]) / o[0] for o, p, t in zip(row["ours"], row["pil"], row["tensor"])]
        print(f"{name:<20}{kind:<7}{ms['ours']:>9.2f}{ms['pil']:>9.2f}{ms['tensor']:>11.2f}"
              f"{min(ms['pil'], ms['tensor']) / ms['ours']:>7.2f}{min(ratios):>8.2f}"
              f"{pages['ours']:>14.1f}{pages['pil']:>8.1f}{pages['tensor']:>8.1f}")


if __name__ == "__main__":
    main()
