// A request as every API hands it on: checked in form, not yet turned into tokens.
import type { SamplingInput } from '../../common/sampling.js';

export interface PictureInput {
  /** Encoded JPEG, PNG, WebP or GIF. */
  readonly data: Uint8Array;
  /** Where it stood in the request, for messages: "pictures[1]". */
  readonly label: string;
}

export type PartInput =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'picture'; readonly picture: PictureInput };

/** A function as the model is told of it. */
export interface PromptTool {
  readonly name: string;
  readonly description?: string;
  /** A JSON schema. */
  readonly parameters: unknown;
}

/** A call that an assistant's message has made. */
export interface ToolCallInput {
  readonly name: string;
  /** As the model wrote them: JSON, unless it went wrong. */
  readonly arguments: string;
}

export interface MessageInput {
  /** `tool`: what came of a call. */
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  readonly parts: readonly PartInput[];
  /** Of an assistant's message. */
  readonly toolCalls?: readonly ToolCallInput[];
}

export type PromptInput =
  | {
      readonly kind: 'chat';
      readonly messages: readonly MessageInput[];
      readonly tools?: readonly PromptTool[];
    }
  /** A prompt that its writer has laid out: no template is put around it, and what spells a special token is one. */
  | { readonly kind: 'text'; readonly text: string }
  | {
      readonly kind: 'tokens';
      readonly tokenIds: Uint32Array;
      /** Each stands where the picture token is, in order. */
      readonly pictures: readonly PictureInput[];
    };

/** The call that a request came with. */
export interface RequestOrigin {
  /** One of few: the method of the gRPC service, or the path over HTTP. */
  readonly route: string;
  /** Tells keys apart and gives none away; null: the call has none. */
  readonly apiKeyHash: string | null;
  /** W3C trace context; null: the call has none, or one that is none. */
  readonly traceparent: string | null;
  readonly tracestate: string | null;
}

/** A function that the model may call. */
export interface ToolSpec {
  readonly name: string;
  /** Of its arguments, in xgrammar's EBNF. */
  readonly grammar: string;
  /** Of strings in them that are counted beside it; default: none. */
  readonly bounds?: StringBounds;
  /** The arguments fit in any case; otherwise only where calls are asked for. */
  readonly isStrict: boolean;
}

export interface ToolsSpec {
  readonly functions: readonly ToolSpec[];
  /** Whether the model calls: as it likes, at least once, or exactly once. */
  readonly choice: 'auto' | 'some' | 'one';
  /** False: one call at most. */
  readonly isParallel: boolean;
}

/** A place in a JSON value. Places are numbers; null: nothing below it is bounded. */
export interface BoundedPlace {
  /** Characters (Unicode code points) of a string at this place at most; null: not counted here. */
  readonly maxLength: number | null;
  readonly members: Readonly<Record<string, number | null>>;
  /** Of members that `members` does not name. */
  readonly otherMembers: number | null;
  readonly prefixItems: readonly (number | null)[];
  readonly items: number | null;
}

/** The first place is the whole value. */
export type StringBounds = readonly BoundedPlace[];

/** What an answer, behind its reasoning, is to be. */
export interface AnswerShape {
  /** It fits this grammar, in xgrammar's EBNF, and these bounds. */
  readonly json: { readonly grammar: string; readonly bounds?: StringBounds } | null;
  readonly tools: ToolsSpec | null;
  /** The field to name where the grammar is of no use. */
  readonly param: string;
}

export interface RequestSpec {
  readonly requestId: string;
  /** Default: none, for requests of this process itself. */
  readonly origin?: RequestOrigin;
  readonly prompt: PromptInput;
  readonly sampling: SamplingInput;
  /** Default: any text. */
  readonly shape?: AnswerShape;
  /** False: the text is one piece, tags included, all of it the answer. Default: true. */
  readonly splitsReasoning?: boolean;
  /** Of several answers to one prompt, which this is: each draws its own tokens. Default: 0. */
  readonly choiceIndex?: number;
  /** Smaller goes first where requests wait, for an encoder or to run, and stays where room is short. Default: 0. */
  readonly priority?: number;
  /** From its arrival on; then it ends with DEADLINE_EXCEEDED. Default: none. */
  readonly timeoutMs?: number;
}

/** Who shares with whom: calls with one key are one client, and so are all calls without any. */
export function clientOf({ origin }: Pick<RequestSpec, 'origin'>): string {
  return origin?.apiKeyHash ?? '';
}

/** In the order in which they stand in the prompt. */
export function picturesOf(prompt: PromptInput): readonly PictureInput[] {
  if (prompt.kind === 'tokens') return prompt.pictures;
  if (prompt.kind === 'text') return [];
  return prompt.messages.flatMap((message) =>
    message.parts.flatMap((part) => (part.type === 'picture' ? [part.picture] : [])),
  );
}
