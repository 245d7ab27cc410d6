// Where simulated ranks meet: joins and steps end when every rank of the epoch has come. Whose peer is dead waits until
// it is aborted, or is told some time later, as seeds have it.
import { AppError } from '../../common/errors.js';
import type { MaskPart } from './masks.js';
import type { SimulatedProcess } from './process.js';
import type { Random } from './random.js';

export interface Meeting {
  /** Of the epoch and what the ranks meet for. */
  readonly key: string;
  readonly rank: number;
  readonly worldSize: number;
  readonly process: SimulatedProcess;
  /** What it brings along for all. */
  readonly part?: MaskPart;
}

interface Arrival {
  readonly meeting: Meeting;
  readonly tell: (error: AppError | null, parts: readonly MaskPart[]) => void;
}

export class Fabric {
  readonly tokensPerTile: number;
  readonly #random: Random;
  readonly #meetings = new Map<string, Map<number, Arrival>>();

  constructor(random: Random, tokensPerTile: number) {
    this.#random = random;
    this.tokensPerTile = tokensPerTile;
  }

  meet(meeting: Meeting, tell: Arrival['tell']): void {
    const { key, rank, worldSize } = meeting;
    const arrivals = this.#meetings.get(key) ?? new Map<number, Arrival>();
    this.#meetings.set(key, arrivals);
    arrivals.set(rank, { meeting, tell });
    if (arrivals.size < worldSize) return;
    this.#meetings.delete(key);
    const parts = [...arrivals.values()].flatMap(({ meeting: { part } }) => part ?? []);
    for (const arrival of arrivals.values())
      arrival.meeting.process.run(this.#random.real(0, 1), 'met', () => arrival.tell(null, parts));
  }

  /** A process is gone: half of those that wait for anybody notice by themselves. */
  died(): void {
    for (const [key, arrivals] of this.#meetings) {
      for (const { meeting, tell } of arrivals.values()) {
        const { process } = meeting;
        if (!process.isAlive || !this.#random.chance(0.5)) continue;
        process.run(this.#random.real(1, 200), 'peer lost', () =>
          tell(new AppError('COLLECTIVE_ERROR', `${key}: a peer was lost`), []),
        );
      }
    }
  }
}
