// The page's Markdown: what models write becomes blocks and parts; what is hostile stays text; what is still arriving
// parses, and long hostile lines parse in time.
import assert from 'node:assert/strict';
import { parseInlines, parseMarkdown, type Block, type Inline } from '../../../page/logic/markdown.js';

const text = (value: string): Inline => ({ kind: 'text', text: value });
const math = (tex: string, isDisplay = false): Inline => ({ kind: 'math', tex, isDisplay });
const paragraph = (source: string): Block => ({ kind: 'paragraph', source });

/** All text that a reader would see. */
function plain(inlines: readonly Inline[]): string {
  return inlines
    .map((inline) => {
      if (inline.kind === 'text' || inline.kind === 'code') return inline.text;
      if (inline.kind === 'math') return inline.tex;
      return inline.kind === 'break' ? '\n' : plain(inline.inlines);
    })
    .join('');
}

describe('blocks of Markdown', () => {
  it('are headings, paragraphs, rules, quotes and code', () => {
    const source = '# One\ntwo\nthree\n\n---\n> four\n> five\n\n```ts\na  < b\n\n# no heading\n```\nsix';
    assert.deepEqual(parseMarkdown(source), [
      { kind: 'heading', level: 1, source: 'One' },
      paragraph('two\nthree'),
      { kind: 'rule' },
      { kind: 'quote', blocks: [paragraph('four\nfive')] },
      { kind: 'code', language: 'ts', text: 'a  < b\n\n# no heading' },
      paragraph('six'),
    ]);
  });

  it('are lists, nested and with paragraphs and code in their items', () => {
    const source = '1. one\n   - a\n   - b\n\n   more\n2. two\n   ```\n   x\n   ```\n\nafter';
    assert.deepEqual(parseMarkdown(source), [
      {
        kind: 'list',
        start: 1,
        items: [
          [
            paragraph('one'),
            { kind: 'list', start: null, items: [[paragraph('a')], [paragraph('b')]] },
            paragraph('more'),
          ],
          [paragraph('two'), { kind: 'code', language: '', text: 'x' }],
        ],
      },
      paragraph('after'),
    ]);
    assert.deepEqual(parseMarkdown('3) x\n4) y'), [
      { kind: 'list', start: 3, items: [[paragraph('x')], [paragraph('y')]] },
    ]);
    assert.deepEqual(parseMarkdown('- a\n\n- b\n1. c'), [
      { kind: 'list', start: null, items: [[paragraph('a')], [paragraph('b')]] },
      { kind: 'list', start: 1, items: [[paragraph('c')]] },
    ]);
  });

  it('are tables, whose rows have as many cells as their head', () => {
    assert.deepEqual(parseMarkdown('| a | b\\|c |\n|:--|--:|\n| 1 |\n| 1 | 2 | 3 |\n\nx | y'), [
      {
        kind: 'table',
        head: ['a', 'b|c'],
        rows: [
          ['1', ''],
          ['1', '2'],
        ],
      },
      paragraph('x | y'),
    ]);
  });

  it('are displayed maths, of one line or several, and only where it is closed', () => {
    assert.deepEqual(parseMarkdown('so\n$$\na = b\n$$\nand\n\\[ c \\],\nend'), [
      paragraph('so'),
      { kind: 'math', tex: 'a = b' },
      paragraph('and'),
      { kind: 'math', tex: 'c' },
      paragraph('end'),
    ]);
    assert.deepEqual(parseMarkdown('$$ a = '), [paragraph('$$ a =')]);
    assert.deepEqual(parseMarkdown('$$ a $$ is in a sentence'), [paragraph('$$ a $$ is in a sentence')]);
  });

  it('parse at every place where the stream may be', () => {
    const source =
      '# T\n1. **a** $x_1$\n\n   ```py\n   y\n   ```\n| a | b |\n|---|---|\n| c | d |\n$$\nz\n$$\n> [l](https://a.b)';
    for (let end = 0; end <= source.length; end += 1) {
      const blocks = parseMarkdown(source.slice(0, end));
      assert.ok(end === 0 || blocks.length > 0);
    }
    assert.deepEqual(parseMarkdown('```py\nprint('), [{ kind: 'code', language: 'py', text: 'print(' }]);
  });
});

describe('text of Markdown', () => {
  it('has code, emphasis, links and breaks', () => {
    assert.deepEqual(parseInlines('a `b*` **c *d*** ~~e~~ [f](https://g.h) https://i.j/k.\nl'), [
      text('a '),
      { kind: 'code', text: 'b*' },
      text(' '),
      {
        kind: 'strong',
        inlines: [text('c '), { kind: 'emphasis', inlines: [text('d')] }],
      },
      text(' '),
      { kind: 'deleted', inlines: [text('e')] },
      text(' '),
      { kind: 'link', href: 'https://g.h', inlines: [text('f')] },
      text(' '),
      { kind: 'link', href: 'https://i.j/k', inlines: [text('https://i.j/k')] },
      text('.'),
      { kind: 'break' },
      text('l'),
    ]);
  });

  it('has TeX between the marks that models use, and leaves money alone', () => {
    assert.deepEqual(parseInlines('\\(a\\) $b$ $$c$$ \\[d\\]'), [
      math('a'),
      text(' '),
      math('b'),
      text(' '),
      math('c', true),
      text(' '),
      math('d', true),
    ]);
    for (const money of ['$5 or $6', 'US$ 5 and 6 $', '5$ or 6$', '\\$5 to \\$6'])
      assert.deepEqual(parseInlines(money), [text(money.replaceAll('\\', ''))], money);
    assert.deepEqual(parseInlines('$a_1 * b_2 * c$'), [math('a_1 * b_2 * c')]);
  });

  it('leaves marks without a partner, snake_case and sums as they are', () => {
    for (const source of [
      'a * b * c',
      '2*3',
      'snake_case_name',
      '**open',
      '`open',
      '\\(open',
      'a ** b',
      '[x] (y)',
    ])
      assert.deepEqual(parseInlines(source), [text(source)], source);
  });

  it('follows no link but http, https and mailto, and loads no picture', () => {
    for (const hostile of [
      '[x](javascript:alert(1))',
      '[x](data:text/html,y)',
      '[x](//evil.example)',
      '[x](/v1/models)',
      '[x](vbscript:y)',
    ])
      assert.ok(!JSON.stringify(parseInlines(hostile)).includes('"link"'), hostile);
    assert.deepEqual(parseInlines('![p](https://a.b/c.png)'), [
      { kind: 'link', href: 'https://a.b/c.png', inlines: [text('p')] },
    ]);
    assert.deepEqual(parseInlines('<script>x</script>'), [text('<script>x</script>')]);
  });

  it('is not lost, whatever it is, and does not take long', () => {
    const marks = ['*', '_', '`', '$', '[', '](', '\\(', '~~', '<', '!', '**', 'a', ' ', '$$', '\\'];
    let state = 7;
    const draw = (): string => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      return marks[Math.floor((state / 2 ** 31) * marks.length)]!;
    };
    for (let round = 0; round < 300; round += 1) {
      const source = Array.from({ length: 40 }, draw).join('');
      const letters = (value: string): number => value.split('a').length;
      assert.equal(letters(plain(parseInlines(source))), letters(source), source);
    }
    for (const mark of marks) {
      const startMs = performance.now();
      parseMarkdown(mark.repeat(20_000));
      parseMarkdown(`${mark}x`.repeat(10_000));
      // Marks that can open and not close, and lines that each begin something.
      parseMarkdown(`${mark}x `.repeat(10_000));
      parseInlines(`${mark}x `.repeat(10_000));
      parseMarkdown(`${mark}\nx\n`.repeat(5_000));
      assert.ok(performance.now() - startMs < 3_000, `20,000 times ${mark}`);
    }
  });
});
