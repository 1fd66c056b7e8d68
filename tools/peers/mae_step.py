"""Times one MAE pre-training step of PyTorch on the CPU against `bench step`, in turn, on this machine.

    python3 -m venv ~/peers && ~/peers/bin/pip install torch numpy
    ~/peers/bin/python tools/peers/mae_step.py --bench build/bin/bench --model vit_b --batch 8,32

Every row is a process of its own, on both sides. PyTorch runs eagerly and through torch.compile, in f32 and
in bf16 autocast, in the environment as it is and in a tuned one (see TUNED). Rounds alternate: ours, then each
mode of the peer. Printed: medians over rounds of each run's median step, in ms and in multiples of the floor (at the
multiply rate measured beside each run, so that a machine whose speed drifts does not decide the comparison), peak
resident memory, and the bytes that the forward pass leaves for the backward pass.

The peer's model is written here from the paper (spec: ViT encoder on visible tokens, light decoder, loss on
hidden patches of normalised pixels), with the fast parts PyTorch offers: scaled_dot_product_attention, fused
AdamW, set_to_none gradients, patches embedded only where visible.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

MODELS = {"vit_b": (768, 12, 12), "vit_l": (1024, 24, 16)}
DECODER = (512, 8, 16)
PATCH, SIZE, KEEP = 16, 224, 0.25

# What a careful user sets: no trimming or mmap in the allocator and huge pages, passive waiting, pinned
# threads, the widest instruction set. OPENBLAS_CORETYPE is left unset.
TUNED = {
    "MALLOC_TOP_PAD_": str(256 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_MMAP_MAX_": "0",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "OMP_WAIT_POLICY": "passive",
    "OMP_PROC_BIND": "true",
    "ATEN_CPU_CAPABILITY": "avx512",
    "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16",
}


def build(torch, dim, depth, heads):
    from torch import nn
    import torch.nn.functional as F

    class Block(nn.Module):
        def __init__(self, d, h):
            super().__init__()
            self.h = h
            self.n1, self.n2 = nn.LayerNorm(d, eps=1e-6), nn.LayerNorm(d, eps=1e-6)
            self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
            self.fc1, self.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

        def forward(self, x):
            b, n, d = x.shape
            q, k, v = self.qkv(self.n1(x)).reshape(b, n, 3, self.h, d // self.h).permute(2, 0, 3, 1, 4)
            x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d))
            return x + self.fc2(F.gelu(self.fc1(self.n2(x))))

    class Mae(nn.Module):
        def __init__(self):
            super().__init__()
            dd, ddepth, dheads = DECODER
            self.patches, values = (SIZE // PATCH) ** 2, PATCH * PATCH * 3
            self.embed = nn.Linear(values, dim)
            self.cls, self.mask = nn.Parameter(torch.zeros(1, 1, dim)), nn.Parameter(torch.zeros(1, 1, dd))
            self.register_buffer("pos", torch.randn(1, self.patches + 1, dim) * 0.02)
            self.register_buffer("dpos", torch.randn(1, self.patches + 1, dd) * 0.02)
            self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
            self.norm = nn.LayerNorm(dim, eps=1e-6)
            self.dembed = nn.Linear(dim, dd)
            self.dblocks = nn.ModuleList(Block(dd, dheads) for _ in range(ddepth))
            self.dnorm, self.pred = nn.LayerNorm(dd, eps=1e-6), nn.Linear(dd, values)

        def forward(self, images, noise):
            b, g = images.shape[0], SIZE // PATCH
            x = images.reshape(b, 3, g, PATCH, g, PATCH).permute(0, 2, 4, 3, 5, 1).reshape(b, g * g, -1)
            keep = int(self.patches * KEEP)
            order = noise.argsort(1)
            back = order.argsort(1)
            rows = lambda t, ids: torch.gather(t, 1, ids.unsqueeze(-1).expand(-1, -1, t.shape[2]))
            seen = self.embed(rows(x, order[:, :keep])) + rows(self.pos[:, 1:].expand(b, -1, -1), order[:, :keep])
            y = torch.cat([(self.cls + self.pos[:, :1]).expand(b, -1, -1), seen], 1)
            for block in self.blocks:
                y = block(y)
            y = self.dembed(self.norm(y))
            full = torch.cat([y[:, 1:], self.mask.to(y.dtype).expand(b, self.patches - keep, -1)], 1)
            y = torch.cat([y[:, :1], rows(full, back)], 1) + self.dpos
            for block in self.dblocks:
                y = block(y)
            pred = self.pred(rows(self.dnorm(y)[:, 1:], order[:, keep:])).float()
            target = rows(x, order[:, keep:])
            mean, var = target.mean(-1, keepdim=True), target.var(-1, keepdim=True)
            return ((pred - (target - mean) / (var + 1e-6).sqrt()) ** 2).mean()

    return Mae()


def saved_bytes(torch, step):
    """Bytes of the distinct storages that one forward pass saves for its backward pass, parameters left out."""
    seen = {}
    model, run = step

    def pack(t):
        seen[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    own = {p.untyped_storage().data_ptr() for p in list(model.parameters()) + list(model.buffers())}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss = run()
    kept = sum(n for p, n in seen.items() if p not in own)
    del loss
    return kept


def child(a):
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(a.threads)
    model = build(torch, *MODELS[a.model])
    no_decay = [p for p in model.parameters() if p.ndim == 1]
    decay = [p for p in model.parameters() if p.ndim > 1]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": no_decay, "weight_decay": 0}],
                                  lr=1e-4, betas=(0.9, 0.95), fused=True)
    forward = torch.compile(model) if a.compiled else model
    batch = int(a.batch)
    images, noise = torch.randn(batch, 3, SIZE, SIZE), torch.rand(batch, (SIZE // PATCH) ** 2)

    def loss():
        with torch.autocast("cpu", torch.bfloat16, enabled=a.precision == "bf16"):
            return forward(images, noise)

    def faults():
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    times, most = [], 0
    for i in range(2 + a.steps):
        before, start = faults(), time.perf_counter()
        value = loss()
        value.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if i >= 2:
            times.append(time.perf_counter() - start)
            most = max(most, faults() - before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    kept = 0 if a.compiled else saved_bytes(torch, (model, loss))
    print(json.dumps({"ms": statistics.median(times) * 1e3, "resident_bytes": peak, "minor_faults": most,
                      "saved_bytes": kept, "torch": torch.__version__}))


def peer(a, mode, batch, precision):
    compiled, tuned = mode
    env = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    if tuned:
        env.update(TUNED, OMP_NUM_THREADS=str(a.threads))
    words = [sys.executable, __file__, "--child", "--model", a.model, "--batch", str(batch), "--precision",
             precision, "--threads", str(a.threads), "--steps", str(a.steps)] + ["--compiled"] * compiled
    run = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        print(f"  {name(mode)} failed: {run.stderr.strip().splitlines()[-1:]}", flush=True)
        return None
    row = json.loads(run.stdout.strip().splitlines()[-1])
    roof = subprocess.run([a.bench, "roof", "--threads", str(a.threads)], capture_output=True, text=True, check=True)
    rates = roof.stdout.strip().splitlines()[-1].split()
    row["peak_gflops"] = float(rates[2 if precision == "bf16" else 1])
    return row


def ours(a, batch, precision, recompute=False):
    words = [a.bench, "step", "--preset", a.model, "--batch", str(batch), "--precision", precision, "--threads",
             str(a.threads), "--steps", str(a.steps), "--json", a.json]
    subprocess.run(words + ["train.recompute=true"] * recompute, check=True, stdout=subprocess.DEVNULL)
    with open(a.json, encoding="utf-8") as f:
        return json.load(f)["rows"][0]


def name(mode):
    return ("compiled" if mode[0] else "eager") + (", tuned" if mode[1] else ", default")


def compare(a, batch, precision, modes):
    runs = {m: [] for m in modes}
    mine, lean = [], []
    for _ in range(a.rounds):
        mine.append(ours(a, batch, precision))
        for m in list(runs):
            r = peer(a, m, batch, precision)
            runs[m].append(r) if r else runs.pop(m)
        if a.recompute:
            lean.append(ours(a, batch, precision, True))
    ms = lambda rows: statistics.median(r["ms"] for r in rows)
    mb = lambda rows, key: max(r[key] for r in rows) >> 20
    # The floor is compute for the most part, so it goes with the multiply rate of the moment.
    floor = lambda r: mine[0]["floor_ms"] * mine[0]["peak_gflops"] / r["peak_gflops"]
    times = lambda rows: statistics.median(r["ms"] / floor(r) for r in rows)
    show = lambda who, rows, key: print(
        f"  {who:<28}{ms(rows):>8.0f} ms{times(rows):>7.2f} x floor{mb(rows, 'resident_bytes'):>7} MB peak"
        f"{mb(rows, key):>7} MB saved{max(r['minor_faults'] for r in rows):>8} faults", flush=True)
    print(f"{a.model}, batch {batch}, {precision}, {a.threads} threads, {a.rounds} rounds of {a.steps} steps")
    show("ours", mine, "saved_bytes")
    if lean:
        show("ours, recompute", lean, "saved_bytes")
    for m, rows in runs.items():
        show("PyTorch " + name(m), rows, "saved_bytes")
    best = min(runs, key=lambda m: times(runs[m]))
    least = min(mb(rows, "resident_bytes") for rows in runs.values())
    saved = max(1, max(mb(rows, "saved_bytes") for rows in runs.values()))
    print(f"  speed against its best ({name(best)}): {times(runs[best]) / times(mine):.2f}x; memory against its "
          f"least: {mb(mine, 'resident_bytes') / least:.2f}; saved {mb(mine, 'saved_bytes') / saved:.2f}", flush=True)
    if lean:
        print(f"  recomputed: {times(lean) / times(mine):.2f} of the time, memory "
              f"{mb(lean, 'resident_bytes') / least:.2f}, saved {mb(lean, 'saved_bytes') / saved:.2f}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--bench", default="build/bin/bench")
    p.add_argument("--model", default="vit_b", choices=MODELS)
    p.add_argument("--batch", default="8,32")
    p.add_argument("--precision", default="f32,bf16")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--steps", type=int, default=4, help="timed steps of each run, after those that warm up")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--modes", default="eager,eager tuned,compiled,compiled tuned")
    p.add_argument("--recompute", action="store_true", help="also ours with train.recompute=true")
    p.add_argument("--json", default=os.path.join(tempfile.gettempdir(), "tessera_step.json"), help="where our bench puts its figures")
    p.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    p.add_argument("--compiled", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.child:
        return child(a)
    modes = [("compiled" in m, "tuned" in m) for m in a.modes.split(",")]
    print("tuned environment:", " ".join(f"{k}={v}" for k, v in TUNED.items()))
    for batch in a.batch.split(","):
        for precision in a.precision.split(","):
            compare(a, int(batch), precision, modes)
    return None


if __name__ == "__main__":
    main()
