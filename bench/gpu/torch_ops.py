#!/usr/bin/env python3
"""Times PyTorch's operations at the sizes of `wavllm bench kernels`, on a GPU: one JSON on stdout. Called by gpu.py.

Each time is the median of CUDA events around one call, forward alone, with an L2 cache that holds nothing of it, as
wavllm/bench/ times its own. Where PyTorch has several calls for what is one op here, all of them are timed.
"""

import json
import statistics
import sys

try:
    import torch
    import torch.nn.functional as F
except Exception as error:  # a broken installation fails in many ways
    sys.exit(f"torch cannot be imported: {error}")

RUNS, WARM_UP = 20, 5


def random(*shape, dtype=torch.float32):
    return torch.randn(*shape, device="cuda", dtype=torch.float32).to(dtype)


def rope_half(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def attention(lengths, heads, kv_heads, dim, dtype):
    """Sequences of one length: a batch."""
    n, t = len(lengths), lengths[0]
    q = random(n, heads, t, dim, dtype=dtype)
    k, v = (random(n, kv_heads, t, dim, dtype=dtype).repeat_interleave(heads // kv_heads, 1) for _ in range(2))
    return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)


def cases():
    """(op, case) of `wavllm bench kernels`: (what PyTorch is asked, the call)"""
    def unary(f, *shape):
        x = random(*shape)
        return lambda: f(x)

    def binary(f, *shape):
        x, y = random(*shape), random(*shape)
        return lambda: f(x, y)

    def rms(rows, d):
        x, w = random(rows, d), random(d)
        return lambda: F.rms_norm(x, (d,), w, 1e-5)

    def layer(rows, d):
        x, w, b = random(rows, d), random(d), random(d)
        return lambda: F.layer_norm(x, (d,), w, b)

    def product(m, k, n, dtype=torch.float32):
        x, w = random(m, k, dtype=dtype), random(k, n, dtype=dtype)
        return lambda: x @ w

    def linear(m, k, n, dtype=torch.float32):
        x, w = random(m, k, dtype=dtype), random(n, k, dtype=dtype)
        return lambda: F.linear(x, w)

    def silu_mul(rows, d):
        x = random(rows, 2 * d)
        return lambda: F.silu(x[:, :d]) * x[:, d:]

    def cross_entropy(n, d, v, dtype=torch.float32):
        x, w, t = random(n, d, dtype=dtype), random(v, d, dtype=dtype), torch.randint(v, (n,), device="cuda")
        return lambda: F.cross_entropy(F.linear(x, w).float(), t)

    def rope():
        x, cos, sin = random(640, 9, 64), random(640, 1, 32), random(640, 1, 32)
        return lambda: rope_half(x, cos, sin)

    def embedding():
        w, i = random(4096, 576), torch.randint(4096, (640,), device="cuda")
        return lambda: F.embedding(i, w)

    def conv(t, c, n, stride):
        x, w, b = random(1, c, t), random(n, c, 3), random(n)
        return lambda: F.conv1d(x, w, b, stride=stride, padding=1)

    bf16 = torch.bfloat16
    return {
        ("rms_norm", "640x576"): ("rms_norm f32", rms(640, 576)),
        ("rms_norm", "512x4096"): ("rms_norm f32", rms(512, 4096)),
        ("layer_norm", "640x576"): ("layer_norm f32", layer(640, 576)),
        ("layer_norm", "1500x512"): ("layer_norm f32", layer(1500, 512)),
        ("softmax", "640x576"): ("softmax f32", unary(lambda x: torch.softmax(x, -1), 640, 576)),
        ("gelu", "750x2048"): ("gelu f32", unary(F.gelu, 750, 2048)),
        ("gelu", "640x576"): ("gelu f32", unary(F.gelu, 640, 576)),
        ("silu_mul", "640x(2x1536)"): ("silu, mul f32", silu_mul(640, 1536)),
        ("add", "640x576"): ("add f32", binary(torch.add, 640, 576)),
        ("mul", "640x576"): ("mul f32", binary(torch.mul, 640, 576)),
        ("rope", "smollm2 queries, half split"): ("chunk, mul, cat f32", rope()),
        ("embedding", "640 ids of 4096x576"): ("embedding f32", embedding()),
        ("matmul", "640x576x32"): ("matmul f32", product(640, 576, 32)),
        ("matmul", "1024x1024x1024"): ("matmul f32", product(1024, 1024, 1024)),
        ("linear", "640x576x1536"): ("linear f32", linear(640, 576, 1536)),
        ("linear", "1500x512x2048"): ("linear f32", linear(1500, 512, 2048)),
        ("linear", "640x576x1536 packed"): ("linear f32", linear(640, 576, 1536)),
        ("linear", "640x576x1536 packed bf16"): ("linear bf16", linear(640, 576, 1536, bf16)),
        ("conv1d", "3000x80x512"): ("conv1d (cuDNN) f32", conv(3000, 80, 512, 1)),
        ("conv1d", "3000x512x512 stride 2"): ("conv1d (cuDNN) f32", conv(3000, 512, 512, 2)),
        ("attention", "smollm2, 4 x 160, causal"): ("scaled_dot_product_attention f32",
                                                    attention([160] * 4, 9, 3, 64, torch.float32)),
        ("attention", "7b, 512, causal"): ("scaled_dot_product_attention f32",
                                           attention([512], 32, 32, 128, torch.float32)),
        ("cross_entropy", "160x576x49152"): ("linear, cross_entropy f32", cross_entropy(160, 576, 49152)),
        ("cross_entropy", "160x576x49152 bf16"): ("linear bf16, cross_entropy f32",
                                                  cross_entropy(160, 576, 49152, bf16)),
    }


def seconds(call, flush):
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    times = []
    for run in range(WARM_UP + RUNS):
        flush.zero_()
        begin.record()
        call()
        end.record()
        end.synchronize()
        if run >= WARM_UP:
            times.append(begin.elapsed_time(end) * 1e-3)
    return statistics.median(times)


def main():
    if not torch.cuda.is_available():
        sys.exit(f"torch {torch.__version__} sees no GPU")
    torch.manual_seed(1)
    torch.backends.cuda.matmul.allow_tf32 = False  # f32 means f32, as here
    torch.backends.cudnn.allow_tf32 = False
    flush = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    results, failed = [], []
    with torch.no_grad():
        for (op, case), (call_name, call) in cases().items():
            try:
                results.append({"op": op, "case": case, "torch": call_name, "seconds": seconds(call, flush)})
            except Exception as error:
                failed.append(f"{op} {case}: {error}")
    json.dump({"torch": torch.__version__, "gpu": torch.cuda.get_device_name(), "cases": results, "failed": failed},
              sys.stdout, indent=1)
    print()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
