// What a simulated engine keeps of sequences and pictures.
import type { NativeNewSequence } from '../../common/native/native.js';

export interface Sequence {
  readonly tokenIds: number[];
  readonly request: NativeNewSequence;
  readonly blocks: number[];
  numComputed: number;
}

export interface Picture {
  readonly tileSlots: Uint32Array;
  readonly tiles: readonly Uint8Array[];
}
