// A request as every API hands it on: checked in form, not yet turned into tokens.
import type { SamplingInput } from './sampling-options.js';

export interface PictureInput {
  /** Encoded JPEG, PNG, WebP or GIF. */
  readonly data: Uint8Array;
  /** Where it stood in the request, for messages: "pictures[1]". */
  readonly label: string;
}

export type PartInput =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'picture'; readonly picture: PictureInput };

export interface MessageInput {
  readonly role: 'system' | 'user' | 'assistant';
  readonly parts: readonly PartInput[];
}

export type PromptInput =
  | { readonly kind: 'chat'; readonly messages: readonly MessageInput[] }
  | {
      readonly kind: 'tokens';
      readonly tokenIds: Uint32Array;
      /** Each stands where the picture token is, in order. */
      readonly pictures: readonly PictureInput[];
    };

export interface GenerateInput {
  readonly requestId: string;
  readonly prompt: PromptInput;
  readonly sampling: SamplingInput;
}
