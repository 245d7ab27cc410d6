// What tests of whole `skein` processes share: a temporary folder for their sockets, and an end for whatever a test has
// started.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { goldenPath } from './paths.js';
import { SkeinProcess, type FakeSettings, type SpawnOptions } from './skein-process.js';

/** A model of two ranks. */
const MODEL = ['--model', goldenPath('tiny-6b-vit'), '--dtype', 'float32', '--tensor-parallel-size', '2'];
const SILENT = ['--log-level', 'silent'];

export interface SkeinFixture {
  /** Made anew for every test. */
  readonly folder: string;
  /** `skein serve` on a free port. */
  serve(engine: FakeSettings, flags?: readonly string[], options?: SpawnOptions): SkeinProcess;
  /** `skein run`: a question whose answer does not end by itself. */
  run(engine: FakeSettings, flags?: readonly string[], options?: SpawnOptions): SkeinProcess;
}

/** Called in a suite: its hooks make the folder, end the process and remove the folder again. */
export function useSkein(): SkeinFixture {
  let folder = '';
  let skein: SkeinProcess | null = null;

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 't-'));
  });

  afterEach(async () => {
    await skein?.killed();
    skein = null;
    rmSync(folder, { recursive: true, force: true });
  });

  const start = (
    command: readonly string[],
    engine: FakeSettings,
    flags: readonly string[],
    options: SpawnOptions,
  ): SkeinProcess => {
    const environment = { TMPDIR: folder, XDG_RUNTIME_DIR: '' };
    const args = [...command, ...MODEL, ...SILENT, ...flags];
    skein = new SkeinProcess(args, engine, environment, undefined, options);
    return skein;
  };

  return {
    get folder() {
      return folder;
    },
    serve: (engine, flags = [], options = {}) =>
      start(['serve', '--grpc-address', '127.0.0.1:0'], engine, flags, options),
    run: (engine, flags = [], options = {}) =>
      start(['run', '--question', 'why?', '--max-tokens', '1000', '--ignore-eos'], engine, flags, options),
  };
}
