"""A checkpoint with two vision and two decoder layers of the 38 B model's dimensions, and what transformers makes of it
in float32.

  python3 test/gpu/full_layers.py FOLDER [--shape full|small] [--device cuda|cpu] [--seed N]

Writes config.json and model.safetensors in the original InternVLChatModel layout (random bfloat16 weights), the inputs
(tiles.u8, manifest.json) and, as raw float32, tiles.f32 (the tiles behind the projector), hidden.f32 (the residual
behind the last decoder layer, before the final norm) and logits.f32 (of the last token). Ends with 3 where torch or
transformers is missing.
"""

import argparse
import json
import pathlib
import sys

try:
    import torch
    from safetensors.torch import save_file
    from transformers import InternVLConfig, InternVLModel, Qwen2Config
    from transformers.models.internvl.configuration_internvl import InternVLVisionConfig
except ImportError as error:
    print(f"python3 has no {error.name}", file=sys.stderr)
    sys.exit(3)

SHAPES = {
    "full": dict(hidden=5120, mlp=27648, heads=40, kv_heads=8, v_hidden=3200, v_mlp=12800, v_heads=25, side=448, text=300),
    "small": dict(hidden=256, mlp=704, heads=4, kv_heads=2, v_hidden=192, v_mlp=512, v_heads=3, side=112, text=60),
}
LAYERS = 2
TILES = 2
VOCABULARY = 1024
PICTURE_TOKEN = 1000
PATCH = 14
PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)


class Weights:
    """Random tensors by name, in the order in which they are asked for."""

    def __init__(self, device: str, seed: int):
        self.device = device
        self.generator = torch.Generator(device=device).manual_seed(seed)
        self.tensors: dict[str, torch.Tensor] = {}

    def add(self, name: str, shape: tuple[int, ...], std: float, mean: float = 0.0) -> None:
        values = torch.randn(shape, device=self.device, generator=self.generator) * std + mean
        self.tensors[name] = values.to(torch.bfloat16)

    def linear(self, name: str, out: int, into: int, std: float, has_bias: bool = True) -> None:
        self.add(f"{name}.weight", (out, into), std)
        if has_bias:
            self.add(f"{name}.bias", (out,), 0.1)


def make_weights(shape: dict, weights: Weights) -> None:
    """Scales at which attention and MLP weigh alike in the residual and attention has a few favourites among the keys:
    an error in any of them would show."""
    hidden, v_hidden, head_dim = shape["hidden"], shape["v_hidden"], shape["hidden"] // shape["heads"]
    unit = lambda into, gain=1.0: gain * into**-0.5
    positions = (shape["side"] // PATCH) ** 2 + 1
    weights.add("vision_model.embeddings.class_embedding", (1, 1, v_hidden), 0.5)
    weights.add("vision_model.embeddings.position_embedding", (1, positions, v_hidden), 0.3)
    weights.add("vision_model.embeddings.patch_embedding.weight", (v_hidden, 3, PATCH, PATCH), unit(3 * PATCH * PATCH, 0.6))
    weights.add("vision_model.embeddings.patch_embedding.bias", (v_hidden,), 0.1)
    for layer in range(LAYERS):
        base = f"vision_model.encoder.layers.{layer}"
        for norm in ("norm1", "norm2"):
            weights.add(f"{base}.{norm}.weight", (v_hidden,), 0.1, 1.0)
        for norm in ("q_norm", "k_norm"):
            weights.add(f"{base}.attn.{norm}.weight", (v_hidden,), 0.1, 1.5)
        for scale in ("ls1", "ls2"):
            weights.add(f"{base}.{scale}", (v_hidden,), 0.1, 0.5)
        weights.linear(f"{base}.attn.qkv", 3 * v_hidden, v_hidden, unit(v_hidden), has_bias=False)
        weights.linear(f"{base}.attn.proj", v_hidden, v_hidden, unit(v_hidden, 1.5))
        weights.linear(f"{base}.mlp.fc1", shape["v_mlp"], v_hidden, unit(v_hidden))
        weights.linear(f"{base}.mlp.fc2", v_hidden, shape["v_mlp"], unit(shape["v_mlp"], 1.5))
    folded = 4 * v_hidden
    weights.add("mlp1.0.weight", (folded,), 0.1, 1.0)
    weights.add("mlp1.0.bias", (folded,), 0.1)
    weights.linear("mlp1.1", hidden, folded, unit(folded))
    weights.linear("mlp1.3", hidden, hidden, unit(hidden, 1.5))
    weights.add("language_model.model.embed_tokens.weight", (VOCABULARY, hidden), 1.0)
    for layer in range(LAYERS):
        base = f"language_model.model.layers.{layer}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            weights.add(f"{base}.{norm}.weight", (hidden,), 0.1, 1.0)
        weights.linear(f"{base}.self_attn.q_proj", shape["heads"] * head_dim, hidden, unit(hidden))
        for projection, gain in (("k_proj", 1.0), ("v_proj", 1.4)):
            weights.linear(f"{base}.self_attn.{projection}", shape["kv_heads"] * head_dim, hidden, unit(hidden, gain))
        weights.linear(f"{base}.self_attn.o_proj", hidden, shape["heads"] * head_dim, unit(hidden, 4.0), has_bias=False)
        for projection in ("gate_proj", "up_proj"):
            weights.linear(f"{base}.mlp.{projection}", shape["mlp"], hidden, unit(hidden, 1.4), has_bias=False)
        weights.linear(f"{base}.mlp.down_proj", hidden, shape["mlp"], unit(shape["mlp"]), has_bias=False)
    weights.add("language_model.model.norm.weight", (hidden,), 0.1, 1.0)
    weights.linear("language_model.lm_head", VOCABULARY, hidden, unit(hidden), has_bias=False)


def original_config(shape: dict) -> dict:
    return {
        "architectures": ["InternVLChatModel"], "model_type": "internvl_chat", "downsample_ratio": 0.5, "dynamic_image_size": True,
        "force_image_size": shape["side"], "max_dynamic_patch": 12, "min_dynamic_patch": 1, "ps_version": "v2", "select_layer": -1,
        "use_thumbnail": True, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
        "vision_config": {
            "model_type": "intern_vit_6b", "hidden_size": shape["v_hidden"], "num_hidden_layers": LAYERS,
            "num_attention_heads": shape["v_heads"], "intermediate_size": shape["v_mlp"], "image_size": shape["side"],
            "patch_size": PATCH, "qkv_bias": False, "qk_normalization": True, "norm_type": "rms_norm", "layer_norm_eps": 1e-6,
            "hidden_act": "gelu", "num_channels": 3,
        },
        "llm_config": {
            "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": shape["hidden"],
            "num_hidden_layers": LAYERS, "num_attention_heads": shape["heads"], "num_key_value_heads": shape["kv_heads"],
            "intermediate_size": shape["mlp"], "vocab_size": VOCABULARY, "rope_theta": 1e6, "rms_norm_eps": 1e-6,
            "max_position_embeddings": 4096, "hidden_act": "silu", "tie_word_embeddings": False, "use_sliding_window": False,
        },
    }


def reference_model(shape: dict, weights: dict[str, torch.Tensor], device: str) -> InternVLModel:
    """transformers' own model class with the same bfloat16 values, held and computed in float32."""
    config = InternVLConfig(
        text_config=Qwen2Config(
            hidden_size=shape["hidden"], intermediate_size=shape["mlp"], num_hidden_layers=LAYERS, num_attention_heads=shape["heads"],
            num_key_value_heads=shape["kv_heads"], vocab_size=VOCABULARY, rms_norm_eps=1e-6, max_position_embeddings=4096,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6}, tie_word_embeddings=False, use_sliding_window=False,
        ),
        vision_config=InternVLVisionConfig(
            hidden_size=shape["v_hidden"], intermediate_size=shape["v_mlp"], num_hidden_layers=LAYERS, image_size=shape["side"],
            num_attention_heads=shape["v_heads"], patch_size=PATCH, norm_type="rms_norm", use_qk_norm=True, attention_bias=False,
        ),
        image_token_id=PICTURE_TOKEN, tie_word_embeddings=False,
    )
    config._attn_implementation = "eager"
    with torch.device(device):
        model = InternVLModel(config).float().eval()
    renamed: dict[str, torch.Tensor] = {}
    places = {
        "vision_model.embeddings.class_embedding": "vision_tower.embeddings.cls_token",
        "vision_model.embeddings.position_embedding": "vision_tower.embeddings.position_embeddings",
        "vision_model.embeddings.patch_embedding.": "vision_tower.embeddings.patch_embeddings.projection.",
        "mlp1.0.": "multi_modal_projector.layer_norm.", "mlp1.1.": "multi_modal_projector.linear_1.",
        "mlp1.3.": "multi_modal_projector.linear_2.", "language_model.model.": "language_model.",
    }
    inner = {
        "norm1.weight": "layernorm_before.weight", "norm2.weight": "layernorm_after.weight", "ls1": "lambda_1", "ls2": "lambda_2",
        "attn.proj.": "attention.projection_layer.", "attn.q_norm.": "attention.q_norm.", "attn.k_norm.": "attention.k_norm.",
    }
    for name, tensor in weights.items():
        value = tensor.float()
        if name.startswith("vision_model.encoder.layers."):
            layer, rest = name.removeprefix("vision_model.encoder.layers.").split(".", 1)
            base = f"vision_tower.encoder.layer.{layer}."
            if rest == "attn.qkv.weight":
                for part, rows in zip("qkv", value.chunk(3)):
                    renamed[f"{base}attention.{part}_proj.weight"] = rows
                continue
            for old, new in inner.items():
                rest = rest.replace(old, new) if rest.startswith(old) else rest
            renamed[base + rest] = value
            continue
        if name == "language_model.lm_head.weight":
            continue
        old = next(each for each in places if name.startswith(each))
        renamed[places[old] + name.removeprefix(old)] = value
    model.load_state_dict(renamed, strict=True)
    return model


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="full")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    shape, folder = SHAPES[options.shape], options.folder
    weights = Weights(options.device, options.seed)
    make_weights(shape, weights)
    tensors = {name: tensor.cpu().contiguous() for name, tensor in weights.tensors.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(original_config(shape), indent=1))

    side, text = shape["side"], shape["text"]
    cpu = torch.Generator().manual_seed(options.seed)
    tiles = torch.randint(0, 256, (TILES, side, side, 3), dtype=torch.uint8, generator=cpu)
    rows = TILES * (side // PATCH // 2) ** 2
    first = text // 2
    ids = torch.randint(0, PICTURE_TOKEN, (text + rows,), generator=cpu)
    ids[first : first + rows] = PICTURE_TOKEN

    model = reference_model(shape, weights.tensors, options.device)
    pixels = tiles.to(options.device).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(each, device=options.device).view(1, 3, 1, 1) for each in (PIXEL_MEAN, PIXEL_STD))
    pixels = (pixels - mean) / std
    kept: list[torch.Tensor] = []
    # Behind the last layer: output_hidden_states gives the normed rows there.
    model.language_model.layers[-1].register_forward_hook(
        lambda _module, _inputs, output: kept.append(output[0] if isinstance(output, tuple) else output)
    )
    with torch.inference_mode():
        outputs = model.get_image_features(pixels, vision_feature_layer=-1, vision_feature_select_strategy="default").pooler_output
        normed = model(
            input_ids=ids[None].to(options.device),
            pixel_values=pixels,
            vision_feature_layer=-1,
            vision_feature_select_strategy="default",
        ).last_hidden_state
        logits = weights.tensors["language_model.lm_head.weight"].float() @ normed[0, -1].float()
    tiles.numpy().tofile(folder / "tiles.u8")
    outputs.reshape(rows, -1).float().cpu().numpy().tofile(folder / "tiles.f32")
    kept[0].reshape(text + rows, -1).float().cpu().numpy().tofile(folder / "hidden.f32")
    logits.cpu().numpy().tofile(folder / "logits.f32")
    manifest = {
        "shape": options.shape, "seed": options.seed, "numTiles": TILES, "tileRows": rows, "hiddenSize": shape["hidden"],
        "firstPosition": first, "tokenIds": ids.tolist(), "torch": torch.__version__,
        "tilesRms": outputs.square().mean().sqrt().item(), "hiddenRms": kept[0].square().mean().sqrt().item(),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


if __name__ == "__main__":
    main()
