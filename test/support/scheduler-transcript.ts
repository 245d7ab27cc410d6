// The commands of scheduler transcripts: config, submit, cancel, pause, unpause, schedule, upload, mask, complete,
// unfinished; each prints what came out and the state.
import { AppError } from '../../common/errors.js';
import type { StepPlan } from '../../coordinator/scheduler/step-plan.js';
import { SchedulerDriver, SMALL_CONFIG } from './scheduler-driver.js';

export class SchedulerTranscript {
  #driver = new SchedulerDriver(SMALL_CONFIG);

  run(command: string, args: readonly string[]): string[] {
    const options = parse(args);
    const number = (name: string) => Number(options.get(name));
    const id = args[0] ?? '';
    switch (command) {
      case 'config': {
        const config = {
          ...SMALL_CONFIG,
          ...Object.fromEntries(
            [...options].map(([name, value]) => [
              name,
              name === 'graphBuckets' ? value.split(',').map(Number) : Number(value),
            ]),
          ),
        };
        this.#driver = new SchedulerDriver(config);
        return [];
      }
      case 'submit': {
        const tiles = options.get('tiles');
        const pictures =
          tiles === undefined ? [] : [{ numTiles: Number(tiles), firstPosition: number('at') }];
        this.#driver.submit({
          sequenceId: id,
          numPromptTokens: number('prompt'),
          maxTokens: options.has('max') ? number('max') : null,
          stopTokenIds: options.get('stop')?.split(',').map(Number) ?? [],
          prefillsAlone: options.get('alone') === 'yes',
          hasRun: options.get('ran') === 'yes',
          isMasked: options.get('masked') === 'yes',
          client: options.get('client') ?? '',
          priority: options.has('priority') ? number('priority') : 0,
          arrivedMs: options.has('time') ? number('time') : 0,
          pictures,
        });
        return [this.#state()];
      }
      case 'cancel':
        this.#driver.cancel(id);
        return [this.#state()];
      case 'pause':
        this.#driver.pause(id);
        return [this.#state()];
      case 'unpause':
        this.#driver.unpause(id);
        return [this.#state()];
      case 'schedule': {
        const plan = this.#driver.schedule(options.has('time') ? { nowMs: number('time') } : {});
        return [...(plan === null ? ['nothing'] : describe(plan)), this.#state()];
      }
      case 'upload': {
        const picture = this.#driver.upload();
        return [picture === null ? 'nothing' : `picture ${picture} is resident`];
      }
      case 'mask':
        return [this.#driver.giveMask() ? 'it is there' : 'nothing'];
      case 'complete': {
        if (this.#driver.inFlight.length === 0) return ['nothing is in flight'];
        const outputs = this.#driver.complete();
        const lines = outputs.map(
          ({ sequenceId, tokenId, finishReason }) =>
            `${sequenceId}: ${tokenId}${finishReason === null ? '' : ` (${finishReason})`}`,
        );
        return [...(lines.length === 0 ? ['no tokens'] : lines), this.#state()];
      }
      case 'unfinished':
        return this.#driver.scheduler
          .unfinished()
          .map(({ sequenceId, prefill }) => `${sequenceId}: prefill ${prefill}`);
      default:
        throw new AppError('INVALID_REQUEST', `unknown command ${command}`);
    }
  }

  #state(): string {
    const {
      numRunning,
      numWaiting,
      numPaused,
      numFreeBlocks,
      numPlansInFlight,
      numPreemptions,
      numWastedRows,
    } = this.#driver.scheduler.stats;
    return (
      `[running ${numRunning}, waiting ${numWaiting}, ${numPaused === 0 ? '' : `paused ${numPaused}, `}free blocks ${numFreeBlocks}, in flight ${numPlansInFlight}, ` +
      `preemptions ${numPreemptions}, wasted rows ${numWastedRows}]`
    );
  }
}

function describe(plan: StepPlan): string[] {
  const bucket = plan.graphBucket === 0 ? '' : ` (bucket ${plan.graphBucket})`;
  const lines = [
    `step ${plan.step}${bucket}: ${plan.scheduledSlots.map((slot, index) => `slot ${slot} x ${plan.scheduledTokens[index]}`).join(', ') || 'no rows'}`,
  ];
  for (const { sequenceId, slot, tokenIds, pictures } of plan.newSequences) {
    const placed = pictures
      .map(({ pictureId, firstPosition }) => `, picture ${pictureId} at ${firstPosition}`)
      .join('');
    lines.push(`new ${sequenceId} in slot ${slot}: ${tokenIds.length} ids${placed}`);
  }
  const blocks = plan.newBlocks.filter((_value, index) => index % 2 === 1);
  if (blocks.length > 0)
    lines.push(
      `new blocks ${blocks.map((block, index) => `${plan.newBlocks[2 * index]}:${block}`).join(' ')}`,
    );
  for (const { pictureId, tileStart, tileEnd } of plan.encodeItems)
    lines.push(`encode picture ${pictureId} tiles ${tileStart}-${tileEnd - 1}`);
  if (plan.releasedSlots.length > 0) lines.push(`release slots ${plan.releasedSlots.join(' ')}`);
  if (plan.releasedPictures.length > 0) lines.push(`release pictures ${plan.releasedPictures.join(' ')}`);
  return lines;
}

export function parse(args: readonly string[]): Map<string, string> {
  return new Map(args.filter((arg) => arg.includes('=')).map((arg) => arg.split('=') as [string, string]));
}
