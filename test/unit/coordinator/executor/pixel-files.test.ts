// Pixels for ranks of the same host: what another process reads is what was put there, each file is there once and no
// longer than it is needed, and where there is none, or the rank does not see it, pixels travel as messages.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { createGrpcServer } from '../../../../common/grpc-server.js';
import { workerServiceDefinition } from '../../../../common/proto.js';
import { openGrpcRankTransport } from '../../../../coordinator/executor/grpc-rank-transport.js';
import { PixelFiles } from '../../../../coordinator/executor/pixel-files.js';
import type { PutPixelsRequest__Output } from '../../../../proto/ts/skein/worker/v1/PutPixelsRequest.js';
import type { SharedFile } from '../../../../proto/ts/skein/worker/v1/SharedFile.js';
import { readSharedFile } from '../../../../worker/shared-file.js';

const PIXELS = Uint8Array.from({ length: 3_000_000 }, (_, index) => (index * 31) % 251);

async function read(file: SharedFile | null, numBytes = PIXELS.length): Promise<Uint8Array | null> {
  assert.ok(file !== null);
  const { processId, descriptor, device, inode } = file as Record<keyof SharedFile, never>;
  const bytes = new Uint8Array(numBytes);
  return (await readSharedFile({ processId, descriptor, device, inode }, bytes)) ? bytes : null;
}

describe('files of pixels', () => {
  it('have the bytes, once for all that send them, and end with the last one', async () => {
    const files = new PixelFiles();
    const seen: (SharedFile | null)[] = [];
    await Promise.all(
      [1, 2, 3].map(() =>
        files.use(PIXELS, async (file) => {
          seen.push(file);
          assert.deepEqual(await read(file), PIXELS);
          assert.equal(files.numBytes, PIXELS.length);
        }),
      ),
    );
    assert.equal(new Set(seen).size, 1);
    assert.equal(files.numBytes, 0);
    assert.equal(await read(seen[0]!), null);
  });

  it('are taken for no other file: size, device and inode must fit', async () => {
    await new PixelFiles().use(PIXELS, async (file) => {
      assert.equal(await read(file, PIXELS.length - 1), null);
      assert.equal(await read({ ...file, inode: String(Number(file!.inode) + 1) }), null);
      assert.equal(await read({ ...file, device: '1' }), null);
      assert.equal(await read({ ...file, descriptor: 65_535 }), null);
    });
  });

  it('are not made beyond their limit, nor where there is no memory for them; a failed call ends its file', async () => {
    const full = new PixelFiles({ maxBytes: 2 * PIXELS.length });
    const other = PIXELS.slice();
    await full.use(PIXELS, () =>
      full.use(other, async (second) => {
        assert.deepEqual(await read(second), PIXELS);
        assert.equal(await full.use(PIXELS.slice(), async (third) => Promise.resolve(third)), null);
      }),
    );
    const nowhere = new PixelFiles({ folder: '/nowhere' });
    assert.equal(await nowhere.use(PIXELS, async (file) => Promise.resolve(file)), null);
    await assert.rejects(
      full.use(PIXELS, () => Promise.reject(new Error('cut'))),
      /cut/,
    );
    assert.deepEqual([full.numBytes, nowhere.numBytes], [0, 0]);
  });

  it('never have a name', async () => {
    const folder = mkdtempSync('/dev/shm/skein-test-');
    try {
      await new PixelFiles({ folder }).use(PIXELS, async (file) => {
        assert.deepEqual(await read(file), PIXELS);
        assert.deepEqual(readdirSync(folder), []);
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('pixels on their way to a rank', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'skein-pixels-'));
  after(() => rmSync(folder, { recursive: true }));

  /** What arrived of each call: the file's place or the number of bytes. */
  async function put(address: string, unreadable: boolean, numPictures: number): Promise<string[]> {
    const calls: string[] = [];
    const server = createGrpcServer({ maxMessageBytes: 16 * 1024 * 1024, maxConcurrentStreams: 10 });
    server.addService(workerServiceDefinition, {
      PutPixels: (
        call: grpc.ServerReadableStream<PutPixelsRequest__Output, object>,
        callback: grpc.sendUnaryData<object>,
      ) => {
        let numBytes = 0;
        let file: PutPixelsRequest__Output['sharedFile'] = null;
        call.on('data', (request: PutPixelsRequest__Output) => {
          file ??= request.sharedFile;
          numBytes += request.data.byteLength;
        });
        call.on('end', () => {
          calls.push(file === null ? `${numBytes} bytes` : 'a file');
          callback(null, { unreadable: file !== null && unreadable });
        });
      },
    });
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync(address, grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      ),
    );
    const transport = openGrpcRankTransport(address.startsWith('unix:') ? address : `127.0.0.1:${port}`);
    try {
      for (let picture = 1; picture <= numPictures; picture++)
        await transport.putPixels({ pictureId: picture, numTiles: 1 }, PIXELS, 10_000);
    } finally {
      transport.close();
      server.forceShutdown();
    }
    return calls;
  }

  it('are a file where the rank is on this host', async () => {
    assert.deepEqual(await put(`unix:${folder}/one`, false, 2), ['a file', 'a file']);
  });

  it('are messages for good once a rank could not read the file', async () => {
    const bytes = `${PIXELS.length} bytes`;
    assert.deepEqual(await put(`unix:${folder}/two`, true, 2), ['a file', bytes, bytes]);
  });

  it('are messages over TCP', async () => {
    assert.deepEqual(await put('127.0.0.1:0', false, 1), [`${PIXELS.length} bytes`]);
  });
});
