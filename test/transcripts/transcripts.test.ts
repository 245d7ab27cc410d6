// Replays the transcripts beside the sources (test/transcripts/*.txt): each line is a command, the lines under it are
// what the scheduler, the membership or the supervisor said and what state it was in. REWRITE=1 writes what they say
// now; then read the diff.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { AppError } from '../../common/errors.js';
import { MembershipTranscript } from '../support/membership-transcript.js';
import { repoPath } from '../support/paths.js';
import { SchedulerTranscript } from '../support/scheduler-transcript.js';
import { SupervisorTranscript } from '../support/supervisor-transcript.js';

interface Transcript {
  /** What the command does, in lines. */
  run(command: string, args: readonly string[]): string[];
}

const folder = repoPath('test', 'transcripts');

function replay(text: string, transcript: Transcript): string {
  const lines: string[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('    ')) continue;
    lines.push(line);
    const [command, ...args] = line.split(' ');
    if (command === undefined || command === '' || command.startsWith('#')) continue;
    lines.push(...said(() => transcript.run(command, args)).map((each) => `    ${each}`));
  }
  return lines.join('\n');
}

function said(run: () => string[]): string[] {
  try {
    return run();
  } catch (error) {
    if (error instanceof AppError) return [`${error.code}: ${error.message}`];
    throw error;
  }
}

function transcriptOf(name: string): Transcript {
  if (name.startsWith('membership')) return new MembershipTranscript();
  return name.startsWith('supervisor') ? new SupervisorTranscript() : new SchedulerTranscript();
}

describe('transcripts', () => {
  for (const name of readdirSync(folder).filter((each) => each.endsWith('.txt'))) {
    it(name, () => {
      const file = repoPath('test', 'transcripts', name);
      const before = readFileSync(file, 'utf8');
      const after = replay(before, transcriptOf(name));
      if (process.env['REWRITE'] === '1') writeFileSync(file, after);
      else assert.equal(after, before, `${name} differs; REWRITE=1 rewrites it`);
    });
  }
});
