"""PyTorch's time and memory for one LoRA training step on a frozen SmolLM2-135M (random weights: time does not depend on them).

LoRA r 32 on q, k, v, o of all 30 layers; inputs are embeddings [4, 160, 576]; labels at 40 positions of each sequence;
forward, backward and Adam. bf16 is autocast. Prints one JSON object: per number format and attention implementation the
median, fastest and slowest step in seconds.

    python torch_train_step.py --threads 2 [--modes f32,bf16] [--attention sdpa,eager] [--steps 5]
"""

from common import measure_all, median_times, parse_arguments

BATCH, LENGTH, TARGETS, RANK, ALPHA = 4, 160, 40, 32, 32


def build_model(attention):
    import torch
    from torch import nn
    from transformers import LlamaConfig, LlamaForCausalLM

    class LoraLinear(nn.Module):
        """y = W x + (alpha / r) * B A x, W frozen."""

        def __init__(self, frozen):
            super().__init__()
            self.frozen = frozen
            self.lora_a = nn.Parameter(torch.empty(RANK, frozen.in_features))
            self.lora_b = nn.Parameter(torch.zeros(frozen.out_features, RANK))
            nn.init.kaiming_uniform_(self.lora_a, a=5**0.5)

        def forward(self, x):
            delta = nn.functional.linear(nn.functional.linear(x, self.lora_a), self.lora_b)
            return self.frozen(x) + (ALPHA / RANK) * delta

    config = LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=2048, rms_norm_eps=1e-5, rope_theta=100000.0,
        tie_word_embeddings=True, use_cache=False, attn_implementation=attention,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).train()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for layer in model.model.layers:
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(layer.self_attn, name, LoraLinear(getattr(layer.self_attn, name)))
    return model


def measure(mode, attention, threads, steps):
    import torch

    torch.set_num_threads(threads)
    model = build_model(attention)
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trainable, lr=1e-4, betas=(0.9, 0.98))
    embeddings = torch.randn(BATCH, LENGTH, 576) * 0.1
    labels = torch.full((BATCH, LENGTH), -100)
    labels[:, -TARGETS:] = torch.randint(0, 49152, (BATCH, TARGETS))

    def step():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mode == "bf16"):
            loss = model(inputs_embeds=embeddings, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    result = median_times(step, steps)
    result["trainable_parameters"] = sum(p.numel() for p in trainable)
    return result


if __name__ == "__main__":
    measure_all("train_step", measure, parse_arguments(__doc__))
