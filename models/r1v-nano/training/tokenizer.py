"""The byte-level BPE tokenizer of r1v-nano: makes its vocabulary and files, and encodes training text fast.

Owns tokenizer.json and tokenizer_config.json. Every word of the tasks is one token, numbers are one token per digit,
and whatever else a user types falls apart into bytes. Plain Python 3, no packages.
"""

import re

from .questions import FIRST_TRAINING_SEED, TASKS, Draws, draw_training_sample

SPECIAL_TOKENS = (
    '<|endoftext|>',
    '<|im_start|>',
    '<|im_end|>',
    '<img>',
    '</img>',
    '<IMG_CONTEXT>',
    '<think>',
    '</think>',
)

# ChatML; the reasoning of earlier turns is dropped, as the family's templates do.
CHAT_TEMPLATE = (
    '{% for message in messages %}'
    "{% set content = message['content'] %}"
    "{% if message['role'] == 'assistant' and '</think>' in content %}"
    "{% set content = (content.split('</think>') | last).lstrip('\\n') %}"
    '{% endif %}'
    "{{ '<|im_start|>' + message['role'] + '\\n' + content + '<|im_end|>' + '\\n' }}"
    '{% endfor %}'
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n' }}{% endif %}"
)

# The ByteLevel pre-tokenizer's pattern for ASCII text, which is all that training text holds.
_PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")
_SPECIAL = re.compile('(' + '|'.join(re.escape(token) for token in SPECIAL_TOKENS) + ')')


def byte_characters() -> list:
    """The printable character that stands for each byte value in a byte-level vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    characters, extra = [], 0
    for value in range(256):
        if value in printable:
            characters.append(chr(value))
        else:
            characters.append(chr(256 + extra))
            extra += 1
    return characters


def _merge(symbols: list, ranks: dict) -> list:
    while len(symbols) > 1:
        pairs = [(ranks.get(pair, len(ranks)), pair) for pair in zip(symbols, symbols[1:])]
        rank, best = min(pairs)
        if rank == len(ranks):
            break
        merged, index = [], 0
        while index < len(symbols):
            if index + 1 < len(symbols) and (symbols[index], symbols[index + 1]) == best:
                merged.append(symbols[index] + symbols[index + 1])
                index += 2
            else:
                merged.append(symbols[index])
                index += 1
        symbols = merged
    return symbols


def collect_words() -> list:
    """Every piece of the tasks' texts that must be one token: words, punctuation after a space, a digit after a
    space."""
    words = {' ' + str(digit) for digit in range(10)}
    words.update(('user', 'assistant', 'system', ' ?', ' .'))
    draws = Draws(FIRST_TRAINING_SEED - 1)
    for task in TASKS:
        for _ in range(2000):
            sample = draw_training_sample(task, draws)
            for text in (sample.question, sample.reasoning, sample.answer):
                words.update(piece for piece in _PIECES.findall(text) if not re.search(r'[0-9\n]', piece))
    return sorted(words)


class Tokenizer:
    def __init__(self) -> None:
        self._characters = byte_characters()
        self._ranks = {}
        for word in collect_words():
            # Joining what the merges so far leave of the word cannot disturb the words before it: new merges rank last.
            symbols = _merge(self._spell(word), self._ranks)
            while len(symbols) > 1:
                self._ranks[(symbols[0], symbols[1])] = len(self._ranks)
                symbols = _merge(self._spell(word), self._ranks)
        tokens = sorted(self._characters) + [''.join(pair) for pair in self._ranks]
        if len(set(tokens)) != len(tokens):
            raise ValueError('two merges make the same token')
        self._ids = {token: index for index, token in enumerate(tokens)}
        self._special_ids = {token: len(tokens) + index for index, token in enumerate(SPECIAL_TOKENS)}
        self._tokens = tokens + list(SPECIAL_TOKENS)
        self._cache = {}

    @property
    def vocab_size(self) -> int:
        return len(self._tokens)

    def special(self, token: str) -> int:
        return self._special_ids[token]

    def _spell(self, text: str) -> list:
        return [self._characters[value] for value in text.encode()]

    def encode(self, text: str) -> list:
        """Special tokens are recognised. Non-ASCII letters are split as punctuation here, so training text is ASCII."""
        ids = []
        for part in _SPECIAL.split(text):
            if part in self._special_ids:
                ids.append(self._special_ids[part])
                continue
            for piece in _PIECES.findall(part):
                found = self._cache.get(piece)
                if found is None:
                    found = [self._ids[symbol] for symbol in _merge(self._spell(piece), self._ranks)]
                    self._cache[piece] = found
                ids.extend(found)
        return ids

    def decode(self, ids: list) -> str:
        """Special tokens keep their names."""
        values = {character: value for value, character in enumerate(self._characters)}
        text = bytearray()
        for index in ids:
            token = self._tokens[index]
            text += token.encode() if token in self._special_ids else bytes(values[c] for c in token)
        return text.decode(errors='replace')

    def tokenizer_json(self) -> dict:
        byte_level = {'type': 'ByteLevel', 'add_prefix_space': False, 'trim_offsets': True, 'use_regex': True}
        added = [
            {
                'id': index,
                'content': token,
                'single_word': False,
                'lstrip': False,
                'rstrip': False,
                'normalized': False,
                'special': True,
            }
            for token, index in self._special_ids.items()
        ]
        return {
            'version': '1.0',
            'truncation': None,
            'padding': None,
            'added_tokens': added,
            'normalizer': None,
            'pre_tokenizer': byte_level,
            'post_processor': None,
            'decoder': {**byte_level, 'add_prefix_space': True},
            'model': {
                'type': 'BPE',
                'dropout': None,
                'unk_token': None,
                'continuing_subword_prefix': None,
                'end_of_word_suffix': None,
                'fuse_unk': False,
                'byte_fallback': False,
                'ignore_merges': False,
                'vocab': self._ids,
                'merges': [list(pair) for pair in self._ranks],
            },
        }


def tokenizer_config() -> dict:
    return {
        'tokenizer_class': 'Qwen2Tokenizer',
        'chat_template': CHAT_TEMPLATE,
        'eos_token': '<|im_end|>',
        'pad_token': '<|endoftext|>',
        'model_max_length': 4096,
    }


def prompt_text(question: str, num_image_tokens: int) -> str:
    """What the chat template gives for one user message; no picture where num_image_tokens is 0."""
    picture = f'<img>{"<IMG_CONTEXT>" * num_image_tokens}</img>\n' if num_image_tokens else ''
    return f'<|im_start|>user\n{picture}{question}<|im_end|>\n<|im_start|>assistant\n<think>\n'


def completion_text(reasoning: str, answer: str) -> str:
    return f'{reasoning}\n</think>\n\n{answer}<|im_end|>'
