// Template snippets against what transformers' own Jinja environment makes of them (make-template-cases.py): the same
// text, or a failure where it fails. What Skein does not have must be refused when the template is read, by name.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { Template } from '../../../../../coordinator/tokenizer/jinja/template.js';
import { Dict, TemplateError, type Value } from '../../../../../coordinator/tokenizer/jinja/values.js';
import { repoPath } from '../../../../support/paths.js';

interface TemplateCase {
  readonly template: string;
  readonly output?: string;
  readonly error?: string;
}

interface Table {
  readonly context: Readonly<Record<string, unknown>>;
  readonly cases: readonly TemplateCase[];
}

const FILE = repoPath('test', 'unit', 'coordinator', 'tokenizer', 'jinja', 'template-cases.json.gz');
const TABLE = JSON.parse(gunzipSync(readFileSync(FILE)).toString('utf8')) as Table;
const LIMITS = { timeoutMs: 2000, maxSize: 1_000_000 };

/** Refused by name when they are read, though Jinja has them: no chat template has a use for them. */
const NOT_SUPPORTED = [
  "{{ 'x'.encode('utf-8') }}",
  "{{ 'abc'.translate({97: 'z'}) }}",
  '{{ numbers|random in numbers }}',
  '{{ numbers|pprint }}',
  '{{ mapping|pprint }}',
  "{{ 'x'|pprint }}",
  "{{ 'http://example.com x'|urlize }}",
  '{% autoescape true %}{{ html }}{% endautoescape %}',
  '{% autoescape false %}{{ html }}{% endautoescape %}',
];

function toValue(value: unknown): Value {
  if (typeof value === 'number') return BigInt(value);
  if (Array.isArray(value)) return value.map(toValue);
  if (typeof value !== 'object' || value === null) return value as Value;
  const { $float, $int } = value as { $float?: string; $int?: string };
  if ($float !== undefined) return Number($float);
  if ($int !== undefined) return BigInt($int);
  return new Dict(Object.entries(value).map(([key, item]) => [key, toValue(item)] as const));
}

const VALUES = Object.entries(TABLE.context).map(([name, value]) => [name, toValue(value)] as const);

function render(template: string): { readonly output?: string; readonly problem?: string } {
  try {
    return { output: new Template(template).render(VALUES, LIMITS) };
  } catch (error) {
    assert.ok(error instanceof TemplateError, `${template}: ${String((error as Error).stack)}`);
    return { problem: error.message };
  }
}

describe('chat template language', () => {
  it("renders what transformers' environment renders, and fails where it fails", () => {
    assert.ok(TABLE.cases.length > 650, String(TABLE.cases.length));
    const differences: string[] = [];
    for (const { template, output: expected, error } of TABLE.cases) {
      if (NOT_SUPPORTED.includes(template)) continue;
      const { output, problem } = render(template);
      if (output !== expected) {
        const wanted = expected === undefined ? `a failure (${error})` : JSON.stringify(expected);
        differences.push(
          `${template}\n  expected ${wanted}\n  got      ${JSON.stringify(output) ?? problem}`,
        );
      }
    }
    assert.equal(differences.length, 0, `${differences.length} differ\n${differences.join('\n')}`);
  });

  for (const template of NOT_SUPPORTED) {
    it(`refuses by name: ${template}`, () => {
      assert.ok(TABLE.cases.some((each) => each.template === template));
      assert.throws(() => new Template(template), {
        message: /^line 1: the (?:filter|tag|method) \w+ is not supported/,
      });
    });
  }
});
