// Builds deploy/container's images where no registry and no daemon is: buildah with chroot isolation, over a stand-in
// for the base image that debootstrap and this machine's Node make. Then it runs commands in the image as a container
// runtime would: as the image's user, with a read-only root, tmpfs where the image asks for it, no capabilities, a
// process id namespace of its own.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, realpathSync, rmSync } from 'node:fs';
import path from 'node:path';
import { SetupError } from './console.mjs';
import { runLogged } from './run-command.mjs';
import { ensureRequirements } from './system-packages.mjs';

const STORAGE = ['--storage-driver', 'vfs'];
const BASE = 'localhost/skein-stand-in-base:bookworm';
export const USER = 10001;

/** Of the deployment tests only. */
export const DEPLOY_REQUIREMENTS = [
  { package: 'buildah', purpose: 'images without a daemon', tools: ['buildah'] },
  { package: 'debootstrap', purpose: 'a stand-in for the base image', tools: ['debootstrap'] },
];

/** Why images cannot be built here, or null. */
export function whyNoImages() {
  if (process.platform !== 'linux') return 'images are built on Linux only';
  if (process.getuid?.() !== 0) return 'building images without a daemon needs root (chroot, mount)';
  const unshare = spawnSync('unshare', ['--mount', '--pid', '--fork', 'true'], { encoding: 'utf8' });
  return unshare.status === 0
    ? null
    : `namespaces cannot be made here: ${(unshare.stderr ?? 'no unshare').trim()}`;
}

export class ImageBuilder {
  /** @param {{repoRoot: string, reporter: import('./console.mjs').Reporter}} options */
  constructor({ repoRoot, reporter }) {
    this.repoRoot = repoRoot;
    this.reporter = reporter;
    this.logs = path.join(repoRoot, 'build', 'logs');
  }

  async prepare() {
    const logFile = path.join(this.logs, 'system-packages.log');
    await ensureRequirements({
      ...{ requirements: DEPLOY_REQUIREMENTS, repoRoot: this.repoRoot, logFile, reporter: this.reporter },
    });
  }

  async build(kind) {
    await this.#base();
    const tag = `localhost/skein:${kind}`;
    this.reporter.step(`building ${tag} from deploy/container/Containerfile.${kind}`);
    const file = `deploy/container/Containerfile.${kind}`;
    const flags = ['--isolation', 'chroot', '--format', 'docker', '--build-arg', `NODE_IMAGE=${BASE}`];
    await this.#buildah('image', `image-${kind}`, ['bud', ...STORAGE, ...flags, '-f', file, '-t', tag, '.']);
    return tag;
  }

  /** {bytes, user, healthcheck, ...} of the image's configuration. */
  inspect(tag) {
    const { Docker } = JSON.parse(this.#output(['inspect', ...STORAGE, '--type', 'image', tag]));
    const images = JSON.parse(this.#output(['images', ...STORAGE, '--json', tag]));
    return { size: images[0].size, config: Docker.config };
  }

  /** The image's root file system, mounted; `release` unmounts and forgets it. */
  mount(tag) {
    const container = this.#output(['from', ...STORAGE, tag]).trim();
    const root = this.#output(['mount', ...STORAGE, container]).trim();
    return { root, release: () => this.#output(['rm', ...STORAGE, container]) };
  }

  /**
   * Debian's minimal root with Node where the official image has it. The real base is not to be had without a registry.
   */
  async #base() {
    const isThere = spawnSync('buildah', ['inspect', ...STORAGE, '--type', 'image', BASE], {
      stdio: 'ignore',
    });
    if (isThere.status === 0) return;
    const root = path.join(this.repoRoot, 'build', 'deploy', 'base-root');
    rmSync(root, { recursive: true, force: true });
    mkdirSync(root, { recursive: true });
    this.reporter.step('making a stand-in for the base image: debootstrap, and this Node');
    try {
      await runLogged({
        ...{ what: 'debootstrap', command: 'debootstrap', cwd: this.repoRoot },
        args: ['--variant=minbase', 'bookworm', root],
        logFile: path.join(this.logs, 'debootstrap.log'),
      });
      this.#addNode(root);
      const certificates = this.#certificates(root);
      const container = this.#output(['from', ...STORAGE, 'scratch']).trim();
      await this.#buildah('base image', 'image-base', ['copy', ...STORAGE, container, root, '/']);
      this.#output(['config', ...STORAGE, ...certificates, container]);
      await this.#buildah('base image', 'image-base', ['commit', ...STORAGE, '--rm', container, BASE]);
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  }

  #addNode(root) {
    const node = realpathSync(process.execPath);
    cpSync(node, path.join(root, 'usr/local/bin/node'));
    const npm = [path.dirname(node), '/usr/bin', '/usr/local/bin']
      .map((folder) => path.join(folder, '../lib/node_modules/npm'))
      .find((folder) => existsSync(path.join(folder, 'bin/npm-cli.js')));
    if (npm === undefined) throw new SetupError(`no npm beside ${node}`);
    cpSync(npm, path.join(root, 'usr/local/lib/node_modules/npm'), { recursive: true, dereference: true });
    spawnSync('ln', ['-sf', '../lib/node_modules/npm/bin/npm-cli.js', path.join(root, 'usr/local/bin/npm')]);
  }

  /** Where this machine reaches registries through certificates of its own, so must the build. */
  #certificates(root) {
    const file = process.env['NODE_EXTRA_CA_CERTS'];
    if (file === undefined || !existsSync(file)) return [];
    cpSync(file, path.join(root, 'usr/local/share/extra-certificates.crt'));
    // Node adds them to its own; pip takes them in place of its own.
    const there = '/usr/local/share/extra-certificates.crt';
    return ['--env', `NODE_EXTRA_CA_CERTS=${there}`, '--env', `PIP_CERT=${there}`];
  }

  #buildah(what, log, args) {
    const onLine = (line) => {
      if (/^(STEP|\[\d)/.test(line)) this.reporter.progress(line);
    };
    const logFile = path.join(this.logs, `${log}.log`);
    return runLogged({ what, command: 'buildah', args, cwd: this.repoRoot, logFile, onLine });
  }

  #output(args) {
    const { status, stdout, stderr } = spawnSync('buildah', args, { encoding: 'utf8', cwd: this.repoRoot });
    if (status !== 0) throw new SetupError(`buildah ${args[0]} failed: ${(stderr ?? '').trim()}`);
    return stdout;
  }
}

/**
 * The command line that runs `command` in a root file system as a container runtime would. `environment`: of the
 * container alone; `hosts`: a file in place of /etc/hosts.
 */
export function containedCommand(root, command, { environment = {}, hosts } = {}) {
  const variables = Object.entries({
    PATH: '/usr/local/bin:/usr/bin:/bin',
    HOME: '/run/skein',
    ...environment,
  });
  const script = [
    'set -e',
    'mount --make-rprivate /',
    'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"',
    'mount -t proc proc "$0/proc"',
    'mount -t tmpfs -o mode=1777,size=64m tmpfs "$0/tmp"',
    `mount -t tmpfs -o mode=0700,uid=${USER},gid=${USER},size=64m tmpfs "$0/run/skein"`,
    // Of devices only those that every container has.
    'mount -t tmpfs -o mode=0755 tmpfs "$0/dev"',
    'for d in null zero urandom random; do touch "$0/dev/$d"; mount --bind "/dev/$d" "$0/dev/$d"; done',
  ];
  if (hosts !== undefined) script.push(`mount --bind ${quote(hosts)} "$0/etc/hosts"`);
  // chroot needs a capability that is dropped right after it, by the setpriv of the image.
  const drop = `setpriv --reuid=${USER} --regid=${USER} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all`;
  script.push(
    `cd "$0" && exec chroot "$0" env -i ${variables.map(([name, value]) => `${name}=${quote(value)}`).join(' ')} ${drop} "$@"`,
  );
  const unshare = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--ipc', '--uts'];
  return [...unshare, 'sh', '-c', script.join('\n'), root, ...command];
}

function quote(text) {
  return `'${String(text).replaceAll("'", `'\\''`)}'`;
}
