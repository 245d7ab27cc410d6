// The commands of supervisor transcripts: config, and the events by their names; each prints what is to be done and the
// state.
import { AppError, isErrorCode } from '../../common/errors.js';
import {
  Supervisor,
  type EpochFailure,
  type SupervisorConfig,
  type SupervisorEvent,
} from '../../coordinator/engine/supervisor.js';
import { parse } from './scheduler-transcript.js';

const CONFIG: SupervisorConfig = {
  restartPolicy: 'epoch',
  minBackoffMs: 100,
  maxBackoffMs: 400,
  healthyAfterMs: 10_000,
  maxAttempts: 6,
  maxFirstAttempts: 3,
};

export class SupervisorTranscript {
  #supervisor = new Supervisor(CONFIG);

  run(command: string, args: readonly string[]): string[] {
    const options = parse(args);
    if (command === 'config') {
      const restartPolicy = options.get('restarts') === 'none' ? 'none' : 'epoch';
      this.#supervisor = new Supervisor({ ...CONFIG, restartPolicy });
      return [`[${this.#supervisor.state}]`];
    }
    const actions = this.#supervisor.handle(toEvent(command, options), Number(options.get('at') ?? 0));
    const lines = actions.map((action) => {
      if (action.do === 'wait') return `wait ${action.ms} ms`;
      if (action.do === 'end')
        return action.error === null ? 'end' : `end: ${action.error.code}: ${action.error.message}`;
      return action.do;
    });
    const { state, error, isRecovering } = this.#supervisor;
    const names = [state, ...(error === null ? [] : [error.code]), ...(isRecovering ? ['recovering'] : [])];
    return [...lines, `[${names.join(', ')}]`];
  }
}

function toFailure(options: ReadonlyMap<string, string>): EpochFailure {
  const code = options.get('code');
  const error = new AppError(isErrorCode(code) ? code : 'WORKER_LOST', 'a failure');
  return { error, isFatal: options.get('fatal') === 'yes' };
}

function toEvent(command: string, options: ReadonlyMap<string, string>): SupervisorEvent {
  switch (command) {
    case 'form-failed':
      return { kind: command, failure: toFailure(options) };
    case 'epoch-failed':
      return { kind: command, failure: toFailure(options), wasUseful: options.get('useful') === 'yes' };
    case 'start':
    case 'formed':
    case 'taken-down':
    case 'wait-over':
    case 'drain':
    case 'stop':
      return { kind: command };
    default:
      throw new AppError('INVALID_REQUEST', `unknown command ${command}`);
  }
}
