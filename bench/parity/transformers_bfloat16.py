"""What Hugging Face transformers itself computes in bfloat16 for the golden models, beside its float32 values: the
control for ours.

    node dist/bench/parity/golden.js --dump FOLDER
    python3 bench/parity/transformers_bfloat16.py FOLDER [OUTPUT]

Needs torch, transformers 5 and safetensors; runs on the CPU.
"""

import base64
import json
import re
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import InternVLConfig, InternVLForConditionalGeneration, Qwen2Config, Qwen2ForCausalLM

GOLDEN = Path(__file__).resolve().parents[2] / "test/golden"
MODELS = ["tiny-text", "tiny-6b-vit", "tiny-300m-vit", "tiny-bf16-sharded", "tiny-awq", "tiny-hf-layout"]
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
# Bit offset of column j of the eight in an AWQ word (AutoAWQ's gemm packing).
AWQ_OFFSETS = [0, 16, 4, 20, 8, 24, 12, 28]
AWQ_GROUP = 128

RENAMES = [
    (r"^vision_model\.embeddings\.class_embedding", "model.vision_tower.embeddings.cls_token"),
    (r"^vision_model\.embeddings\.position_embedding", "model.vision_tower.embeddings.position_embeddings"),
    (r"^vision_model\.embeddings\.patch_embedding", "model.vision_tower.embeddings.patch_embeddings.projection"),
    (r"^vision_model\.encoder\.layers", "model.vision_tower.encoder.layer"),
    (r"(encoder\.layer\.\d+)\.norm1", r"\1.layernorm_before"),
    (r"(encoder\.layer\.\d+)\.norm2", r"\1.layernorm_after"),
    (r"\.attn\.(q_norm|k_norm|qkv)", r".attention.\1"),
    (r"\.attn\.proj", ".attention.projection_layer"),
    (r"\.ls([12])$", r".lambda_\1"),
    (r"^mlp1\.0", "model.multi_modal_projector.layer_norm"),
    (r"^mlp1\.1", "model.multi_modal_projector.linear_1"),
    (r"^mlp1\.3", "model.multi_modal_projector.linear_2"),
    (r"^language_model\.model\.", "model.language_model."),
    (r"^language_model\.lm_head", "lm_head"),
]


def unpack(words):
    columns = [(words >> offset) & 15 for offset in AWQ_OFFSETS]
    return np.stack(columns, -1).reshape(words.shape[0], -1).astype(np.float32)


def dequantised(tensors):
    """AWQ triples as plain weights, everything as float32."""
    plain = {}
    for name, tensor in tensors.items():
        if name.endswith(".qweight"):
            base = name[: -len(".qweight")]
            weight = unpack(tensor.numpy().view(np.uint32))
            zeros = unpack(tensors[base + ".qzeros"].numpy().view(np.uint32))
            groups = np.arange(weight.shape[0]) // AWQ_GROUP
            scales = tensors[base + ".scales"].float().numpy()
            plain[base + ".weight"] = torch.from_numpy(((weight - zeros[groups]) * scales[groups]).T.copy())
        elif not name.endswith((".qzeros", ".scales")):
            plain[name] = tensor.float()
    return plain


def in_native_layout(tensors):
    native = {}
    for name, tensor in tensors.items():
        for pattern, replacement in RENAMES:
            name = re.sub(pattern, replacement, name)
        if ".attention.qkv." in name:
            for part, piece in zip("qkv", tensor.chunk(3, 0)):
                native[name.replace("qkv", part + "_proj")] = piece
        else:
            native[name] = tensor
    return native


def make_model(name, cases, side):
    folder = GOLDEN / name
    config = json.loads((folder / "config.json").read_text())
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors.update(load_file(file))
    tensors = dequantised(tensors)
    if name == "tiny-text":
        model = Qwen2ForCausalLM(Qwen2Config(**{k: v for k, v in config.items() if k != "architectures"}))
    elif name == "tiny-hf-layout":
        model = InternVLForConditionalGeneration(InternVLConfig(**config))
    else:
        vision = config["vision_config"]
        skipped = ("architectures", "quantization_config", "rope_scaling")
        text = {k: v for k, v in config["llm_config"].items() if k not in skipped}
        with_picture = next(case for case in cases if case["pictures"])
        model = InternVLForConditionalGeneration(
            InternVLConfig(
                vision_config={
                    "hidden_size": vision["hidden_size"],
                    "num_hidden_layers": vision["num_hidden_layers"],
                    "num_attention_heads": vision["num_attention_heads"],
                    "attention_bias": vision["qkv_bias"],
                    "use_qk_norm": vision["qk_normalization"],
                    "intermediate_size": vision["intermediate_size"],
                    "norm_type": vision["norm_type"],
                    "layer_norm_eps": vision["layer_norm_eps"],
                    "image_size": [side, side],
                    "patch_size": [14, 14],
                },
                text_config=text,
                image_token_id=with_picture["ids"][with_picture["pictures"][0]["first"]],
                tie_word_embeddings=bool(text.get("tie_word_embeddings", False)),
            )
        )
        tensors = in_native_layout(tensors)
    outcome = model.load_state_dict(tensors, strict=False)
    missing = [key for key in outcome.missing_keys if key != "lm_head.weight"]
    if missing or outcome.unexpected_keys:
        raise SystemExit(f"{name}: missing {missing}, unexpected {outcome.unexpected_keys}")
    model.tie_weights()
    return model.eval()


def distance(model, cases, side, dtype):
    """The greatest difference of a log-probability, and the greatest mean of a case."""
    model.to(dtype)
    greatest = greatest_mean = 0.0
    for case in cases:
        inputs = {"input_ids": torch.tensor([case["ids"]])}
        if case["pictures"]:
            pixels = [
                torch.frombuffer(bytearray(base64.b64decode(picture["pixels"])), dtype=torch.uint8).view(-1, side, side, 3)
                for picture in case["pictures"]
            ]
            values = torch.cat(pixels).permute(0, 3, 1, 2).float() / 255
            inputs["pixel_values"] = ((values - MEAN) / STD).to(dtype)
        with torch.no_grad():
            logits = model(**inputs).logits[0, -1].float()
        logprobs = torch.log_softmax(logits, -1)[case["top_ids"]]
        differences = (logprobs - torch.tensor(case["top_logprobs"])).abs()
        greatest = max(greatest, differences.max().item())
        greatest_mean = max(greatest_mean, differences.mean().item())
    return {"greatest": float(f"{greatest:.4g}"), "greatest_mean": float(f"{greatest_mean:.4g}")}


def main():
    import transformers

    results = []
    for name in MODELS:
        content = json.loads((Path(sys.argv[1]) / f"{name}.json").read_text())
        model = make_model(name, content["cases"], content["side"])
        result = {"model": name}
        for dtype in (torch.float32, torch.bfloat16):
            result[str(dtype).removeprefix("torch.")] = distance(model, content["cases"], content["side"], dtype)
        results.append(result)
        print(json.dumps(result), flush=True)
    if len(sys.argv) > 2:
        report = {
            "what": "transformers on the CPU against its own float32 values of the golden models",
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "results": results,
        }
        Path(sys.argv[2]).write_text(json.dumps(report, indent=2) + "\n")


main()
