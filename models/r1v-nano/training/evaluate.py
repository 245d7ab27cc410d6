"""Greedy answers of a checkpoint, their accuracy, and the evaluation files: questions, pictures, reference tokens.

Owns models/r1v-nano/evaluation, examples and reference.json, and the loading of model.safetensors. Run by train.py;
alone: `python3 -m training.evaluate` scores the committed weights with torch on a CPU.
"""

import hashlib
import json
import sys
from collections import defaultdict
from pathlib import Path

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from draw import PALETTE, encode_png, paint as paint_one  # noqa: E402
from training.network import KeyValueCache, Network, Shape  # noqa: E402
from training.questions import PICTURE_TASKS, Sample, draw_sample, is_held_out  # noqa: E402
from training.render import pack, paint, palette_pixels  # noqa: E402
from training.tokenizer import Tokenizer, prompt_text  # noqa: E402

FOLDER = Path(__file__).resolve().parent.parent
MAX_NEW_TOKENS = 128
NUM_QUESTIONS = 500
NUM_TEXT_QUESTIONS = 50
NUM_REFERENCES = 50
# Task and seed; evaluation questions use the seeds below 50.
EXAMPLES = (
    ('count-both', 114),
    ('count-colour', 131),
    ('compare', 108),
    ('where', 223),
    ('chart-extreme', 105),
    ('read-sum', 104),
)


def evaluation_samples() -> list:
    """500 held-out questions about pictures, the tasks in turn."""
    return [
        draw_sample(PICTURE_TASKS[index % len(PICTURE_TASKS)], index // len(PICTURE_TASKS))
        for index in range(NUM_QUESTIONS)
    ]


def text_samples() -> list:
    """Held-out sums that are asked in words, with no picture."""
    return [draw_sample('ask-sum', index) for index in range(NUM_TEXT_QUESTIONS)]


def load_network(path: Path, shape: Shape) -> Network:
    network = Network(shape)
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    return network.eval()


class GreedyDecoder:
    """Generates for many prompts at once; all of them with a picture or none."""

    def __init__(self, network: Network, tokenizer: Tokenizer) -> None:
        self.network, self.tokenizer = network, tokenizer
        self.end = tokenizer.special('<|im_end|>')
        self.parameter = network.language_model.lm_head.weight

    def _prefill(self, prompts: list, pixels, caches: list):
        device = self.parameter.device
        lengths = torch.tensor([len(ids) for ids in prompts], device=device)
        longest = int(lengths.max())
        ids = torch.tensor([row + [self.end] * (longest - len(row)) for row in prompts], device=device)
        x = self.network.language_model.model.embed_tokens(ids)
        if pixels is not None:
            images = self.network.see(pixels.to(x.dtype))
            x[ids == self.tokenizer.special('<IMG_CONTEXT>')] = images.flatten(0, 1)
        positions = torch.arange(longest, device=device).expand(len(prompts), -1)
        x = self.network.language_model.model(x, positions, caches)
        return x[torch.arange(len(prompts), device=device), lengths - 1], lengths

    @torch.no_grad()
    def generate(self, prompts: list, pixels) -> tuple:
        """Token ids per prompt, the end token included, and the smallest gap between best and second logit of each."""
        network, device = self.network, self.parameter.device
        longest = max(len(ids) for ids in prompts) + MAX_NEW_TOKENS
        caches = [
            KeyValueCache(len(prompts), network.shape, longest, self.parameter) for _ in range(network.shape.layers)
        ]
        x, positions = self._prefill(prompts, pixels, caches)
        finished = torch.zeros(len(prompts), dtype=torch.bool, device=device)
        gaps = torch.full((len(prompts),), float('inf'), device=device)
        tokens = []
        for _ in range(MAX_NEW_TOKENS):
            best = network.language_model.lm_head(x).float().topk(2, dim=-1)
            gaps = torch.where(finished, gaps, torch.minimum(gaps, best.values[:, 0] - best.values[:, 1]))
            token = torch.where(finished, self.end, best.indices[:, 0])
            tokens.append(token)
            finished = finished | (token == self.end)
            if bool(finished.all()):
                break
            embedded = network.language_model.model.embed_tokens(token)[:, None]
            x = network.language_model.model(embedded, positions[:, None], caches)[:, 0]
            positions = positions + 1
        rows = torch.stack(tokens, dim=1).tolist()
        cut = [row[: row.index(self.end) + 1] if self.end in row else row for row in rows]
        return cut, gaps.tolist()


def sample_pixels(samples: list, device) -> torch.Tensor:
    rectangles, shapes = (torch.from_numpy(array).to(device) for array in pack([s.picture for s in samples]))
    return palette_pixels(paint(rectangles, shapes))


def answer_of(text: str) -> str:
    return text.partition('</think>')[2].removesuffix('<|im_end|>').strip()


def run(decoder: GreedyDecoder, samples: list, pixels=None) -> list:
    """One dict per sample: task, ids, gap, text, right."""
    results = []
    device = decoder.parameter.device
    for start in range(0, len(samples), 250):
        part = samples[start : start + 250]
        has_picture = part[0].picture is not None
        num_tokens = decoder.network.shape.image_tokens if has_picture else 0
        prompts = [decoder.tokenizer.encode(prompt_text(sample.question, num_tokens)) for sample in part]
        if has_picture:
            seen = sample_pixels(part, device) if pixels is None else pixels[start : start + 250].to(device)
        ids, gaps = decoder.generate(prompts, seen if has_picture else None)
        for sample, row, gap in zip(part, ids, gaps):
            text = decoder.tokenizer.decode(row)
            right = answer_of(text) == sample.answer
            results.append({'task': sample.task, 'ids': row, 'gap': gap, 'text': text, 'right': right})
    return results


def accuracy(results: list) -> dict:
    by_task = defaultdict(list)
    for result in results:
        by_task[result['task']].append(result['right'])
    rates = {task: round(sum(rights) / len(rights), 4) for task, rights in by_task.items()}
    return {'all': round(sum(r['right'] for r in results) / len(results), 4), **rates}


def _write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, indent=1) + '\n')


def _write_question(folder: Path, name: str, sample: Sample) -> dict:
    (folder / f'{name}.png').write_bytes(encode_png(paint_one(sample.picture)))
    return {'id': name, 'task': sample.task, 'picture': f'{name}.png', 'question': sample.question, 'answer': sample.answer}


def write_questions() -> None:
    """evaluation/questions.json with its pictures, evaluation/text-questions.json, examples."""
    folder = FOLDER / 'evaluation'
    folder.mkdir(exist_ok=True)
    samples = evaluation_samples()
    assert all(is_held_out(sample.content) for sample in samples + text_samples())
    _write_json(
        folder / 'questions.json',
        [_write_question(folder, f'{index:03d}', sample) for index, sample in enumerate(samples)],
    )
    _write_json(
        folder / 'text-questions.json',
        [
            {'id': f'text-{index:02d}', 'task': sample.task, 'question': sample.question, 'answer': sample.answer}
            for index, sample in enumerate(text_samples())
        ],
    )
    folder = FOLDER / 'examples'
    folder.mkdir(exist_ok=True)
    examples = [_write_question(folder, task, draw_sample(task, seed)) for task, seed in EXAMPLES]
    _write_json(folder / 'examples.json', examples)


def write_reference(samples: list, results: list, tokenizer: Tokenizer, image_tokens: int) -> None:
    """What float32 arithmetic on the committed weights generates for every tenth evaluation question."""
    step = NUM_QUESTIONS // NUM_REFERENCES
    # The tasks come in turn, ten of them: a moving offset takes some of each.
    indices = [index * step + index % step for index in range(NUM_REFERENCES)]
    lines = []
    for index in indices:
        prompt = tokenizer.encode(prompt_text(samples[index].question, image_tokens))
        rgb = b''.join(bytes(PALETTE[value]) for value in paint_one(samples[index].picture))
        entry = {'id': f'{index:03d}', 'tile_sha256': hashlib.sha256(rgb).hexdigest(), 'prompt_token_ids': prompt}
        entry |= {'token_ids': results[index]['ids'], 'smallest_gap': round(results[index]['gap'], 4)}
        lines.append(json.dumps(entry))
    (FOLDER / 'reference.json').write_text('[\n ' + ',\n '.join(lines) + '\n]\n')


def main() -> None:
    tokenizer = Tokenizer()
    shape = Shape(vocab_size=tokenizer.vocab_size)
    decoder = GreedyDecoder(load_network(FOLDER / 'model.safetensors', shape), tokenizer)
    samples = evaluation_samples()
    write_questions()
    results = run(decoder, samples)
    write_reference(samples, results, tokenizer, shape.image_tokens)
    print('with a picture', accuracy(results), flush=True)
    print('without', accuracy(run(decoder, text_samples())))
    gaps = sorted(result['gap'] for result in results)
    print('smallest gaps', [round(gap, 3) for gap in gaps[:10]], 'median', round(gaps[len(gaps) // 2], 3))
    for result, sample in zip(results, samples):
        if not result['right']:
            print(sample.task, '|', sample.question, '|', sample.content, '|', repr(result['text']), '|', sample.answer)


if __name__ == '__main__':
    main()
