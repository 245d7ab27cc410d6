// Prometheus' text format, read strictly: what a scrape says, and that it could be taken.
import assert from 'node:assert/strict';

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"(?:,|$)/g;

export class Scrape {
  readonly samples: readonly Sample[];
  /** By the name of the metric: counter, gauge, histogram. */
  readonly types: ReadonlyMap<string, string>;

  constructor(text: string) {
    const types = new Map<string, string>();
    const samples: Sample[] = [];
    assert.ok(text.endsWith('\n'), 'the last line ends');
    for (const line of text.split('\n')) {
      const type = /^# TYPE (\S+) (\S+)$/.exec(line);
      if (type !== null) types.set(type[1]!, type[2]!);
      if (line === '' || line.startsWith('#')) continue;
      const match = LINE.exec(line);
      assert.ok(match !== null, `no sample: ${line}`);
      const [, name, labelText = '', value] = match;
      const labels = Object.fromEntries([...labelText.matchAll(LABEL)].map(([, key, text]) => [key!, text!]));
      samples.push({ name: name!, labels, value: value === '+Inf' ? Infinity : Number(value) });
    }
    this.types = types;
    this.samples = samples;
  }

  /** The sum over all samples that have these labels. */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number {
    const found = this.samples.filter(
      (sample) =>
        sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
    );
    assert.ok(found.length > 0, `no ${name} ${JSON.stringify(labels)}`);
    return found.reduce((sum, sample) => sum + sample.value, 0);
  }
}
