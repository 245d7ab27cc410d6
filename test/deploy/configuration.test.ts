// Goal: the files of deploy/ that configure Skein name settings that exist, harden what they can, and agree with each
// other and with the programs; units are what systemd accepts.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { Command } from 'commander';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { applySettings, isSetting, variableName } from '../../common/settings.js';
import { registerServe } from '../../coordinator/commands/serve.js';
import { createWorkerCommand } from '../../worker/config.js';
import { readCompose, readEnvironmentFile } from '../support/deploy-files.js';
import { repoPath, repoRoot } from '../support/paths.js';

function commandOf(name: string): Command {
  if (name === 'worker') return createWorkerCommand();
  const program = new Command();
  registerServe(program, []);
  return program.commands[0]!;
}

/** Every variable of an environment is a setting of the command, with a value that it takes. */
function checkEnvironment(name: string, environment: Readonly<Record<string, string>>): void {
  const command = commandOf(name);
  const known = command.options.filter(isSetting).map(variableName);
  for (const variable of Object.keys(environment)) {
    if (variable.startsWith('SKEIN_'))
      assert.ok(known.includes(variable), `${variable} is no setting of ${name}`);
  }
  applySettings(command, { args: [], environment });
}

describe('the files of deploy/', () => {
  it('set what exists: unit files', () => {
    checkEnvironment('serve', readEnvironmentFile('coordinator.env'));
    checkEnvironment('worker', readEnvironmentFile('worker.env'));
  });

  it('set what exists: the compose file, whose containers are read-only and without rights', () => {
    const services = readCompose();
    assert.deepEqual(Object.keys(services), ['coordinator', 'worker-0', 'worker-1']);
    for (const [name, service] of Object.entries(services)) {
      checkEnvironment(service.command[0]!, service.environment);
      assert.deepEqual(
        [service.read_only, service.user, service.cap_drop],
        [true, '10001:10001', ['ALL']],
        name,
      );
      assert.deepEqual(
        service.tmpfs.map((mount) => mount.split(':')[0]),
        ['/tmp', '/run/skein'],
        name,
      );
    }
    const { coordinator } = services;
    const drain = Number(coordinator!.environment['SKEIN_DRAIN_TIMEOUT']);
    assert.ok(
      drain < parseInt(coordinator!.stop_grace_period),
      'a drain ends before the container is killed',
    );
    for (const worker of [services['worker-0']!, services['worker-1']!]) {
      assert.equal(worker.environment['SKEIN_COORDINATOR'], 'coordinator:50050');
      assert.equal(
        worker.environment['SKEIN_ADVERTISE']?.split(':')[0],
        worker.environment['SKEIN_WORKER_ID'],
      );
      assert.deepEqual(worker.networks, ['ranks'], 'nobody from outside reaches a rank');
    }
  });

  it('set what exists: the images, which run as the same user', () => {
    for (const kind of ['cpu', 'cuda']) {
      const text = readFileSync(repoPath('deploy', 'container', `Containerfile.${kind}`), 'utf8');
      const variables = [...text.matchAll(/^(?:ENV |    )(SKEIN_[A-Z_]+)=(\S+)/gm)].map((match) => [
        match[1]!,
        match[2]!,
      ]);
      checkEnvironment('serve', Object.fromEntries(variables) as Record<string, string>);
      assert.match(text, /^USER 10001:10001$/m);
      assert.match(text, /^HEALTHCHECK /m);
      assert.ok(!/^FROM (?!\$\{NODE_IMAGE\})/m.test(text), 'one base, pinned in one place');
    }
  });

  describe('units', () => {
    let folder: string;
    before(function () {
      if (spawnSync('systemd-analyze', ['--version']).status !== 0) {
        process.stdout.write('      skipped: there is no systemd-analyze\n');
        this.skip();
      }
      // With this tree where the units expect the installation.
      folder = mkdtempSync(path.join(tmpdir(), 'skein-units-'));
      for (const file of readdirSync(repoPath('deploy', 'systemd')).filter((name) =>
        name.endsWith('.service'),
      )) {
        cpSync(repoPath('deploy', 'systemd', file), path.join(folder, file));
        const text = readFileSync(path.join(folder, file), 'utf8');
        writeFileSync(path.join(folder, file), text.replaceAll('=/opt/skein/', `=${repoRoot}`));
      }
    });
    after(() => {
      if (folder !== undefined) rmSync(folder, { recursive: true });
    });

    function analyze(...args: string[]): { status: number | null; output: string } {
      const { status, stdout, stderr } = spawnSync('systemd-analyze', args, { encoding: 'utf8' });
      return { status, output: stdout + stderr };
    }

    it('are accepted without a word', () => {
      const files = ['skein.service', 'skein-worker@.service'].map((file) => path.join(folder, file));
      assert.deepEqual(analyze('verify', '--man=no', ...files), { status: 0, output: '' });
    });

    for (const [file, threshold] of [
      ['skein.service', 16],
      ['skein-worker@.service', 20],
    ] as const) {
      it(`leave little exposed: ${file} at most ${threshold / 10} of 10`, () => {
        const { status, output } = analyze(
          'security',
          '--offline=true',
          `--threshold=${threshold}`,
          path.join(folder, file),
        );
        assert.equal(status, 0, output.split('\n').slice(-3).join('\n'));
      });
    }
  });
});
