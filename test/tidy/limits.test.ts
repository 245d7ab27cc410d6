// Goal: limits that a user or a peer can meet stand in common/limits.ts, all of them. What else has a number is listed
// with the reason in test/tidy/local-limits.json.
import assert from 'node:assert/strict';
import { readSource, sourceFiles } from '../support/source-files.js';
import { strayLimits } from './stray-limits.js';

type LocalLimits = Readonly<Record<string, Readonly<Record<string, string>>>>;

const LIMITS = 'common/limits.ts';

/** What the list says of one file: names that it must not have, and entries that it has no more. */
export function strayProblems(
  file: string,
  found: readonly string[],
  listed: Readonly<Record<string, string>> = {},
): string[] {
  const names = new Set(found);
  return [
    ...[...names]
      .filter((name) => (listed[name] ?? '').trim() === '')
      .map((name) => `${file}: ${name} belongs into ${LIMITS}, or into local-limits.json with a reason`),
    ...Object.keys(listed)
      .filter((name) => !names.has(name))
      .map((name) => `${file}: ${name} is listed in local-limits.json and does not exist`),
  ];
}

describe('limits', () => {
  it('stand in one file, but for what only tunes', () => {
    const listed = JSON.parse(readSource('test/tidy/local-limits.json')) as LocalLimits;
    const files = sourceFiles(/^(common|coordinator|worker)\/.*\.ts$/).filter((file) => file !== LIMITS);
    assert.ok(files.includes('coordinator/executor/rank-client.ts'));
    const problems = files.flatMap((file) =>
      strayProblems(file, strayLimits(readSource(file)), listed[file]),
    );
    const gone = Object.keys(listed).filter((file) => !files.includes(file));
    assert.deepEqual([...problems, ...gone.map((file) => `${file} is listed and does not exist`)], []);
  });

  it('are found wherever they hide', () => {
    const stray: [string, string][] = [
      ['const CALL_TIMEOUT_MS = 5_000;', 'CALL_TIMEOUT_MS'],
      ['export const MAX_KEYS = 2 ** 10;', 'MAX_KEYS'],
      ['function f() { const SPARE_BYTES = 4 * MIB; }', 'SPARE_BYTES'],
      ['class A { static readonly #graceMs = 300; }', '#graceMs'],
      ["open({ 'grpc.keepalive_time_ms': 5_000 });", 'grpc.keepalive_time_ms'],
      ['open({ limits: { maxBackoffMs: (10 * SECOND) as number } });', 'maxBackoffMs'],
      ['clock.setTimer(250, look);', 'setTimer()'],
      ['await sleep(clock, 2 * 1000);', 'sleep()'],
    ];
    for (const [text, name] of stray) assert.deepEqual(strayLimits(text), [name], text);
  });

  it('are not seen in what is only named so', () => {
    const fine = [
      'const CALL_TIMEOUT_MS = DEFAULT_CALL_TIMEOUT_MS;',
      'const maxKeys = 3;',
      'const MAX_NAMES = names.length + 1;',
      'open({ drainMs: flags.drainTimeout * 1000, totalBytes: 0 });',
      'setTimeout(end, graceMs);',
      "const MAX_TEXT = 'x';",
    ];
    for (const text of fine) assert.deepEqual(strayLimits(text), [], text);
  });

  it('need a reason where they are listed, and must be there', () => {
    assert.deepEqual(strayProblems('a.ts', ['A_MS', 'A_MS'], { A_MS: 'how often it looks' }), []);
    assert.match(strayProblems('a.ts', ['A_MS']).join(), /belongs into common\/limits\.ts/);
    assert.match(strayProblems('a.ts', ['A_MS'], { A_MS: ' ' }).join(), /belongs into/);
    assert.match(strayProblems('a.ts', [], { A_MS: 'how often it looks' }).join(), /does not exist/);
  });
});
