// Goal: pictures by http(s) URLs come from the hosts that the operator allows and from nowhere else, whatever names
// resolve to, wherever redirects lead; a server that is slow, endless or wrong costs its request and nothing more.
import assert from 'node:assert/strict';
import type { lookup, LookupAddress } from 'node:dns';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { MAX_MEDIA_FETCHES, MAX_PICTURE_BYTES } from '../../common/limits.js';
import { MediaAddresses } from '../../coordinator/gateway/http/media-addresses.js';
import { MediaFetcher } from '../../coordinator/gateway/http/media-fetcher.js';
import { goldenPath } from '../support/paths.js';
import { dataUrl, MODEL, post, startHttpService, type HttpService } from './http-service.js';

const CHAT = '/v1/chat/completions';
const PICTURE = readFileSync(goldenPath(MODEL, 'img0.png'));
const TIMEOUT_MS = 1_000;

function ask(...urls: string[]): object {
  const parts = urls.map((url) => ({ type: 'image_url', image_url: { url } }));
  return {
    messages: [{ role: 'user', content: [...parts, { type: 'text', text: 'What?' }] }],
    max_tokens: 6,
  };
}

/** Names to addresses; a list of lists answers each question with the next. */
const NAMES: Record<string, string[]> = {
  'media.test': ['127.0.0.1'],
  'sub.media.test': ['127.0.0.1'],
  'metadata.test': ['169.254.169.254'],
  'mixed.test': ['127.0.0.1', '10.0.0.1'],
  'mapped.test': ['::ffff:10.0.0.1'],
};
let rebinds = 0;

const resolve = ((
  hostname: string,
  _options: object,
  callback: (error: Error | null, all: LookupAddress[]) => void,
) => {
  // The first answer is allowed, every later one is not.
  const found =
    hostname === 'rebind.test' ? [(rebinds += 1) === 1 ? '127.0.0.1' : '10.0.0.1'] : NAMES[hostname];
  if (found === undefined) callback(Object.assign(new Error('no such host'), { code: 'ENOTFOUND' }), []);
  else
    callback(
      null,
      found.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    );
}) as unknown as typeof lookup;

describe('pictures by URL', function () {
  this.timeout(60_000);
  let service: HttpService;
  let server: Server;
  let port: number;
  let numAsked = 0;
  let numOpen = 0;
  let mostOpen = 0;

  function serve(request: IncomingMessage, response: ServerResponse): void {
    numAsked += 1;
    const [path, target] = request.url!.slice(1).split('?to=');
    switch (path) {
      case 'picture':
        response.end(PICTURE);
        break;
      case 'slow-picture':
        numOpen += 1;
        mostOpen = Math.max(mostOpen, numOpen);
        setTimeout(() => {
          numOpen -= 1;
          response.end(PICTURE);
        }, 20);
        break;
      case 'to':
        response.writeHead(302, { location: decodeURIComponent(target!) }).end();
        break;
      case 'loop':
        response.writeHead(307, { location: '/loop' }).end();
        break;
      case 'silent':
        break;
      case 'drip': {
        const timer = setInterval(() => response.write('x'), 50);
        response.on('close', () => clearInterval(timer));
        break;
      }
      case 'endless': {
        const more = (): void => {
          while (!response.destroyed && response.write(Buffer.alloc(65_536))) continue;
        };
        response.on('drain', more);
        more();
        break;
      }
      case 'announced':
        response.writeHead(200, { 'content-length': String(MAX_PICTURE_BYTES + 1) }).write('x');
        break;
      case 'short':
        response.writeHead(200, { 'content-length': '1000000' }).write(PICTURE);
        setTimeout(() => response.destroy(), 50);
        break;
      case 'gzip':
        response.writeHead(200, { 'content-encoding': 'gzip' }).end(PICTURE);
        break;
      case 'text':
        response.end('no picture');
        break;
      default:
        response.writeHead(404).end('secret of the other server');
    }
  }

  before(async () => {
    server = createServer(serve);
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    ({ port } = server.address() as AddressInfo);
    const names = ['media.test', '*.media.test', 'metadata.test', 'mixed.test', 'mapped.test', 'rebind.test'];
    const hosts = [...names, 'gone.test', '127.0.0.1', '10.0.0.2'].map((name) => `${name}:${port}`);
    const addresses = new MediaAddresses([...hosts, '127.0.0.0/8']);
    const media = new MediaFetcher({ addresses, timeoutMs: TIMEOUT_MS, resolve });
    service = await startHttpService({ media });
  });
  afterEach(() => service.idle());
  after(async () => {
    await service.stop();
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  });

  const at = (host: string, path: string): string => `http://${host}:${port}/${path}`;
  const redirect = (to: string): string => at('media.test', `to?to=${encodeURIComponent(to)}`);

  it('give the answers that their bytes give', async () => {
    const { json: expected } = await post(
      service.gateway,
      CHAT,
      ask(dataUrl('img0.png'), dataUrl('img0.png')),
    );
    for (const urls of [
      [at('media.test', 'picture'), at('sub.media.test', 'picture')],
      [at('127.0.0.1', 'picture'), redirect(at('media.test', 'picture'))],
      [redirect('/picture'), dataUrl('img0.png')],
    ]) {
      const { status, json, text } = await post(service.gateway, CHAT, ask(...urls));
      assert.equal(status, 200, text);
      assert.deepEqual(json['choices'], expected['choices']);
    }
  });

  it('come from no other host, and from no address that is not public', async () => {
    const [host, notPublic] = [/names a host that/, /at an address that is not public/];
    const refused: [string, RegExp][] = [
      ['http://other.test/picture', host],
      [at('notmedia.test', 'picture'), host],
      [`http://media.test:${port + 1}/picture`, host],
      ['http://media.test/picture', host],
      [`https://media.test:${port + 1}/`, host],
      [`http://localhost:${port}/picture`, host],
      [`http://[::1]:${port}/picture`, host],
      ['http://0xa.1/picture', host],
      ['http://169.254.169.254/latest/meta-data', host],
      [`http://media.test\\@other.test:${port}/picture`, host],
      [`http://media.test:${port}@other.test/picture`, /credentials/],
      [`http://me:secret@media.test:${port}/picture`, /credentials/],
      ['http://', /is no URL/],
      [`http://${'x'.repeat(9000)}`, /is no URL/],
      [at('metadata.test', 'picture'), notPublic],
      [at('mixed.test', 'picture'), notPublic],
      [at('mapped.test', 'picture'), notPublic],
      [at('10.0.0.2', 'picture'), notPublic],
      [redirect('http://other.test/picture'), /redirects to a URL that names a host/],
      [redirect(at('metadata.test', 'picture')), notPublic],
      [redirect('file:///etc/passwd'), /redirects to a URL that is neither/],
      [redirect('http://a:b@media.test/'), /redirects to a URL that holds credentials/],
      ['ftp://media.test/picture', /neither a data URL/],
    ];
    for (const [url, message] of refused) {
      const before = numAsked;
      const { status, text } = await post(service.gateway, CHAT, ask(url));
      assert.equal(status, 400, `${url}: ${text}`);
      assert.match(text, message, url);
      assert.match(text, /messages\[0\]\.content\[0\]\.image_url\.url/);
      assert.ok(!text.includes('169.254.') && !text.includes('10.0.0'), 'no address is told');
      assert.ok(numAsked <= before + (url.includes('to?to=') ? 1 : 0), `${url} was asked`);
    }
  });

  it('are fetched from the address that was checked, whatever the name resolves to then', async () => {
    rebinds = 0;
    assert.equal((await post(service.gateway, CHAT, ask(at('rebind.test', 'picture')))).status, 200);
    assert.equal(rebinds, 1);
    assert.match((await post(service.gateway, CHAT, ask(at('rebind.test', 'picture')))).text, /not public/);
  });

  it('are bounded in time, bytes and redirects, and tell nothing of the other server', async () => {
    const refused: [string, RegExp][] = [
      ['silent', /within 1000 ms/],
      ['drip', /within 1000 ms/],
      ['endless', /more than 33554432 bytes/],
      ['announced', /more than 33554432 bytes/],
      ['short', /cannot be fetched: ECONNRESET/],
      ['gzip', /compressed/],
      ['text', /unknown format/],
      ['missing', /status 404/],
      ['loop', /more than 5 redirects/],
    ];
    await Promise.all(
      refused.map(async ([path, message]) => {
        const { status, text, json } = await post(service.gateway, CHAT, ask(at('media.test', path)));
        assert.equal(status, 400, text);
        assert.match(text, message, path);
        assert.ok(!text.includes('secret'));
        assert.equal((json['error'] as { code: string }).code, 'invalid_picture');
      }),
    );
    assert.match((await post(service.gateway, CHAT, ask(at('gone.test', 'x')))).text, /ENOTFOUND/);
  });

  it('end with their client, and in its time', async () => {
    const controller = new AbortController();
    const before = numAsked;
    const call = fetch(service.gateway.address + CHAT, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(ask(at('media.test', 'silent'))),
      signal: controller.signal,
    });
    while (numAsked === before) await new Promise((done) => setTimeout(done, 5));
    controller.abort();
    await assert.rejects(call);
    const headers = { 'x-request-timeout': '0.1' };
    const { status } = await post(service.gateway, CHAT, ask(at('media.test', 'silent')), headers);
    assert.equal(status, 504);
  });

  it('wait for their turn when many are fetched', async () => {
    const calls = Array.from({ length: 10 }, () =>
      post(service.gateway, CHAT, {
        ...ask(...new Array<string>(16).fill(at('media.test', 'slow-picture'))),
        max_tokens: 1,
      }),
    );
    for (const { status, text } of await Promise.all(calls)) assert.ok([200, 400].includes(status), text);
    assert.ok(mostOpen <= MAX_MEDIA_FETCHES && mostOpen > 16, `${mostOpen} at once`);
  });
});

describe('--allowed-media-hosts', () => {
  it('takes hosts, ports, addresses and ranges, and nothing else', () => {
    const allowed = new MediaAddresses([
      'a.test',
      '*.b.test',
      'c.test:8080',
      '10.1.0.0/16',
      'fd00::1',
      'A.B',
    ]);
    const asked: [string, boolean][] = [
      ['https://a.test/', true],
      ['http://A.TEST:80/', true],
      ['http://a.test:443/', false],
      ['http://x.a.test/', false],
      ['http://b.test/', false],
      ['http://x.y.b.test/', true],
      ['http://xb.test/', false],
      ['http://c.test/', false],
      ['http://c.test:8080/', true],
      ['http://10.1.2.3/', true],
      ['http://10.2.2.3/', false],
      ['http://[fd00::1]/', true],
      ['http://[fd00::2]/', false],
      ['https://a.b/', true],
    ];
    for (const [url, isAllowed] of asked) assert.equal(allowed.allowsHost(new URL(url)), isAllowed, url);
    for (const entry of ['', '*', 'a b', 'http://a', 'a/8', '10.0.0.0/33', '10.0.0.0/x', '*.*.a', 'a.test:x'])
      assert.throws(() => new MediaAddresses([entry]), { code: 'INVALID_REQUEST' }, entry);
  });

  it('lets in no address that is not public, unless it is named', () => {
    const none = new MediaAddresses(['a.test']);
    const notPublic = [
      ...['0.0.0.0', '10.0.0.1', '100.64.0.1', '127.0.0.1', '169.254.169.254', '172.16.0.1', '192.168.0.1'],
      ...[
        '192.0.2.1',
        '198.18.0.1',
        '224.0.0.1',
        '255.255.255.255',
        '::',
        '::1',
        '::ffff:127.0.0.1',
        'fe80::1',
      ],
      ...[
        '::ffff:a9fe:a9fe',
        'fc00::1',
        'fd12::1',
        'ff02::1',
        '64:ff9b::7f00:1',
        '2002:7f00:1::',
        '2001:db8::1',
      ],
    ];
    for (const address of notPublic) assert.equal(none.allowsAddress(address), false, address);
    for (const address of ['8.8.8.8', '1.1.1.1', '172.32.0.1', '2606:4700::1111', '::ffff:8.8.8.8'])
      assert.equal(none.allowsAddress(address), true, address);
    const some = new MediaAddresses(['127.0.0.0/8', 'fd12::/16']);
    for (const address of ['127.0.0.1', '::ffff:127.0.0.1', 'fd12::1'])
      assert.equal(some.allowsAddress(address), true, address);
    assert.equal(some.allowsAddress('10.0.0.1'), false);
  });
});
