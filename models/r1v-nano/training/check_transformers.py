"""Compares the model with Hugging Face transformers: `python3 -m training.check_transformers [CHECKPOINT]`.

Owns the renaming of an InternVLChatModel checkpoint to InternVLForConditionalGeneration. Fails where the logits of a
few evaluation questions differ by 1e-3 or more in float32.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import InternVLConfig, InternVLForConditionalGeneration

from training import evaluate
from training.network import Shape, model_config
from training.tokenizer import Tokenizer, prompt_text

TOLERANCE = 1e-3
NUM_QUESTIONS = 10

RENAMED = (
    ('vision_model.embeddings.class_embedding', 'model.vision_tower.embeddings.cls_token'),
    ('vision_model.embeddings.position_embedding', 'model.vision_tower.embeddings.position_embeddings'),
    ('vision_model.embeddings.patch_embedding', 'model.vision_tower.embeddings.patch_embeddings.projection'),
    ('vision_model.encoder.layers.', 'model.vision_tower.encoder.layer.'),
    ('.norm1.', '.layernorm_before.'),
    ('.norm2.', '.layernorm_after.'),
    ('.attn.q_norm', '.attention.q_norm'),
    ('.attn.k_norm', '.attention.k_norm'),
    ('.attn.proj', '.attention.projection_layer'),
    ('.ls1', '.lambda_1'),
    ('.ls2', '.lambda_2'),
    ('mlp1.0', 'model.multi_modal_projector.layer_norm'),
    ('mlp1.1', 'model.multi_modal_projector.linear_1'),
    ('mlp1.3', 'model.multi_modal_projector.linear_2'),
    ('language_model.lm_head', 'lm_head'),
    ('language_model.model.', 'model.language_model.'),
)


def renamed(tensors: dict) -> dict:
    result = {}
    for name, tensor in tensors.items():
        for old, new in RENAMED:
            name = name.replace(old, new, 1) if not name.startswith('model.') or old.startswith('.') else name
        if '.attn.qkv.' in name:
            for part, rows in zip('qkv', tensor.float().chunk(3)):
                result[name.replace('.attn.qkv.', f'.attention.{part}_proj.')] = rows
        else:
            result[name] = tensor.float()
    return result


def transformers_model(shape: Shape, tokenizer: Tokenizer, tensors: dict):
    ours = model_config(shape)
    vision, text = ours['vision_config'], ours['llm_config']
    config = InternVLConfig(
        vision_config={
            'hidden_size': vision['hidden_size'],
            'num_hidden_layers': vision['num_hidden_layers'],
            'num_attention_heads': vision['num_attention_heads'],
            'intermediate_size': vision['intermediate_size'],
            'image_size': [shape.tile, shape.tile],
            'patch_size': [shape.patch, shape.patch],
            'attention_bias': vision['qkv_bias'],
            'use_qk_norm': vision['qk_normalization'],
            'norm_type': vision['norm_type'],
            'layer_norm_eps': vision['layer_norm_eps'],
            'use_mean_pooling': True,
        },
        text_config={key: text[key] for key in text if key not in ('architectures', 'torch_dtype')},
        image_token_id=tokenizer.special('<IMG_CONTEXT>'),
        image_seq_length=shape.image_tokens,
        tie_word_embeddings=False,
    )
    model = InternVLForConditionalGeneration(config).float().eval()
    missing, unexpected = model.load_state_dict(renamed(tensors), strict=False)
    if missing or unexpected:
        raise ValueError(f'missing {missing}, unexpected {unexpected}')
    return model


@torch.no_grad()
def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else evaluate.FOLDER
    tokenizer = Tokenizer()
    shape = Shape(vocab_size=tokenizer.vocab_size)
    path = folder / 'model.safetensors'
    network = evaluate.load_network(path, shape)
    model = transformers_model(shape, tokenizer, load_file(path))
    worst = 0.0
    for sample in evaluate.evaluation_samples()[:NUM_QUESTIONS]:
        ids = tokenizer.encode(prompt_text(sample.question, shape.image_tokens)) + tokenizer.encode(sample.reasoning)
        ids = torch.tensor([ids])
        pixels = evaluate.sample_pixels([sample], torch.device('cpu'))
        theirs = model(input_ids=ids, pixel_values=pixels).logits
        x = network.language_model.model.embed_tokens(ids)
        x[ids == tokenizer.special('<IMG_CONTEXT>')] = network.see(pixels).flatten(0, 1)
        x = network.language_model.model(x, torch.arange(ids.shape[1])[None])
        worst = max(worst, float((network.language_model.lm_head(x) - theirs).abs().max()))
    print(f'largest difference of a logit: {worst:.2e} over {NUM_QUESTIONS} questions')
    if not worst < TOLERANCE:
        raise SystemExit(1)


if __name__ == '__main__':
    main()
