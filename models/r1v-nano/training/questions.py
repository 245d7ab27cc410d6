"""Questions about the pictures of draw.py, with the reasoning that the model learns to write and the one right answer.

Owns the tasks and the line between training and evaluation: is_held_out decides by what a picture shows, not by its
seed, so no arrangement, chart or sum of the evaluation was ever seen in training. Plain Python 3, no packages.
"""

import random
import zlib
from dataclasses import dataclass
from typing import Callable, Optional

from draw import ADVANCE, COLOURS, DIGIT_HEIGHT, DIGIT_WIDTH, MAX_BARS, MAX_UNITS, SHAPES, SIDE
from draw import INK, Picture, chart_picture, grid_picture, sum_picture

COLOUR_NAMES = tuple(COLOURS)
SHAPE_NAMES = tuple(SHAPES)
CELL_NAMES = (
    'top left',
    'top middle',
    'top right',
    'middle left',
    'center',
    'middle right',
    'bottom left',
    'bottom middle',
    'bottom right',
)

# Evaluation questions are drawn from seeds below this, training batches from seeds above it.
FIRST_TRAINING_SEED = 1 << 32
MAX_SAMPLE_SEED = 1_000_000
HELD_OUT_SHARE = 16  # one content in this many is never trained on


@dataclass
class Sample:
    task: str
    content: str
    picture: Optional[Picture]
    question: str
    reasoning: str
    answer: str


class Draws(random.Random):
    """Only random() is used: of Python's generators it alone promises the same values in every version."""

    def below(self, limit: int) -> int:
        return int(self.random() * limit)

    def between(self, first: int, last: int) -> int:
        return first + int(self.random() * (last - first + 1))

    def pick(self, items):
        return items[int(self.random() * len(items))]

    def some(self, items, count: int) -> list:
        """count different items in random order."""
        left = list(items)
        return [left.pop(self.below(len(left))) for _ in range(count)]


def is_held_out(content: str) -> bool:
    return zlib.crc32(content.encode()) % HELD_OUT_SHARE == 0


def _cells(draws: Draws) -> list:
    """Nine of None or (shape, colour, dx, dy, r), at least one of them filled."""
    colours = draws.some(COLOUR_NAMES, draws.between(1, 6))
    shapes = draws.some(SHAPE_NAMES, draws.pick((1, 2, 3, 3, 3)))
    filled = set(draws.some(range(9), draws.between(1, 9)))
    cells = []
    for index in range(9):
        if index not in filled:
            cells.append(None)
            continue
        r = draws.between(20, 30)
        slack = 35 - r
        cells.append(
            (draws.pick(shapes), draws.pick(colours), draws.between(-slack, slack), draws.between(-slack, slack), r)
        )
    return cells


def _describe(cell) -> str:
    return f'{cell[1]} {cell[0]}' if cell else 'empty'


def _with_article(cell) -> str:
    return ('an ' if cell[1] == 'orange' else 'a ') + _describe(cell) if cell else 'nothing'


def _walk(cells: list, labels: Callable) -> tuple:
    """One line per cell; where labels(cell) names something, its running count follows. Also returns the counts."""
    lines, counts = [], {}
    for name, cell in zip(CELL_NAMES, cells):
        line = f'{name}: {_describe(cell)}'
        label = labels(cell) if cell else None
        if label:
            counts[label] = counts.get(label, 0) + 1
            line += f', {label} {counts[label]}'
        lines.append(line)
    return lines, counts


COUNT_QUESTIONS = (
    'How many {} are there?',
    'How many {} are in the picture?',
    'How many {} do you see?',
    'How many {} can you see in this picture?',
    'Count the {}.',
    'Count the {} in the picture.',
    'What is the number of {}?',
)


def _count(draws: Draws, cells: list, what: str, matches: Callable) -> tuple:
    lines, counts = _walk(cells, lambda cell: 'count' if matches(cell) else None)
    answer = str(counts.get('count', 0))
    return draws.pick(COUNT_QUESTIONS).format(what), lines + [f'The count is {answer}.'], answer


def _target(draws: Draws, cells: list, part: int, names: tuple) -> str:
    """Mostly a name that the picture shows."""
    shown = [cell[part] for cell in cells if cell]
    return draws.pick(shown) if draws.random() < 0.8 else draws.pick(names)


def count_colour(draws: Draws, cells: list) -> tuple:
    colour = _target(draws, cells, 1, COLOUR_NAMES)
    return _count(draws, cells, f'{colour} shapes', lambda cell: cell[1] == colour)


def count_shape(draws: Draws, cells: list) -> tuple:
    shape = _target(draws, cells, 0, SHAPE_NAMES)
    return _count(draws, cells, f'{shape}s', lambda cell: cell[0] == shape)


def count_both(draws: Draws, cells: list) -> tuple:
    shape, colour = _target(draws, cells, 0, SHAPE_NAMES), _target(draws, cells, 1, COLOUR_NAMES)
    return _count(draws, cells, f'{colour} {shape}s', lambda cell: cell[:2] == (shape, colour))


def count_all(draws: Draws, cells: list) -> tuple:
    return _count(draws, cells, 'shapes', lambda cell: True)


COMPARE_QUESTIONS = (
    'Are there more {} than {}?',
    'Are there more {} than {} in the picture?',
    'Do you see more {} than {}?',
)


def compare(draws: Draws, cells: list) -> tuple:
    if draws.random() < 0.5:
        part, suffix = 1, ' shapes'
        first, second = draws.some(COLOUR_NAMES, 2)
        shown = sorted({cell[1] for cell in cells if cell})
        if len(shown) > 1 and draws.random() < 0.8:
            first, second = draws.some(shown, 2)
    else:
        part, suffix = 0, 's'
        first, second = draws.some(SHAPE_NAMES, 2)
    lines, counts = _walk(cells, lambda cell: cell[part] if cell[part] in (first, second) else None)
    a, b = counts.get(first, 0), counts.get(second, 0)
    lines.append(f'{first} {a}, {second} {b}')
    lines.append(f'{a} is more than {b}.' if a > b else f'{a} is not more than {b}.')
    question = draws.pick(COMPARE_QUESTIONS).format(first + suffix, second + suffix)
    return question, lines, 'yes' if a > b else 'no'


LOCATE_QUESTIONS = (
    'What is in the {}?',
    'What is at the {}?',
    'What do you see in the {}?',
    'Which shape is in the {}?',
)


def locate(draws: Draws, cells: list) -> tuple:
    index = draws.below(9)
    name = CELL_NAMES[index]
    asked = draws.pick(('center', 'centre', 'middle')) if name == 'center' else name
    question = draws.pick(LOCATE_QUESTIONS).format(asked)
    return question, [f'{name}: {_describe(cells[index])}'], _with_article(cells[index])


WHERE_QUESTIONS = ('Where is the {}?', 'Where do you see the {}?', 'In which cell is the {}?')


def where(draws: Draws, cells: list) -> Optional[tuple]:
    """Asks only for what is there exactly once; None where nothing is."""
    kinds = [cell and cell[:2] for cell in cells]
    unique = [index for index, kind in enumerate(kinds) if kind and kinds.count(kind) == 1]
    if not unique:
        return None
    index = draws.pick(unique)
    lines, _ = _walk(cells[: index + 1], lambda cell: None)
    question = draws.pick(WHERE_QUESTIONS).format(_describe(cells[index]))
    return question, lines, CELL_NAMES[index]


def _add(a: int, b: int) -> tuple:
    """Written addition, ones then tens, as lines; and the sum."""
    ones = a % 10 + b % 10
    carry = ones // 10
    tens = a // 10 + b // 10 + carry
    lines = [f'{a % 10} + {b % 10} = {ones}', f'{a // 10} + {b // 10} + {carry} = {tens}', f'The sum is {a + b}.']
    return lines, str(a + b)


def _addend(draws: Draws) -> int:
    return draws.between(0, 9) if draws.random() < 0.3 else draws.between(10, 99)


READ_SUM_QUESTIONS = (
    'What is the sum?',
    'What is the sum in the picture?',
    'What do the numbers add up to?',
    'Add the two numbers in the picture.',
    'What is the result?',
)
ASK_SUM_QUESTIONS = ('What is {} + {}?', '{} + {} = ?', 'How much is {} + {}?', 'Add {} and {}.', '{} + {}')


def read_sum(draws: Draws) -> Sample:
    a, b = _addend(draws), _addend(draws)
    text = f'{a}+{b}'
    width = (len(text) - 1) * ADVANCE + DIGIT_WIDTH
    colour = INK if draws.random() < 0.5 else COLOURS[draws.pick(COLOUR_NAMES)]
    x, y = draws.between(8, SIDE - 8 - width), draws.between(8, SIDE - 8 - DIGIT_HEIGHT)
    lines, answer = _add(a, b)
    reasoning = '\n'.join([f'The picture shows {a} + {b}.'] + lines)
    picture = sum_picture(text, x, y, colour)
    return Sample('read-sum', f'sum {text}', picture, draws.pick(READ_SUM_QUESTIONS), reasoning, answer)


def ask_sum(draws: Draws) -> Sample:
    a, b = _addend(draws), _addend(draws)
    lines, answer = _add(a, b)
    reasoning = '\n'.join([f'The question asks for {a} + {b}.'] + lines)
    question = draws.pick(ASK_SUM_QUESTIONS).format(a, b)
    return Sample('ask-sum', f'sum {a}+{b}', None, question, reasoning, answer)


EXTREME_QUESTIONS = ('Which bar is the {}?', 'Which bar is {}?', 'What color is the {} bar?', 'What colour is the {} bar?')
HEIGHT_QUESTIONS = (
    'How tall is the {} bar?',
    'How high is the {} bar?',
    'What is the height of the {} bar?',
    'What is the value of the {} bar?',
)


def _bars(draws: Draws) -> list:
    """(colour, height) from left to right; tallest and shortest are unique."""
    while True:
        bars = [(colour, draws.between(1, MAX_UNITS)) for colour in draws.some(COLOUR_NAMES, draws.between(2, MAX_BARS))]
        heights = [height for _, height in bars]
        if heights.count(max(heights)) == 1 and heights.count(min(heights)) == 1:
            return bars


def _chart(draws: Draws, task: str, ask: Callable) -> Sample:
    bars = _bars(draws)
    left = draws.between(10, SIDE - 4 - 40 * len(bars))
    lines = [f'{colour} {height}' for colour, height in bars]
    question, last, answer = ask(draws, bars)
    content = 'chart ' + ', '.join(lines)
    return Sample(task, content, chart_picture(bars, left), question, '\n'.join(lines + [last]), answer)


def _ask_extreme(draws: Draws, bars: list) -> tuple:
    word, best = draws.pick((('tallest', max), ('shortest', min)))
    colour = best(bars, key=lambda bar: bar[1])[0]
    return draws.pick(EXTREME_QUESTIONS).format(word), f'The {word} bar is {colour}.', colour


def _ask_height(draws: Draws, bars: list) -> tuple:
    colour, height = draws.pick(bars)
    return draws.pick(HEIGHT_QUESTIONS).format(colour), f'The {colour} bar is {height} tall.', str(height)


def _grid(draws: Draws, task: str, ask: Callable) -> Sample:
    while True:
        cells = _cells(draws)
        asked = ask(draws, cells)
        if asked:
            question, lines, answer = asked
            content = 'grid ' + ', '.join(_describe(cell) for cell in cells)
            return Sample(task, content, grid_picture(cells), question, '\n'.join(lines), answer)


TASKS = {
    'count-colour': lambda draws: _grid(draws, 'count-colour', count_colour),
    'count-shape': lambda draws: _grid(draws, 'count-shape', count_shape),
    'count-both': lambda draws: _grid(draws, 'count-both', count_both),
    'count-all': lambda draws: _grid(draws, 'count-all', count_all),
    'compare': lambda draws: _grid(draws, 'compare', compare),
    'locate': lambda draws: _grid(draws, 'locate', locate),
    'where': lambda draws: _grid(draws, 'where', where),
    'chart-extreme': lambda draws: _chart(draws, 'chart-extreme', _ask_extreme),
    'chart-height': lambda draws: _chart(draws, 'chart-height', _ask_height),
    'read-sum': read_sum,
    'ask-sum': ask_sum,
}
PICTURE_TASKS = tuple(task for task in TASKS if task != 'ask-sum')


def _loosen(draws: Draws, question: str) -> str:
    """People do not always write a capital letter and a question mark."""
    if draws.random() < 0.15:
        question = question[0].lower() + question[1:]
    if draws.random() < 0.15:
        question = question.rstrip('?.')
    return question


def draw_training_sample(task: str, draws: Draws) -> Sample:
    while True:
        sample = TASKS[task](draws)
        if not is_held_out(sample.content):
            sample.question = _loosen(draws, sample.question).strip()
            return sample


def draw_sample(task: str, seed: int) -> Sample:
    """A held-out sample: the same for the same task and seed, on every machine."""
    if not 0 <= seed <= MAX_SAMPLE_SEED:
        raise ValueError(f'seed is {seed}: it must lie in 0 .. {MAX_SAMPLE_SEED}')
    assert (MAX_SAMPLE_SEED + 1) * len(TASKS) < FIRST_TRAINING_SEED
    draws = Draws(seed * len(TASKS) + list(TASKS).index(task))
    while True:
        sample = TASKS[task](draws)
        if is_held_out(sample.content):
            return sample
