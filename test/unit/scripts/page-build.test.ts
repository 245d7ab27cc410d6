// The bundling of the page: names that follow from contents, and a document that names nothing else.
import assert from 'node:assert/strict';
import { repoPath } from '../../support/paths.js';
import { loadScript } from '../../support/scripts.js';

interface PageBuild {
  hashedName: (name: string, contents: Uint8Array) => string;
  fillIn: (document: string, names: ReadonlyMap<string, string>) => string;
  buildSite: (repoRoot: string) => Promise<Map<string, Buffer | string>>;
}

describe('the build of the page', () => {
  let build: PageBuild;
  before(async () => {
    build = await loadScript<PageBuild>('page-build.mjs');
  });

  it('names files by what is in them', () => {
    const name = build.hashedName('main.js', Buffer.from('a'));
    assert.match(name, /^main-[0-9a-f]{12}\.js$/);
    assert.notEqual(name, build.hashedName('main.js', Buffer.from('b')));
    assert.equal(
      build.fillIn('<a href="{{main.js}}">', new Map([['main.js', name]])),
      `<a href="assets/${name}">`,
    );
    assert.throws(() => build.fillIn('{{other.js}}', new Map()), /other\.js, which is not built/);
  });

  it('is the same twice, and stays small', async function () {
    this.timeout(30_000);
    const [one, other] = [await build.buildSite(repoPath('.')), await build.buildSite(repoPath('.'))];
    assert.deepEqual([...one.keys()], [...other.keys()]);
    const numBytes = [...one.values()].reduce((sum, contents) => sum + Buffer.byteLength(contents), 0);
    assert.ok(numBytes < 400_000, `${numBytes} bytes`);
  });
});
