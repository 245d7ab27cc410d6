"""Writes tiny-fp8 and tiny-fp8-static: the weights of tiny-text in float8 e4m3, in the form of compressed-tensors, and
what an own computation in numpy makes of them. Needs numpy and tokenizers.

    python3 make-tiny-fp8.py

tiny-fp8: a scale per output channel; each row of activations gets a scale of its own.
tiny-fp8-static: a scale per tensor, static scales of activations; some linears are left as they are.
"""

import hashlib
import json
import math
import shutil
import struct
from pathlib import Path

import numpy
from tokenizers import Tokenizer

FOLDER = Path(__file__).parent
SOURCE = FOLDER / "tiny-text"
LINEARS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
           "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
NUM_TOKENS = 24


def float8_values():
    """The values of codes 0 to 0x7e, ascending."""
    values = []
    for code in range(0x7F):
        exponent, mantissa = code >> 3, code & 7
        values.append(mantissa * 2.0**-9 if exponent == 0 else (8 + mantissa) * 2.0 ** (exponent - 10))
    return numpy.array(values)


VALUES = float8_values()


def to_codes(array):
    """The nearest value, the even code of two that are as near; 448 beyond 448."""
    magnitude = numpy.minimum(numpy.abs(array.astype(numpy.float64)), 448.0)
    above = numpy.clip(numpy.searchsorted(VALUES, magnitude), 1, len(VALUES) - 1)
    below = above - 1
    to_above, to_below = VALUES[above] - magnitude, magnitude - VALUES[below]
    takes_above = (to_above < to_below) | ((to_above == to_below) & (above % 2 == 0))
    codes = numpy.where(takes_above, above, below).astype(numpy.uint8)
    return codes | (numpy.signbit(array).astype(numpy.uint8) << 7)


def to_values(codes):
    return numpy.where(codes & 0x80, -1.0, 1.0) * VALUES[codes & 0x7F]


def read_safetensors(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32"
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = numpy.frombuffer(data[begin:end], numpy.float32).reshape(entry["shape"])
    return tensors


def write_safetensors(path, tensors):
    names = {numpy.dtype(numpy.float32): "F32", numpy.dtype(numpy.uint8): "F8_E4M3"}
    header, offset = {}, 0
    for name, array in tensors.items():
        header[name] = {
            "dtype": names[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(a.tobytes() for a in tensors.values()))


class Model:
    """Qwen2 in float64, with float8 products where a weight has a scale."""

    def __init__(self, config, tensors):
        self.config = config
        self.tensors = tensors
        self.largest_inputs = {}

    def linear(self, prefix, x):
        weight = self.tensors[f"{prefix}.weight"]
        bias = self.tensors.get(f"{prefix}.bias", 0.0)
        largest = float(numpy.abs(x).max())
        self.largest_inputs[prefix] = max(self.largest_inputs.get(prefix, 0.0), largest)
        if weight.dtype != numpy.uint8:
            return x @ weight.T.astype(numpy.float64) + bias
        rows = x.astype(numpy.float32)
        scale = self.tensors.get(f"{prefix}.input_scale")
        if scale is None:
            scale = numpy.abs(rows).max(axis=1, keepdims=True) / numpy.float32(448)
        quantized = to_values(to_codes(rows * (numpy.float32(1) / scale)))
        scales = self.tensors[f"{prefix}.weight_scale"].reshape(-1).astype(numpy.float64)
        return quantized @ to_values(weight).T * scale * scales + bias

    def norm(self, name, x):
        mean = (x * x).mean(axis=1, keepdims=True)
        return x / numpy.sqrt(mean + self.config["rms_norm_eps"]) * self.tensors[name]

    def rotate(self, x):
        half = x.shape[-1] // 2
        frequencies = self.config["rope_theta"] ** (-numpy.arange(half) / half)
        angles = numpy.arange(x.shape[0])[:, None, None] * frequencies
        left, right = x[..., :half], x[..., half:]
        cosine, sine = numpy.cos(angles), numpy.sin(angles)
        return numpy.concatenate([left * cosine - right * sine, right * cosine + left * sine], axis=-1)

    def attention(self, prefix, x):
        heads, groups = self.config["num_attention_heads"], self.config["num_key_value_heads"]
        size, rows = self.config["hidden_size"] // heads, len(x)
        q = self.rotate(self.linear(f"{prefix}.q_proj", x).reshape(rows, heads, size))
        k = self.rotate(self.linear(f"{prefix}.k_proj", x).reshape(rows, groups, size))
        v = self.linear(f"{prefix}.v_proj", x).reshape(rows, groups, size)
        k, v = (numpy.repeat(array, heads // groups, axis=1) for array in (k, v))
        scores = numpy.einsum("qhd,khd->hqk", q, k) / math.sqrt(size)
        scores = numpy.where(numpy.tri(rows, dtype=bool), scores, -numpy.inf)
        weights = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed = numpy.einsum("hqk,khd->qhd", weights, v).reshape(rows, heads * size)
        return self.linear(f"{prefix}.o_proj", mixed)

    def log_probabilities(self, ids):
        """After the last of the ids."""
        x = self.tensors["model.embed_tokens.weight"][ids].astype(numpy.float64)
        for layer in range(self.config["num_hidden_layers"]):
            prefix = f"model.layers.{layer}"
            x = x + self.attention(f"{prefix}.self_attn", self.norm(f"{prefix}.input_layernorm.weight", x))
            inner = self.norm(f"{prefix}.post_attention_layernorm.weight", x)
            gate = self.linear(f"{prefix}.mlp.gate_proj", inner)
            up = self.linear(f"{prefix}.mlp.up_proj", inner)
            x = x + self.linear(f"{prefix}.mlp.down_proj", gate / (1 + numpy.exp(-gate)) * up)
        logits = self.linear("lm_head", self.norm("model.norm.weight", x[-1:]))[0]
        logits = logits - logits.max()
        return logits - math.log(numpy.exp(logits).sum())


def quantize(tensors, per_channel, input_scales, ignored):
    result = {}
    for name, array in tensors.items():
        prefix = name.removesuffix(".weight")
        if not prefix.endswith(LINEARS) or name == prefix or any(part in prefix for part in ignored):
            result[name] = array
            continue
        axis = 1 if per_channel else None
        scale = numpy.abs(array).max(axis=axis, keepdims=True).astype(numpy.float32) / numpy.float32(448)
        result[name] = to_codes(array * (numpy.float32(1) / scale))
        result[f"{prefix}.weight_scale"] = scale if per_channel else scale.reshape(1)
        if input_scales is not None:
            result[f"{prefix}.input_scale"] = numpy.array([input_scales[prefix] / 448], numpy.float32)
    return result


def quantization_config(per_channel, is_static, ignored):
    scheme = {"num_bits": 8, "type": "float", "symmetric": True, "group_size": None, "block_structure": None}
    return {
        "quant_method": "compressed-tensors",
        "format": "float-quantized",
        "quantization_status": "compressed",
        "kv_cache_scheme": None,
        "ignore": ["lm_head", *(f"re:.*{part}.*" for part in ignored)],
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": {**scheme, "strategy": "channel" if per_channel else "tensor", "dynamic": False},
                "input_activations": {
                    **scheme,
                    "strategy": "tensor" if is_static else "token",
                    "dynamic": not is_static,
                },
                "output_activations": None,
            }
        },
    }


def expected_cases(model):
    tokenizer = Tokenizer.from_file(str(SOURCE / "tokenizer.json"))
    cases = []
    for case in json.loads((SOURCE / "expected.json").read_text()):
        ids = tokenizer.encode(case["prompt"], add_special_tokens=False).ids
        digest = hashlib.sha256(json.dumps(ids, separators=(",", ":")).encode()).hexdigest()
        assert digest == case["prompt_ids_sha256"], case["question"]
        greedy, gaps, first = [], [], None
        for _ in range(NUM_TOKENS):
            values = model.log_probabilities(ids + greedy)
            order = numpy.argsort(-values, kind="stable")
            first = (order, values) if first is None else first
            gaps.append(round(float(values[order[0]] - values[order[1]]), 5))
            greedy.append(int(order[0]))
        order, values = first
        cases.append({
            **case,
            "top_ids": [int(i) for i in order[:8]],
            "top_logprobs": [round(float(values[i]), 7) for i in order[:8]],
            "greedy_ids": greedy,
            "greedy_gap": gaps,
            "greedy_text": tokenizer.decode(greedy, skip_special_tokens=False),
        })
    return cases


def main():
    config = json.loads((SOURCE / "config.json").read_text())
    tensors = read_safetensors(SOURCE / "model.safetensors")
    plain = Model(config, tensors)
    # The computation is right where nothing is quantised.
    for ours, theirs in zip(expected_cases(plain), json.loads((SOURCE / "expected.json").read_text())):
        assert ours["greedy_ids"] == theirs["greedy_ids"] and ours["top_ids"] == theirs["top_ids"]
        assert numpy.allclose(ours["top_logprobs"], theirs["top_logprobs"], atol=1e-4)
    for name, per_channel, ignored in (("tiny-fp8", True, ()), ("tiny-fp8-static", False, ("layers.1.mlp.down",))):
        scales = None if per_channel else plain.largest_inputs
        folder = FOLDER / name
        folder.mkdir(exist_ok=True)
        for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
            shutil.copy(SOURCE / file, folder / file)
        quantized = quantize(tensors, per_channel, scales, ignored)
        write_safetensors(folder / "model.safetensors", quantized)
        settings = {**config, "quantization_config": quantization_config(per_channel, not per_channel, ignored)}
        (folder / "config.json").write_text(json.dumps(settings, indent=1) + "\n")
        cases = expected_cases(Model(config, quantized))
        (folder / "expected.json").write_text(json.dumps(cases, indent=1, ensure_ascii=False) + "\n")


main()
