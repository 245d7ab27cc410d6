"""The model in plain torch: InternViT with q/k norms, pixel shuffle v2, projector, Qwen2 decoder.

Owns the architecture and its config.json; parameter names are those of an InternVLChatModel checkpoint. Knows nothing
of tasks, tokens or training.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Shape:
    """Dimensions of the model; the defaults are r1v-nano's."""

    vocab_size: int
    tile: int = 224
    patch: int = 14
    vision_hidden: int = 160
    vision_layers: int = 5
    vision_heads: int = 5
    vision_intermediate: int = 640
    hidden: int = 256
    layers: int = 6
    heads: int = 8
    kv_heads: int = 4
    intermediate: int = 704
    rope_theta: float = 10000.0
    norm_eps: float = 1e-6
    max_positions: int = 4096

    @property
    def patches(self) -> int:
        return (self.tile // self.patch) ** 2

    @property
    def image_tokens(self) -> int:
        return self.patches // 4


def model_config(shape: Shape) -> dict:
    return {
        'architectures': ['SkyworkR1VChatModel'],
        'model_type': 'skywork_chat',
        'downsample_ratio': 0.5,
        'dynamic_image_size': False,
        'force_image_size': shape.tile,
        'max_dynamic_patch': 1,
        'min_dynamic_patch': 1,
        'ps_version': 'v2',
        'select_layer': -1,
        'template': 'internvl2_5',
        'use_thumbnail': False,
        'pad2square': False,
        'hidden_size': shape.hidden,
        'tie_word_embeddings': False,
        'torch_dtype': 'bfloat16',
        'vision_config': {
            'architectures': ['InternVisionModel'],
            'model_type': 'intern_vit_6b',
            'hidden_size': shape.vision_hidden,
            'num_hidden_layers': shape.vision_layers,
            'num_attention_heads': shape.vision_heads,
            'intermediate_size': shape.vision_intermediate,
            'image_size': shape.tile,
            'patch_size': shape.patch,
            'qkv_bias': False,
            'qk_normalization': True,
            'norm_type': 'rms_norm',
            'layer_norm_eps': shape.norm_eps,
            'hidden_act': 'gelu',
            'num_channels': 3,
            'initializer_factor': 0.1,
            'torch_dtype': 'bfloat16',
        },
        'llm_config': {
            'architectures': ['Qwen2ForCausalLM'],
            'model_type': 'qwen2',
            'hidden_size': shape.hidden,
            'num_hidden_layers': shape.layers,
            'num_attention_heads': shape.heads,
            'num_key_value_heads': shape.kv_heads,
            'intermediate_size': shape.intermediate,
            'vocab_size': shape.vocab_size,
            'rope_theta': shape.rope_theta,
            'rms_norm_eps': shape.norm_eps,
            'max_position_embeddings': shape.max_positions,
            'hidden_act': 'silu',
            'tie_word_embeddings': False,
            'attention_dropout': 0.0,
            'use_sliding_window': False,
            'torch_dtype': 'bfloat16',
        },
    }


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


class VisionAttention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.vision_hidden
        self.heads = shape.vision_heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_norm = RMSNorm(width, shape.norm_eps)
        self.k_norm = RMSNorm(width, shape.norm_eps)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        n, t, width = x.shape
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        # Over all heads together, before they part.
        q, k = self.q_norm(q).to(v.dtype), self.k_norm(k).to(v.dtype)
        q, k, v = (y.view(n, t, self.heads, -1).transpose(1, 2) for y in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).reshape(n, t, width))


class VisionMlp(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.fc1 = nn.Linear(shape.vision_hidden, shape.vision_intermediate)
        self.fc2 = nn.Linear(shape.vision_intermediate, shape.vision_hidden)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class VisionLayer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.vision_hidden
        self.norm1, self.norm2 = RMSNorm(width, shape.norm_eps), RMSNorm(width, shape.norm_eps)
        self.attn = VisionAttention(shape)
        self.mlp = VisionMlp(shape)
        self.ls1, self.ls2 = nn.Parameter(torch.full((width,), 0.5)), nn.Parameter(torch.full((width,), 0.5))

    def forward(self, x):
        x = x + self.ls1 * self.attn(self.norm1(x))
        return x + self.ls2 * self.mlp(self.norm2(x))


class VisionEmbeddings(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.vision_hidden
        self.patch = shape.patch
        self.class_embedding = nn.Parameter(torch.zeros(1, 1, width))
        self.patch_embedding = nn.Conv2d(3, width, shape.patch, stride=shape.patch)
        self.position_embedding = nn.Parameter(torch.zeros(1, shape.patches + 1, width))

    def forward(self, pixels):
        n, channels, side, _ = pixels.shape
        grid, p = side // self.patch, self.patch
        # The convolution as a product: channel, row, column is the order in which its weight is stored.
        patches = pixels.view(n, channels, grid, p, grid, p).permute(0, 2, 4, 1, 3, 5).reshape(n, grid * grid, -1)
        x = F.linear(patches, self.patch_embedding.weight.flatten(1), self.patch_embedding.bias)
        x = torch.cat((self.class_embedding.to(x.dtype).expand(n, -1, -1), x), dim=1)
        return x + self.position_embedding


class VisionEncoder(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.layers = nn.ModuleList(VisionLayer(shape) for _ in range(shape.vision_layers))


class VisionModel(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embeddings = VisionEmbeddings(shape)
        self.encoder = VisionEncoder(shape)

    def forward(self, pixels):
        x = self.embeddings(pixels)
        for layer in self.encoder.layers:
            x = layer(x)
        return x[:, 1:]


def rotate(x, cos, sin):
    """Dimension i pairs with i + head_dim / 2."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class KeyValueCache:
    """Keys and values of one layer, [batch, kv heads, positions, head_dim]; rows may have different lengths."""

    def __init__(self, batch: int, shape: Shape, positions: int, like: torch.Tensor) -> None:
        size = (batch, shape.kv_heads, positions, shape.hidden // shape.heads)
        self.keys, self.values = like.new_zeros(size), like.new_zeros(size)

    def store(self, keys, values, positions) -> None:
        """positions [batch, t]: where each of the t new entries of a row goes."""
        index = positions[:, None, :, None].expand_as(keys)
        self.keys.scatter_(2, index, keys)
        self.values.scatter_(2, index, values)


class DecoderAttention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head_dim = shape.hidden // shape.heads
        self.q_proj = nn.Linear(shape.hidden, shape.heads * self.head_dim)
        self.k_proj = nn.Linear(shape.hidden, shape.kv_heads * self.head_dim)
        self.v_proj = nn.Linear(shape.hidden, shape.kv_heads * self.head_dim)
        self.o_proj = nn.Linear(shape.heads * self.head_dim, shape.hidden, bias=False)

    def forward(self, x, cos, sin, cache=None, positions=None):
        n, t, _ = x.shape
        q, k, v = (
            proj(x).view(n, t, -1, self.head_dim).transpose(1, 2) for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        mask = None
        if cache is not None:
            cache.store(k, v, positions)
            k, v = cache.keys, cache.values
            mask = torch.arange(k.shape[2], device=x.device) <= positions[:, None, :, None]
        repeat = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(repeat, dim=1), v.repeat_interleave(repeat, dim=1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.o_proj(out.transpose(1, 2).reshape(n, t, -1))


class DecoderMlp(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.down_proj = nn.Linear(shape.intermediate, shape.hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden, shape.norm_eps)
        self.post_attention_layernorm = RMSNorm(shape.hidden, shape.norm_eps)
        self.self_attn = DecoderAttention(shape)
        self.mlp = DecoderMlp(shape)

    def forward(self, x, cos, sin, cache=None, positions=None):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, cache, positions)
        return x + self.mlp(self.post_attention_layernorm(x))


class DecoderModel(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden)
        self.layers = nn.ModuleList(DecoderLayer(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.hidden, shape.norm_eps)

    def forward(self, x, positions, caches=None):
        """x [batch, t, hidden], positions [batch or 1, t]; without caches the rows are causal from position 0."""
        head_dim = self.shape.hidden // self.shape.heads
        exponents = torch.arange(0, head_dim, 2, device=x.device, dtype=torch.float32) / head_dim
        angles = positions[:, None, :, None].float() * self.shape.rope_theta**-exponents
        angles = torch.cat((angles, angles), dim=-1)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        for index, layer in enumerate(self.layers):
            x = layer(x, cos, sin, caches[index] if caches else None, positions)
        return self.norm(x)


class LanguageModel(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.model = DecoderModel(shape)
        self.lm_head = nn.Linear(shape.hidden, shape.vocab_size, bias=False)


class Network(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.vision_model = VisionModel(shape)
        wide = 4 * shape.vision_hidden
        self.mlp1 = nn.Sequential(
            nn.LayerNorm(wide), nn.Linear(wide, shape.hidden), nn.GELU(), nn.Linear(shape.hidden, shape.hidden)
        )
        self.language_model = LanguageModel(shape)

    def see(self, pixels):
        """Normalised pixels [n, 3, tile, tile] -> image embeddings [n, image tokens, hidden]."""
        x = self.vision_model(pixels)
        n, patches, width = x.shape
        grid = int(patches**0.5)
        # Pixel shuffle v2: each 2 x 2 block of patches becomes one token, row by row.
        x = x.view(n, grid // 2, 2, grid // 2, 2, width).permute(0, 1, 3, 2, 4, 5).reshape(n, patches // 4, 4 * width)
        return self.mlp1(x)

    def initialise(self, generator: torch.Generator) -> None:
        """Small normal weights; what is added to the residual stream is smaller still."""
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:
                continue
            std = 0.04 if 'patch_embedding' in name else 0.02
            if name.endswith(('attn.proj.weight', 'fc2.weight', 'o_proj.weight', 'down_proj.weight')):
                std = 0.02 / (2 * self.shape.layers) ** 0.5 if 'language' in name else 0.02
            elif name.startswith(('vision_model.encoder', 'mlp1')):
                std = parameter.shape[1] ** -0.5 * 0.6
            with torch.no_grad():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
        for name, parameter in self.named_parameters():
            if name.endswith('.bias'):
                nn.init.zeros_(parameter)
