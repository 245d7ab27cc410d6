// Log lines are JSON with fixed fields, on stderr only, silent under tests unless asked for.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createLogger, resolveLevel } from '../../../common/logger.js';
import { AppError } from '../../../common/errors.js';
import { repoPath } from '../../support/paths.js';

function linesOf(write: (destination: { write(line: string): void }) => void): Record<string, unknown>[] {
  const lines: string[] = [];
  write({ write: (line) => lines.push(line) });
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe('the log', () => {
  it('writes one JSON object a line with level name, time, bindings, fields and message', () => {
    const lines = linesOf((destination) => {
      const log = createLogger({ level: 'info', component: 'worker', bindings: { rank: 1 }, destination });
      log.child({ groupEpoch: 4 }).info({ numSeqs: 2 }, 'step finished');
      log.debug('not written');
    });
    assert.equal(lines.length, 1);
    const { time, ...rest } = lines[0] ?? {};
    assert.ok(!Number.isNaN(Date.parse(String(time))));
    assert.deepEqual(rest, {
      level: 'info',
      pid: process.pid,
      component: 'worker',
      rank: 1,
      groupEpoch: 4,
      numSeqs: 2,
      msg: 'step finished',
    });
  });

  it('has no key twice where a line names another part of the process', () => {
    let text = '';
    const destination = { write: (line: string) => void (text += line) };
    createLogger({ level: 'info', component: 'coordinator', destination }).info({ component: 'access' }, 'x');
    assert.deepEqual(text.match(/"component":"[a-z]*"/g), ['"component":"access"']);
  });

  it('writes errors under err with their code, and hides credentials', () => {
    const [line] = linesOf((destination) => {
      const log = createLogger({ level: 'info', destination });
      const err = new AppError('WORKER_LOST', 'rank 1 is gone');
      log.error({ err, headers: { authorization: 'Bearer secret' } }, 'epoch failed');
    });
    assert.equal((line?.['err'] as { code: string }).code, 'WORKER_LOST');
    assert.ok(!JSON.stringify(line).includes('secret'));
  });

  it('takes its level from the flag, then SKEIN_LOG, then the kind of process', () => {
    assert.equal(resolveLevel('debug', 'info', { SKEIN_LOG: 'warn' }), 'debug');
    assert.equal(resolveLevel(null, 'info', { SKEIN_LOG: 'warn', NODE_ENV: 'test' }), 'warn');
    assert.equal(resolveLevel(null, 'info', { NODE_ENV: 'test' }), 'silent');
    assert.equal(resolveLevel(null, 'error', { SKEIN_LOG: '' }), 'error');
  });

  it('refuses an unknown level, naming where it came from', () => {
    assert.throws(() => resolveLevel('loud', 'info', {}), /--log-level must be one of trace, .*"loud"/);
    assert.throws(() => resolveLevel(null, 'info', { SKEIN_LOG: 'loud' }), /SKEIN_LOG must be one of/);
  });

  it('goes to stderr and never to stdout, and is not lost when the process ends at once', () => {
    const module = repoPath('dist/common/logger.js');
    const program = `const { createLogger } = await import(${JSON.stringify(module)});
      createLogger({ level: 'info' }).info('last words'); process.exit(3);`;
    const result = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
    assert.equal(result.status, 3);
    assert.equal(result.stdout, '');
    assert.match(result.stderr, /last words/);
  });
});
