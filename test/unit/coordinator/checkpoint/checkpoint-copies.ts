// Copies of golden checkpoints with one thing changed, for tests of what a reader refuses.
import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ErrorCode } from '../../../../common/errors.js';
import { readCheckpoint } from '../../../../coordinator/checkpoint/checkpoint.js';
import { repoRoot } from '../../../support/paths.js';

export type Header = Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }>;
export type Json = Record<string, unknown>;

let scratch = '';

/** Called in a describe: its tests copy golden folders into a folder of their own. */
export function useScratchFolder(): () => string {
  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'skein-checkpoint-'));
  });
  after(() => rm(scratch, { recursive: true, force: true }));
  return () => scratch;
}

export async function copyOf(folder: string): Promise<string> {
  const target = join(scratch, folder);
  await rm(target, { recursive: true, force: true });
  await cp(join(repoRoot, 'test', 'golden', folder), target, {
    recursive: true,
    filter: (path) => !path.endsWith('.png'),
  });
  return target;
}

export async function editConfig(
  folder: string,
  edit: (config: Json) => void,
  name = 'config.json',
): Promise<void> {
  const path = join(folder, name);
  const config = JSON.parse(await readFile(path, 'utf8')) as Json;
  edit(config);
  await writeFile(path, JSON.stringify(config));
}

/** Rewrites the header and leaves the data as it is. */
export async function editHeader(
  folder: string,
  edit: (header: Header) => Header | string | void,
  file = 'model.safetensors',
): Promise<void> {
  const path = join(folder, file);
  const bytes = await readFile(path);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Header;
  const edited = edit(header) ?? header;
  const text = Buffer.from(typeof edited === 'string' ? edited : JSON.stringify(edited));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(text.length));
  await writeFile(path, Buffer.concat([prefix, text, bytes.subarray(8 + length)]));
}

export async function refuses(folder: string, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(readCheckpoint(folder), (error: { code?: string; message: string }) => {
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    assert.ok(!error.message.includes('\n'), 'one line');
    return true;
  });
}

export const object = (config: Json, key: string): Json => config[key] as Json;
