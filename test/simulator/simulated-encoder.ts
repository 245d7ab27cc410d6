// What encodes the requests of a simulated life: their prompts are ids already, their pictures tiles. It takes its
// time, and counts what is held.
import { sleep, type Clock } from '../../common/clock.js';
import type { Client } from './client.js';
import type { Random } from './random.js';

export class SimulatedEncoder {
  readonly #clock: Clock;
  readonly #random: Random;
  /** Prompts and pictures that nobody has let go of. */
  numLeases = 0;

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  async encode({ promptIds, pictures }: Client) {
    await sleep(this.#clock, this.#random.real(0, 10));
    return {
      ...this.#lease(),
      tokenIds: Uint32Array.from(promptIds),
      startsInReasoning: false,
      pictures: pictures.map(({ firstPosition, tiles }) => ({
        firstPosition,
        numTiles: tiles.length,
        lease: async () => {
          await sleep(this.#clock, this.#random.real(0, 5));
          return { ...this.#lease(), pixels: Uint8Array.from(tiles.flatMap((tile) => [...tile])) };
        },
      })),
    };
  }

  #lease(): { release(): void } {
    this.numLeases += 1;
    return {
      release: () => {
        this.numLeases -= 1;
      },
    };
  }
}
