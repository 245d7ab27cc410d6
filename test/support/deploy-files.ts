// What tests read of deploy/: variables of unit and compose files, programs that may not be there.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { loadScript } from './scripts.js';
import { repoPath, repoRoot } from './paths.js';

export interface ComposeService {
  readonly image: string;
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly networks: readonly string[];
  readonly user: string;
  readonly read_only: boolean;
  readonly cap_drop: readonly string[];
  readonly tmpfs: readonly string[];
  readonly healthcheck: { readonly test: readonly string[] };
  readonly stop_grace_period: string;
}

/** Variables of a file as systemd's EnvironmentFile= reads it. */
export function readEnvironmentFile(name: string): Record<string, string> {
  const lines = readFileSync(repoPath('deploy', 'systemd', name), 'utf8').split('\n');
  const pairs = lines.filter((line) => line.trim() !== '' && !line.startsWith('#'));
  return Object.fromEntries(
    pairs.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );
}

/** Services of deploy/compose/compose.yaml, with `${NAME:-default}` as its default. */
export function readCompose(): Record<string, ComposeService> {
  const text = readFileSync(repoPath('deploy', 'compose', 'compose.yaml'), 'utf8');
  const filled = text.replace(/\$\{[A-Z_]+:-([^}]*)\}/g, '$1');
  return (parse(filled, { merge: true }) as { services: Record<string, ComposeService> }).services;
}

/** The pinned program that `npm run test:deploy` brings, or null. */
export async function goTool(name: 'helm' | 'kubeconform'): Promise<string | null> {
  const { toolPath } = await loadScript<{ toolPath: (root: string, name: string) => string }>('go-tools.mjs');
  const file = toolPath(repoRoot, name);
  return existsSync(file) ? file : null;
}

/** Why network namespaces cannot be made here, or null. */
export function whyNoNamespaces(): string | null {
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  const probe = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' });
  if (probe.status !== 0) return `network namespaces need iproute2: ${(probe.stderr ?? 'no ip').trim()}`;
  const unshare = spawnSync('unshare', ['--net', '--pid', '--fork', 'true'], { encoding: 'utf8' });
  return unshare.status === 0 ? null : `namespaces cannot be made here: ${(unshare.stderr ?? '').trim()}`;
}
