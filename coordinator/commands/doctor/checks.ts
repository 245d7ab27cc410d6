// What `skein doctor` looks at: each check turns facts of the machine into a verdict, with the command that mends it.
// Pure over Machine, so that every verdict can be tested on any machine.
import type { Check } from './check.js';
import { cudaChecks } from './cuda-checks.js';
import type { Machine } from './machine.js';
import { allowedCores, allowedMemoryBytes, instructionClasses, libraryPath, parseLimits } from './facts.js';

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;
const MIN_MEMORY_BYTES = 2 * GIB;
/** Docker's default of 64 MiB holds the exchange buffers of two small ranks and no more. */
const MIN_SHM_BYTES = 128 * MIB;
const MIN_OPEN_FILES = 4096;
const SETUP = 'npm run setup';

export function runChecks(machine: Machine): Check[] {
  return [
    nodeCheck(machine),
    instructionCheck(machine),
    coresCheck(machine),
    memoryCheck(machine),
    sharedMemoryCheck(machine),
    openFilesCheck(machine),
    buildToolsCheck(machine),
    libraryCheck(machine, { name: 'Gloo', library: 'libgloo.so' }),
    addonCheck(machine, 'native engine', 'skein_cpu.node'),
    addonCheck(machine, 'code for pictures', 'skein_picture.node'),
    modelCheck(machine),
    ...cudaChecks(machine),
  ];
}

function nodeCheck(machine: Machine): Check {
  const [major = 0, minor = 0] = machine.nodeVersion.split('.').map(Number);
  const isNewEnough = major > 20 || (major === 20 && minor >= 19);
  return verdict(
    'Node',
    isNewEnough,
    machine.nodeVersion,
    'install Node 20.19 or newer (https://nodejs.org)',
  );
}

function instructionCheck(machine: Machine): Check {
  const name = 'instruction set';
  if (machine.architecture !== 'x64') {
    const found = `${machine.architecture}: kernels have no instructions of their own for it`;
    return { name, status: 'warning', found, mend: null };
  }
  const classes = instructionClasses(machine.readFile('/proc/cpuinfo') ?? '');
  const found = classes.length > 0 ? classes.join(', ') : 'no AVX2';
  return verdict(
    name,
    classes.includes('avx2'),
    found,
    'use a processor (or a virtual machine type) with AVX2',
  );
}

function coresCheck(machine: Machine): Check {
  const cores = allowedCores(machine);
  const found = cores < machine.numCores ? `${cores} of ${machine.numCores} (cgroup quota)` : String(cores);
  if (cores >= 2) return { name: 'cores', status: 'ok', found, mend: null };
  return { name: 'cores', status: 'warning', found, mend: 'allow 2 or more cores: two ranks share one now' };
}

function memoryCheck(machine: Machine): Check {
  const bytes = allowedMemoryBytes(machine);
  const found = `${gib(bytes)} usable, ${gib(machine.freeMemoryBytes)} free on the host`;
  return verdict('memory', bytes >= MIN_MEMORY_BYTES, found, `allow ${gib(MIN_MEMORY_BYTES)} or more`);
}

function sharedMemoryCheck(machine: Machine): Check {
  const name = '/dev/shm';
  const size = machine.fileSystem('/dev/shm');
  const mend = 'mount -o remount,size=1G /dev/shm (in a container: start it with --shm-size=1g)';
  if (size === null) return { name, status: 'missing', found: 'not there', mend };
  const found = `${mib(size.totalBytes)}, ${mib(size.freeBytes)} free`;
  if (size.freeBytes >= MIN_SHM_BYTES) return { name, status: 'ok', found, mend: null };
  return { name, status: 'warning', found, mend };
}

function openFilesCheck(machine: Machine): Check {
  const name = 'open files';
  const limit = parseLimits(machine.readFile('/proc/self/limits') ?? '').get('Max open files') ?? null;
  if (limit === null) return { name, status: 'warning', found: 'limit unknown', mend: null };
  if (limit >= MIN_OPEN_FILES) return { name, status: 'ok', found: `limit ${limit}`, mend: null };
  return { name, status: 'warning', found: `limit ${limit}`, mend: `ulimit -n ${MIN_OPEN_FILES}` };
}

function buildToolsCheck(machine: Machine): Check {
  const missing = ['g++', 'cmake', 'ninja'].filter((tool) => !machine.hasTool(tool));
  if (missing.length === 0)
    return { name: 'build tools', status: 'ok', found: 'g++, cmake, ninja', mend: null };
  // What is built already runs without them.
  return { name: 'build tools', status: 'warning', found: `no ${missing.join(', ')}`, mend: SETUP };
}

function libraryCheck(machine: Machine, { name, library }: { name: string; library: string }): Check {
  const file = libraryPath(machine, library);
  return verdict(name, file !== null, file ?? `no ${library}`, SETUP);
}

function addonCheck(machine: Machine, name: string, addon: string): Check {
  const file = machine.inRepository('build', 'native', addon);
  if (!machine.exists(file)) return { name, status: 'missing', found: 'not built', mend: SETUP };
  // In a process of its own: an addon for another machine may end the process that loads it.
  const program = `process.stdout.write(String(require(${JSON.stringify(file)}).interfaceVersion))`;
  const result = machine.run(process.execPath, ['-e', program]);
  if (!result.ok) return { name, status: 'missing', found: `does not load: ${result.reason}`, mend: SETUP };
  return { name, status: 'ok', found: `loads, interface version ${result.output}`, mend: null };
}

function modelCheck(machine: Machine): Check {
  const folder = machine.inRepository('models', 'r1v-nano');
  const missing = ['config.json', 'tokenizer.json', 'examples/examples.json'].filter(
    (file) => !machine.exists(`${folder}/${file}`),
  );
  if (!machine.list(folder).some((file) => file.endsWith('.safetensors'))) missing.push('*.safetensors');
  if (missing.length === 0)
    return { name: 'bundled model', status: 'ok', found: 'models/r1v-nano', mend: null };
  // Any other model can be served without it.
  const found = `models/r1v-nano lacks ${missing.join(', ')}`;
  return { name: 'bundled model', status: 'warning', found, mend: 'git checkout -- models' };
}

function verdict(name: string, isGood: boolean, found: string, mend: string): Check {
  return { name, status: isGood ? 'ok' : 'missing', found, mend: isGood ? null : mend };
}

function gib(bytes: number): string {
  return `${(bytes / GIB).toFixed(1)} GiB`;
}

function mib(bytes: number): string {
  return `${Math.floor(bytes / MIB)} MiB`;
}
