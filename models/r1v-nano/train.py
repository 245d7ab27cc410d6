#!/usr/bin/env python3
"""Trains r1v-nano from nothing on one GPU and writes the checkpoint: `python3 train.py --out DIR`.

Owns the optimisation: batches, loss, schedule, log. Pictures and questions come from training/, drawn on the fly.
"""

import argparse
import json
import math
import multiprocessing
import platform
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from training import evaluate
from training.network import Network, Shape, model_config
from training.questions import FIRST_TRAINING_SEED, PICTURE_TASKS, TASKS, Draws, draw_training_sample
from training.render import check_against_draw, pack, paint, palette_pixels, soften
from training.tokenizer import Tokenizer, completion_text, prompt_text, tokenizer_config

SEED = 20
LENGTH = 192  # tokens of a training row, prompt and completion
IMAGE_START = 4  # <|im_start|> user line-feed <img>
IGNORED = -100

# Rows of a batch of 512, by task. Pictures of one kind are painted together: grids, charts, sums; then rows of text
# only.
GROUPS = (
    {'count-colour': 60, 'count-shape': 60, 'count-both': 84, 'count-all': 20, 'compare': 80, 'locate': 24, 'where': 24},
    {'chart-extreme': 36, 'chart-height': 28},
    {'read-sum': 64},
    {'ask-sum': 32},
)


def make_batch(seed: int, shrink: int, tokenizer: Tokenizer, image_tokens: int) -> dict:
    """Packed pictures per group, ids and targets [rows, LENGTH]; the same for the same seed on every machine."""
    draws = Draws(seed)
    pictures, ids, targets = [], [], []
    for group in GROUPS:
        samples = [
            draw_training_sample(task, draws) for task, rows in group.items() for _ in range(max(1, rows // shrink))
        ]
        has_picture = samples[0].picture is not None
        if has_picture:
            pictures.append(pack([sample.picture for sample in samples]))
        for sample in samples:
            prompt = tokenizer.encode(prompt_text(sample.question, image_tokens if has_picture else 0))
            row = prompt + tokenizer.encode(completion_text(sample.reasoning, sample.answer))
            if len(row) > LENGTH + 1:
                raise ValueError(f'a row of {len(row)} tokens does not fit in {LENGTH + 1}: {sample.question}')
            # Predicting position i + 1 from i; only the completion is learned.
            target = [IGNORED] * (len(prompt) - 1) + row[len(prompt) :]
            ids.append((row + [0] * LENGTH)[:LENGTH])
            targets.append((target + [IGNORED] * LENGTH)[:LENGTH])
    return {'pictures': pictures, 'ids': np.array(ids, np.int16), 'targets': np.array(targets, np.int16)}


def _produce(queue, worker: int, workers: int, shrink: int, tokenizer: Tokenizer, image_tokens: int) -> None:
    index = worker
    while True:
        queue.put(make_batch(FIRST_TRAINING_SEED + SEED * 10_000_000 + index, shrink, tokenizer, image_tokens))
        index += workers


class Batches:
    """Batch 0, 1, 2, ... made by several processes, in order whatever their number."""

    def __init__(self, workers: int, shrink: int, tokenizer: Tokenizer, image_tokens: int) -> None:
        context = multiprocessing.get_context('fork')
        self.queues = [context.Queue(maxsize=8) for _ in range(workers)]
        self.processes = [
            context.Process(
                target=_produce, args=(queue, index, workers, shrink, tokenizer, image_tokens), daemon=True
            )
            for index, queue in enumerate(self.queues)
        ]
        for process in self.processes:
            process.start()
        self.next = 0

    def take(self) -> dict:
        batch = self.queues[self.next % len(self.queues)].get(timeout=120)
        self.next += 1
        return batch

    def close(self) -> None:
        for process in self.processes:
            process.terminate()


def completion_loss(network: Network, pixels, ids, targets):
    """Rows with pictures come first; image tokens stand at the same place in each of them."""
    model = network.language_model.model
    x = model.embed_tokens(ids)
    rows, end = len(pixels), IMAGE_START + network.shape.image_tokens
    seen = network.see(pixels)
    with_picture = torch.cat((x[:rows, :IMAGE_START], seen.to(x.dtype), x[:rows, end:]), dim=1)
    x = torch.cat((with_picture, x[rows:]), dim=0)
    x = model(x, torch.arange(ids.shape[1], device=ids.device)[None])
    # Completions begin after the image, and those of text rows end before the last `end` positions.
    kept = torch.cat((x[:rows, end:], x[rows:, : ids.shape[1] - end]), dim=0)
    wanted = torch.cat((targets[:rows, end:], targets[rows:, : ids.shape[1] - end]), dim=0)
    logits = network.language_model.lm_head(kept).float()
    return F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED)


class Trainer:
    def __init__(self, options, tokenizer: Tokenizer) -> None:
        self.device = torch.device(options.device)
        self.options, self.tokenizer = options, tokenizer
        shape = Shape(vocab_size=tokenizer.vocab_size)
        self.batches = Batches(options.workers, options.shrink, tokenizer, shape.image_tokens)
        self.network = Network(shape)
        self.network.initialise(torch.Generator().manual_seed(SEED))
        self.network.to(self.device)
        decayed = [p for p in self.network.parameters() if p.dim() >= 2]
        plain = [p for p in self.network.parameters() if p.dim() < 2]
        self.optimizer = torch.optim.AdamW(
            [{'params': decayed, 'weight_decay': 0.05}, {'params': plain, 'weight_decay': 0.0}],
            lr=0.0,
            betas=(0.9, 0.97),
            fused=self.device.type == 'cuda',
        )
        self.noise = torch.Generator(self.device).manual_seed(SEED)
        self.loss = torch.compile(completion_loss) if options.compile else completion_loss
        self.log = []

    def inputs(self) -> tuple:
        batch = self.batches.take()
        pixels = []
        for arrays in batch['pictures']:
            rectangles, shapes = (torch.from_numpy(array).to(self.device, non_blocking=True) for array in arrays)
            pixels.append(palette_pixels(paint(rectangles, shapes)))
        pixels = soften(torch.cat(pixels), 0.15, self.noise)
        ids, targets = (torch.from_numpy(batch[name]).to(self.device).long() for name in ('ids', 'targets'))
        return pixels, ids, targets

    def step(self, rate: float) -> torch.Tensor:
        for group in self.optimizer.param_groups:
            group['lr'] = rate
        pixels, ids, targets = self.inputs()
        with torch.autocast(self.device.type, torch.bfloat16):
            loss = self.loss(self.network, pixels, ids, targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        return loss.detach()

    def rate(self, step: int, steps: int) -> float:
        warm = min(1.0, (step + 1) / 300)
        return self.options.rate * warm * max(0.01, 0.5 * (1 + math.cos(math.pi * step / steps)))

    def fit(self, steps: int, seconds: float) -> dict:
        """steps 0: as many as fit in `seconds`, by the pace of steps 30 to 80."""
        start, warm_start, total = time.time(), 0.0, steps or 1_000_000
        losses, step = [], 0
        while step < total:
            losses.append(self.step(self.rate(step, total)))
            step += 1
            if not steps and step == 30:
                self._synchronise()
                warm_start = time.time()
            if not steps and step == 80:
                self._synchronise()
                pace = (time.time() - warm_start) / 50
                total = max(160, int((seconds - (time.time() - start)) / pace))
                print(f'{pace * 1000:.1f} ms a step, {total} steps', flush=True)
            if step % 100 == 0 or step == total:
                self._report(step, losses, start)
                losses = []
            if self.options.hard_stop and time.time() - start > self.options.hard_stop:
                print('stopped by the clock', flush=True)
                break
        self.batches.close()
        return {'steps': step, 'seconds': round(time.time() - start, 1)}

    def _synchronise(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize()

    def _report(self, step: int, losses: list, start: float) -> None:
        entry = {'step': step, 'loss': round(float(torch.stack(losses).mean()), 5), 'seconds': round(time.time() - start, 1)}
        if step % 1000 == 0:
            samples = evaluate.evaluation_samples()[:200]
            results = evaluate.run(evaluate.GreedyDecoder(self.network, self.tokenizer), samples)
            entry['held_out_accuracy'] = evaluate.accuracy(results)['all']
        self.log.append(entry)
        print(json.dumps(entry), flush=True)


def _write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + '\n')


def save(network: Network, tokenizer: Tokenizer, folder: Path) -> None:
    tensors = {name: p.detach().to('cpu', torch.bfloat16).contiguous() for name, p in network.named_parameters()}
    save_file(tensors, folder / 'model.safetensors', metadata={'format': 'pt'})
    end = [tokenizer.special('<|im_end|>'), tokenizer.special('<|endoftext|>')]
    _write_json(folder / 'config.json', model_config(network.shape))
    _write_json(folder / 'generation_config.json', {'do_sample': False, 'eos_token_id': end})
    _write_json(folder / 'tokenizer.json', tokenizer.tokenizer_json())
    _write_json(folder / 'tokenizer_config.json', tokenizer_config())


def measure(folder: Path, tokenizer: Tokenizer, device: torch.device) -> dict:
    """Accuracy of the written weights, in float32 and in bfloat16 arithmetic."""
    network = evaluate.load_network(folder / 'model.safetensors', Shape(vocab_size=tokenizer.vocab_size)).to(device)
    samples, texts = evaluate.evaluation_samples(), evaluate.text_samples()
    measured, answers = {}, []
    for name, dtype in (('float32', torch.float32), ('bfloat16', torch.bfloat16)):
        decoder = evaluate.GreedyDecoder(network.to(dtype), tokenizer)
        results = evaluate.run(decoder, samples)
        answers.append([evaluate.answer_of(result['text']) for result in results])
        measured[name] = {**evaluate.accuracy(results), 'ask-sum': evaluate.accuracy(evaluate.run(decoder, texts))['all']}
    measured['answers_that_differ'] = sum(a != b for a, b in zip(*answers))
    return measured


def parse_options():
    parser = argparse.ArgumentParser(description='Train r1v-nano.')
    parser.add_argument('--out', type=Path, default=Path(__file__).resolve().parent)
    parser.add_argument('--steps', type=int, default=0, help='0: as many as fit in --seconds')
    parser.add_argument('--seconds', type=float, default=330)
    parser.add_argument('--hard-stop', type=float, default=0, help='seconds after which training ends, done or not')
    parser.add_argument('--rate', type=float, default=1.2e-3)
    parser.add_argument('--device', default='cuda')
    parser.add_argument('--workers', type=int, default=12)
    parser.add_argument('--shrink', type=int, default=1, help='divides the batch, for trying things out')
    parser.add_argument('--compile', action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    options.out.mkdir(parents=True, exist_ok=True)
    start = time.time()
    tokenizer = Tokenizer()
    assert set(PICTURE_TASKS) | {'ask-sum'} == set(TASKS) == {task for group in GROUPS for task in group}
    trainer = Trainer(options, tokenizer)
    draws = Draws(1)
    for group in GROUPS[:3]:
        check_against_draw([draw_training_sample(t, draws).picture for t in group for _ in range(100)], trainer.device)
    print(f'ready after {time.time() - start:.1f} s', flush=True)
    trained = trainer.fit(options.steps, options.seconds)
    save(trainer.network, tokenizer, options.out)
    on_gpu = trainer.device.type == 'cuda'
    log = {
        **trained,
        'seed': SEED,
        'batch': sum(max(1, rows // options.shrink) for group in GROUPS for rows in group.values()),
        'rate': options.rate,
        'parameters': sum(p.numel() for p in trainer.network.parameters()),
        'device': torch.cuda.get_device_name() if on_gpu else 'cpu',
        'versions': {'python': platform.python_version(), 'torch': torch.__version__},
        'accuracy': measure(options.out, tokenizer, trainer.device),
        'curve': trainer.log,
    }
    _write_json(options.out / 'training-log.json', log)
    print(json.dumps(log['accuracy'], indent=1), log['parameters'], f'{time.time() - start:.1f} s in all', flush=True)


if __name__ == '__main__':
    main()
