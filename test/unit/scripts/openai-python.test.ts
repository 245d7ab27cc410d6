// Goal: OpenAI's Python client is the pinned one, on interpreters that its wheels are locked for, or is not used.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { repoPath } from '../../support/paths.js';
import { loadScript } from '../../support/scripts.js';

interface OpenaiPythonScript {
  supportedPython: (text: string) => { version?: [number, number]; reason?: string };
}

describe("OpenAI's Python client", () => {
  it('is pinned by exact versions and hashes, with all that it needs', () => {
    const text = readFileSync(repoPath('test', 'http', 'python', 'requirements.txt'), 'utf8');
    const entries = text
      .replaceAll(/^#.*\n/gm, '')
      .replaceAll(' \\\n', ' ')
      .trim()
      .split('\n');
    assert.ok(entries.some((entry) => entry.startsWith('openai==')) && entries.length > 5);
    for (const entry of entries)
      assert.match(entry, /^[a-z0-9-]+==\d[\d.]*( +--hash=sha256:[0-9a-f]{64})+$/, entry);
  });

  it('is used with an interpreter that the wheels are for', async () => {
    const { supportedPython } = await loadScript<OpenaiPythonScript>('openai-python.mjs');
    assert.deepEqual(supportedPython('cpython 3 11\n'), { version: [3, 11] });
    assert.deepEqual(supportedPython('cpython 3 13\n'), { version: [3, 13] });
    for (const other of ['cpython 3 9', 'cpython 3 14', 'cpython 2 12', 'pypy 3 11'])
      assert.match(
        supportedPython(other).reason ?? '',
        new RegExp(`CPython 3.11 to 3.13; python3 is ${other.replace(/ (\d+)$/, '.$1')}`),
      );
  });
});
