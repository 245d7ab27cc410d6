// Writes proto/ts: TypeScript types of every message and service under proto/, for the options of common/proto.ts.
// With --check it writes nothing and fails when proto/ts differs from what it would write.
// It must not format or edit what the generator gives: proto/ts is generated, never touched by hand.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const repoRoot = fileURLToPath(new URL('..', import.meta.url));
const protoDirectory = path.join(repoRoot, 'proto');
const outputDirectory = path.join(protoDirectory, 'ts');

function filesBelow(directory, extension) {
  return readdirSync(directory, { recursive: true })
    .map((file) => file.split(path.sep).join('/'))
    .filter((file) => file.endsWith(extension))
    .sort();
}

/** The options are those of common/proto.ts; a difference would make the types lie about the run-time values. */
function generate(directory) {
  const generator = path.join(
    repoRoot,
    'node_modules/@grpc/proto-loader/build/bin/proto-loader-gen-types.js',
  );
  const protos = filesBelow(protoDirectory, '.proto').map((file) => path.posix.join('proto', file));
  const options = [
    '--longs=String',
    '--enums=String',
    '--defaults',
    '--oneofs',
    '--includeComments',
    '--grpcLib=@grpc/grpc-js',
    '--importFileExtension=.js',
    '--includeDirs=proto',
    `--outDir=${directory}`,
  ];
  // The generator names each source by its path from the working directory, so that must be the repository's root.
  const result = spawnSync(process.execPath, [generator, ...options, ...protos], {
    cwd: repoRoot,
    encoding: 'utf8',
  });
  if (result.status !== 0)
    throw new Error(`proto-loader-gen-types failed:\n${result.stderr}${result.stdout}`);
}

/** Paths that are missing, extra or different in `actual`, compared with `expected`. */
function differences(expected, actual) {
  const read = (directory) =>
    new Map(
      filesBelow(directory, '.ts').map((file) => [file, readFileSync(path.join(directory, file), 'utf8')]),
    );
  const wanted = read(expected);
  const found = read(actual);
  return [...new Set([...wanted.keys(), ...found.keys()])]
    .filter((file) => wanted.get(file) !== found.get(file))
    .sort();
}

const scratch = mkdtempSync(path.join(tmpdir(), 'skein-proto-'));
try {
  generate(scratch);
  if (process.argv.includes('--check')) {
    const stale = differences(scratch, outputDirectory);
    if (stale.length > 0) {
      console.error(`proto/ts is stale (${stale.join(', ')}); run: npm run proto`);
      process.exitCode = 1;
    }
  } else {
    rmSync(outputDirectory, { recursive: true, force: true });
    cpSync(scratch, outputDirectory, { recursive: true });
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
