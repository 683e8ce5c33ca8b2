"""PyTorch's time for a prompt of 256 tokens through SmolLM2-135M (random weights: time does not depend on them).

The keys and values are kept, as for generation, and only the last position gets logits. Prints one JSON object: per number
format and attention implementation the median, fastest and slowest run in seconds.

    python torch_prompt.py --threads 2 [--modes f32,bf16] [--attention sdpa,eager] [--steps 5]
"""

from common import measure_all, median_times, parse_arguments

TOKENS = 256


def measure(mode, attention, threads, steps):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=2048, rms_norm_eps=1e-5, rope_theta=100000.0,
        tie_word_embeddings=True, use_cache=True, attn_implementation=attention,
    )
    model = LlamaForCausalLM(config).eval().to(torch.bfloat16 if mode == "bf16" else torch.float32)
    ids = torch.randint(0, 49152, (1, TOKENS))

    def run():
        with torch.inference_mode():
            model(input_ids=ids, num_logits_to_keep=1)

    return median_times(run, steps)


if __name__ == "__main__":
    measure_all("prompt", measure, parse_arguments(__doc__))
