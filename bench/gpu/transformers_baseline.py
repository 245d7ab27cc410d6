"""Hugging Face transformers on the same GPU and shape as Skein's benchmarks: the 38 B model in bfloat16 with random
weights.

Prints one JSON object: the GPU's read bandwidth and bfloat16 product rate, time to the first token of a text and of a
picture with a question, milliseconds per token at each batch; with --rows also what the other rows of one-gpu's table
ask: prompts of 128 tokens of text by batch, and a long one. Everything is transformers' default (sdpa, dynamic cache);
no picture is decoded or tiled.

  python3 bench/gpu/transformers_baseline.py [--batches 1,16] [--rows] [--seconds 110] [--device-map auto]
  python3 bench/gpu/transformers_baseline.py --small --device cpu

With --device-map auto the layers are dealt out over all GPUs that the process sees, which then work one after the
other.
"""

import argparse
import json
import statistics
import sys
import time

import torch
import transformers
from transformers import InternVLConfig, InternVLForConditionalGeneration, Qwen2Config
from transformers.models.internvl.configuration_internvl import InternVLVisionConfig

import transformers_device_map

PICTURE_TILES = 5
QUESTION_TOKENS = 64
TEXT_TOKENS = 1024
ROW_TOKENS = 128
ROW_BATCHES = (1, 16, 64, 256)
LONG_TOKENS = 7000
PICTURE_TOKEN = 7
REPETITIONS = 3


def make_config(small: bool) -> InternVLConfig:
    """Skywork-R1V3-38B: Qwen2.5-32B and InternViT-6B; small: a shape of the same kind for a trial without a GPU."""
    text = dict(hidden_size=5120, intermediate_size=27648, num_hidden_layers=64, num_attention_heads=40, num_key_value_heads=8)
    vision = dict(hidden_size=3200, intermediate_size=12800, num_hidden_layers=45, num_attention_heads=25, image_size=448)
    vocab_size = 151_674
    if small:
        text = dict(hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)
        vision = dict(hidden_size=96, intermediate_size=192, num_hidden_layers=2, num_attention_heads=3, image_size=112)
        vocab_size = 1000
    side = vision["image_size"] // 14 // 2
    return InternVLConfig(
        text_config=Qwen2Config(
            **text, vocab_size=vocab_size, rope_parameters={"rope_type": "default", "rope_theta": 1e6},
            rms_norm_eps=1e-6, max_position_embeddings=32768, tie_word_embeddings=False,
        ),
        vision_config=InternVLVisionConfig(**vision, patch_size=14, norm_type="rms_norm", use_qk_norm=True, attention_bias=False),
        image_token_id=PICTURE_TOKEN, image_seq_length=side * side, tie_word_embeddings=False,
    )


class Timer:
    def __init__(self, device: torch.device):
        self.devices = [device]
        self.started = time.perf_counter()

    def synchronize(self) -> None:
        for device in self.devices:
            if device.type == "cuda":
                torch.cuda.synchronize(device)

    def ms(self, call) -> float:
        self.synchronize()
        start = time.perf_counter()
        call()
        self.synchronize()
        return (time.perf_counter() - start) * 1e3

    def elapsed_s(self) -> float:
        return time.perf_counter() - self.started


def measure_device(timer: Timer, device: torch.device) -> dict:
    """What the device reads and multiplies at best: the ceilings that the other numbers are compared with."""
    is_cuda = device.type == "cuda"
    elements = 2 * 2**30 if is_cuda else 2**22
    values = torch.ones(elements, dtype=torch.float32, device=device)
    # Reductions do little but read; the fastest of them is the ceiling.
    reductions = [values.sum, values.amax, values.view(torch.int64).amax]
    read_ms = [timer.ms(reduce) for reduce in reductions for _ in range(8)]
    size = 8192 if is_cuda else 512
    left = torch.randn(size, size, dtype=torch.bfloat16, device=device)
    right = torch.randn(size, size, dtype=torch.bfloat16, device=device)
    product_ms = [timer.ms(lambda: left @ right) for _ in range(13)][3:]
    return {
        "readBandwidthTBps": round(elements * 4 / min(read_ms) / 1e9, 3),
        "bf16TFLOPs": round(2 * size**3 / statistics.median(product_ms) / 1e9, 1),
    }


class Bench:
    def __init__(self, model: InternVLForConditionalGeneration, timer: Timer, device: torch.device):
        self.model, self.timer, self.device = model, timer, device
        config = model.config
        self.vocab_size = config.text_config.vocab_size
        self.tokens_per_tile = config.image_seq_length
        self.side = config.vision_config.image_size[0]
        self.generator = torch.Generator(device=device).manual_seed(0)

    def ids(self, batch: int, count: int) -> torch.Tensor:
        return torch.randint(10, self.vocab_size, (batch, count), device=self.device, generator=self.generator)

    def inputs(self, batch: int, kind: str, text_tokens: int) -> dict:
        if kind == "text":
            ids = self.ids(batch, text_tokens)
            return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        picture = torch.full((batch, PICTURE_TILES * self.tokens_per_tile), PICTURE_TOKEN, device=self.device)
        ids = torch.cat([self.ids(batch, 4), picture, self.ids(batch, QUESTION_TOKENS - 4)], dim=1)
        shape = (batch * PICTURE_TILES, 3, self.side, self.side)
        pixels = torch.randn(shape, device=self.device, generator=self.generator).to(torch.bfloat16)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}

    def generate_ms(self, inputs: dict, tokens: int) -> float:
        def call() -> None:
            out = self.model.generate(**inputs, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, pad_token_id=0)
            assert out.shape[1] == inputs["input_ids"].shape[1] + tokens, out.shape
        return self.timer.ms(call)

    def first_token(self, kind: str, text_tokens: int = TEXT_TOKENS) -> dict:
        self.generate_ms(self.inputs(1, kind, text_tokens), 1)
        samples = [self.generate_ms(self.inputs(1, kind, text_tokens), 1) for _ in range(REPETITIONS)]
        said = {"promptTokens": text_tokens} if kind == "text" else {}
        return {"batch": 1, "prompt": kind, **said, "firstTokenMs": [round(each, 1) for each in samples]}

    def per_token(self, batch: int, tokens: int, kind: str = "picture", text_tokens: int = TEXT_TOKENS) -> dict:
        """From two lengths of one prompt: what the second has more is decoding."""
        inputs = self.inputs(batch, kind, text_tokens)
        self.generate_ms(inputs, 2)
        first_ms = self.generate_ms(inputs, 1)
        total_ms = self.generate_ms(inputs, tokens + 1)
        said = {"promptTokens": text_tokens} if kind == "text" else {}
        return {
            "batch": batch, "prompt": kind, **said, "newTokens": tokens + 1,
            "firstTokenMs": [round(first_ms, 1)], "tokenMs": round((total_ms - first_ms) / tokens, 2),
        }


def make_model(small: bool) -> InternVLForConditionalGeneration:
    return InternVLForConditionalGeneration(make_config(small)).eval()


def all_devices(device: torch.device) -> list[torch.device]:
    """Every GPU that the process sees; on a CPU two parts of it, for a trial."""
    if device.type == "cuda":
        return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return [device, device]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", default="1,16")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=110, help="no new measurement is begun after these many")
    parser.add_argument("--device-map", choices=["auto"], help="over all GPUs; without it everything is on one")
    parser.add_argument("--rows", action="store_true", help="also short prompts of text by batch, and a long one")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--ceilings-only", action="store_true", help="only the device's bandwidth and product rate")
    options = parser.parse_args()
    device = torch.device(options.device)
    timer = Timer(device)
    report = {
        "benchmark": "transformers", "transformers": transformers.__version__, "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "model": "small" if options.small else "skywork-r1v3-38b", "dtype": "bfloat16", "weights": "random",
        "ceilings": measure_device(timer, device),
    }
    if not options.ceilings_only:
        if device.type == "cuda":
            torch.cuda.empty_cache()
        torch.set_default_dtype(torch.bfloat16)
        start = time.perf_counter()
        layout = {}
        if options.device_map:
            timer.devices = all_devices(device)
            model, layout = transformers_device_map.build(lambda: make_model(options.small), timer.devices)
        else:
            with torch.device(device):
                model = make_model(options.small)
        torch.set_default_dtype(torch.float32)
        timer.synchronize()
        parameters = sum(each.numel() for each in model.parameters())
        report |= {"parameters": parameters, "loadSeconds": round(time.perf_counter() - start, 1), "results": []}
        report |= layout
        report["attention"] = model.config.text_config._attn_implementation
        bench = Bench(model, timer, device)
        runs = [lambda: bench.first_token("text"), lambda: bench.first_token("picture")]
        for batch in map(int, options.batches.split(",")):
            runs.append(lambda batch=batch: bench.per_token(batch, 64 if batch == 1 else 32))
        if options.rows:
            runs += [lambda: bench.first_token("text", LONG_TOKENS)]
            for batch in ROW_BATCHES:
                tokens = 64 if batch == 1 else 32
                runs.append(lambda batch=batch, tokens=tokens: bench.per_token(batch, tokens, "text", ROW_TOKENS))
        with torch.inference_mode():
            for run in runs:
                if timer.elapsed_s() > options.seconds:
                    report["cutShort"] = True
                    break
                try:
                    report["results"].append(run())
                except torch.OutOfMemoryError as error:  # One case that does not fit leaves the others.
                    report["results"].append({"failed": str(error).splitlines()[0]})
                print(json.dumps(report["results"][-1]), file=sys.stderr, flush=True)
        if device.type == "cuda":
            peaks = [torch.cuda.max_memory_allocated(each) // 2**20 for each in timer.devices]
            report["peakMemoryMiB"] = max(peaks)
            if options.device_map:
                report["peakMemoryMiBByDevice"] = peaks
    report["seconds"] = round(timer.elapsed_s(), 1)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
