// What becomes of a picture before the ranks have it, by phases: its header, decoding, turning, tiles, hash; several at
// once over the threads of the pool; and Pillow, which the models' authors use, beside it where python3 has it. Builds
// given with --build take turns within one run, each in a process of its own, so that before and after share the
// machine's moods; processor time is counted beside the time by the clock.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { integerOption } from '../../common/command-line.js';
import { currentCommit, describeMachine } from '../machine.js';
import { summary } from '../statistics.js';
import { writeReport } from '../write-report.js';
import { PhotographMaker, TWELVE_MEGAPIXELS } from './photograph.js';

interface Flags {
  readonly build: readonly string[];
  readonly rounds: number;
  readonly output?: string;
}

/** Milliseconds by case, then phase: by the clock, and of the processor. */
export type PhaseSamples = Record<
  string,
  Record<string, { readonly wallMs: number[]; readonly cpuMs: number[] }>
>;

const MEASURE = fileURLToPath(new URL('./measure.js', import.meta.url));

const PILLOW = `
import io, json, sys, time
import PIL.Image
files, rounds = json.loads(sys.argv[1]), int(sys.argv[2])
samples = {}
for name, (path, grid) in files.items():
    data = open(path, 'rb').read()
    for _ in range(rounds):
        start, cpu = time.perf_counter(), time.process_time()
        picture = PIL.Image.open(io.BytesIO(data)).convert('RGB')
        decoded, decoded_cpu = time.perf_counter(), time.process_time()
        picture.resize(grid)
        picture.resize((448, 448))
        phases = {'decode': (decoded - start, decoded_cpu - cpu),
                  'tiles': (time.perf_counter() - decoded, time.process_time() - decoded_cpu)}
        for phase, (wall, used) in phases.items():
            each = samples.setdefault(name, {}).setdefault(phase, {'wallMs': [], 'cpuMs': []})
            each['wallMs'].append(wall * 1000)
            each['cpuMs'].append(used * 1000)
print(json.dumps({'version': PIL.__version__, 'samples': samples}))
`;

interface PictureFile {
  readonly file: string;
  /** Of the resized picture, for Pillow. */
  readonly grid: readonly [width: number, height: number];
}

async function writePictures(folder: string): Promise<Record<string, PictureFile>> {
  const photograph = new PhotographMaker(TWELVE_MEGAPIXELS);
  const small = new PhotographMaker({ width: 896, height: 896 });
  const pictures: [name: string, data: Buffer, grid: readonly [number, number]][] = [
    ['896 x 896, PNG', await small.png(1), [896, 896]],
    ['896 x 896, JPEG', await small.jpeg(1), [896, 896]],
    ['12 megapixels, JPEG', await photograph.jpeg(1), [1792, 1344]],
    ['12 megapixels, JPEG, to be turned', await photograph.jpeg(2, 6), [1344, 1792]],
  ];
  return Object.fromEntries(
    pictures.map(([name, data, grid], index) => {
      const file = path.join(folder, String(index));
      writeFileSync(file, data);
      return [name, { file, grid }];
    }),
  );
}

function merge(into: PhaseSamples, from: PhaseSamples): void {
  for (const [name, phases] of Object.entries(from)) {
    for (const [phase, { wallMs, cpuMs }] of Object.entries(phases)) {
      const each = ((into[name] ??= {})[phase] ??= { wallMs: [], cpuMs: [] });
      each.wallMs.push(...wallMs);
      each.cpuMs.push(...cpuMs);
    }
  }
}

function summaries(samples: PhaseSamples): object {
  const ofEach = <T, R>(values: Record<string, T>, map: (value: T) => R): Record<string, R> =>
    Object.fromEntries(Object.entries(values).map(([name, value]) => [name, map(value)]));
  return ofEach(samples, (phases) =>
    ofEach(phases, ({ wallMs, cpuMs }) => ({ wallMs: summary(wallMs), cpuMs: summary(cpuMs) })),
  );
}

function commitOf(folder: string): string {
  return execFileSync('git', ['-C', folder, 'rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
}

function measurePillow(files: Record<string, PictureFile>, samples: PhaseSamples): string | null {
  const list = Object.fromEntries(
    Object.entries(files).map(([name, { file, grid }]) => [name, [file, grid]]),
  );
  try {
    const output = execFileSync('python3', ['-c', PILLOW, JSON.stringify(list), '2'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const measured = JSON.parse(output) as { version: string; samples: PhaseSamples };
    merge(samples, measured.samples);
    return measured.version;
  } catch {
    return null;
  }
}

async function run({ build, rounds, output }: Flags): Promise<void> {
  const builds = build.map((each) => {
    const [name = '', folder] = each.split('=');
    if (folder === undefined) throw new Error(`--build ${each}: expected NAME=FOLDER`);
    return { name, folder: path.resolve(folder), commit: commitOf(folder), samples: {} };
  });
  const pillow: PhaseSamples = {};
  let version: string | null = null;
  const folder = mkdtempSync(path.join(tmpdir(), 'skein-pictures-'));
  try {
    const files = await writePictures(folder);
    const list = JSON.stringify(
      Object.fromEntries(Object.entries(files).map(([name, { file }]) => [name, file])),
    );
    for (let round = 0; round < rounds; round++) {
      for (const each of round % 2 === 0 ? builds : [...builds].reverse()) {
        const measured = execFileSync(process.execPath, [MEASURE, each.folder, list], { encoding: 'utf8' });
        merge(each.samples, JSON.parse(measured) as PhaseSamples);
      }
      version = measurePillow(files, pillow);
      process.stderr.write(`round ${round + 1} of ${rounds}\n`);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  writeReport(
    {
      benchmark: 'pictures',
      commit: currentCommit(),
      date: new Date().toISOString(),
      machine: describeMachine(),
      rounds,
      builds: Object.fromEntries(
        builds.map(({ name, commit, samples }) => [name, { commit, cases: summaries(samples) }]),
      ),
      pillow: version === null ? null : { version, cases: summaries(pillow) },
    },
    output,
  );
}

const program = new Command('pictures')
  .option('--build <name=folder...>', 'built checkouts to compare', ['this=.'])
  .option('--rounds <n>', 'turns of each build', integerOption(1, 100), 6)
  .option('--output <file>', 'where the result goes');
program.parse();
await run(program.opts<Flags>());
