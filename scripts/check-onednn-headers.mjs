// Compiles the only file that includes oneDNN against the headers of other versions, without linking. Arguments:
// folders that hold oneapi/dnnl/dnnl.hpp. With none: the installed headers, and those of 3.1 (Ubuntu 24.04's) from
// PyPI's onednn-devel-cpu-gomp where pip can fetch them.
import './lib/require-node.mjs';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { SetupError } from './lib/console.mjs';
import { repoRoot, runScript } from './lib/setup.mjs';

const SYSTEM_INCLUDES = '/usr/include';
const PYPI_PACKAGE = 'onednn-devel-cpu-gomp==2023.1.0';

function run(command, args) {
  return spawnSync(command, args, { encoding: 'utf8', maxBuffer: 16 * 1024 * 1024 });
}

/** The folder of the fetched wheel that holds oneapi/, or null with the reason printed. */
function fetchHeaders(folder, reporter) {
  const download = run('python3', [
    '-m',
    'pip',
    'download',
    '--quiet',
    '--no-deps',
    '-d',
    folder,
    PYPI_PACKAGE,
  ]);
  const wheel = readdirSync(folder).find((name) => name.endsWith('.whl'));
  if (download.status !== 0 || !wheel) {
    reporter.line(`skein: oneDNN 3.1 headers not checked: pip cannot fetch ${PYPI_PACKAGE}`);
    return null;
  }
  const unpacked = path.join(folder, 'unpacked');
  const unzip = run('python3', ['-m', 'zipfile', '-e', path.join(folder, wheel), unpacked]);
  if (unzip.status !== 0) throw new SetupError(`cannot unpack ${wheel}: ${unzip.stderr.trim()}`);
  const header = readdirSync(unpacked, { recursive: true }).find((name) =>
    name.endsWith('oneapi/dnnl/dnnl.hpp'),
  );
  if (!header) throw new SetupError(`${wheel} has no oneapi/dnnl/dnnl.hpp`);
  return path.join(unpacked, header, '../../..');
}

function headerVersion(folder) {
  const text = readFileSync(path.join(folder, 'oneapi/dnnl/dnnl_version.h'), 'utf8');
  const number = (part) => new RegExp(`#define DNNL_VERSION_${part} (\\d+)`).exec(text)?.[1] ?? '?';
  return `${number('MAJOR')}.${number('MINOR')}.${number('PATCH')}`;
}

function check(folder, reporter) {
  const compiler = process.env.CXX || 'g++';
  const flags = ['-std=c++20', '-fopenmp', '-fsyntax-only', '-Wall', '-Wextra', '-Werror'];
  // The compiler's own folder must keep its place in the search order.
  if (folder !== SYSTEM_INCLUDES) flags.push('-isystem', folder);
  const file = path.join(repoRoot, 'native/test/onednn_matmul.cc');
  const result = run(compiler, [...flags, '-I', path.join(repoRoot, 'native'), file]);
  if (result.status !== 0)
    throw new SetupError(`oneDNN ${headerVersion(folder)}: ${result.stderr || result.error?.message}`);
  reporter.line(`skein: oneDNN ${headerVersion(folder)} headers: ${path.relative(repoRoot, file)} compiles`);
}

await runScript(async (reporter) => {
  const temporary = mkdtempSync(path.join(os.tmpdir(), 'skein-onednn-'));
  try {
    const given = process.argv.slice(2).map((folder) => path.resolve(folder));
    for (const folder of given.length > 0 ? given : [SYSTEM_INCLUDES, fetchHeaders(temporary, reporter)]) {
      if (folder === null) continue;
      if (!existsSync(path.join(folder, 'oneapi/dnnl/dnnl.hpp')))
        throw new SetupError(`${folder} has no oneapi/dnnl/dnnl.hpp`);
      check(folder, reporter);
    }
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
});
