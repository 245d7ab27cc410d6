// What threads do for requests: encode a chat or a text, decode a picture. Tasks and replies are plain data, for they
// cross threads; the same runner serves a thread and a test.
import { toAppError, type ErrorCode } from '../../common/errors.js';
import { loadTextProcessor } from '../tokenizer/load-text-processor.js';
import type {
  ChatMessage,
  ChatTool,
  EncodedPrompt,
  LoadTextProcessorOptions,
  TextProcessor,
} from '../tokenizer/text-processor.js';
import type { PictureSettings, ProcessedPicture } from '../vision/picture.js';
import { refuseFarTooLong, textsThatCount } from './length-bound.js';

export interface ChatTask {
  readonly kind: 'chat';
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly ChatTool[];
  /** What is sure to have more tokens of text is refused before it is encoded whole. Default: no limit. */
  readonly maxTokens?: number;
}

/** A prompt as it is, without template. */
export interface TextTask {
  readonly kind: 'text';
  readonly text: string;
  /** As a chat's. */
  readonly maxTokens?: number;
}

export interface PictureTask {
  readonly kind: 'picture';
  readonly encoded: Uint8Array;
  /** For messages: "pictures[1]". */
  readonly label: string;
}

export type EncodeTask = ChatTask | TextTask | PictureTask;
export type EncodeResult<Task extends EncodeTask> = Task extends PictureTask
  ? ProcessedPicture
  : EncodedPrompt;

/** What a thread needs to know of the model; null: it has none of it. */
export interface EncodeSettings {
  readonly text: LoadTextProcessorOptions | null;
  readonly pictures: PictureSettings | null;
}

/** Errors cross as plain data: class instances do not survive the structured clone. */
export interface TaskFailure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: Readonly<Record<string, string | number | boolean | null>>;
}

export type TaskReply =
  { readonly result: EncodedPrompt | ProcessedPicture } | { readonly failure: TaskFailure };

export type TaskRunner = (task: EncodeTask) => Promise<TaskReply>;

/** The tokenizer is read once, when this is called, and not with the first task. */
export function createTaskRunner(settings: EncodeSettings): TaskRunner {
  const text = settings.text === null ? Promise.resolve(null) : loadTextProcessor(settings.text);
  text.catch(() => undefined);
  return async (task) => {
    try {
      return { result: await runTask(task, text, settings.pictures) };
    } catch (error) {
      const { code, message, details } = toAppError(error);
      return { failure: { code, message, details } };
    }
  };
}

async function runTask(
  task: EncodeTask,
  text: Promise<TextProcessor | null>,
  pictures: PictureSettings | null,
): Promise<EncodedPrompt | ProcessedPicture> {
  if (task.kind !== 'picture') {
    const processor = await text;
    if (processor === null) throw new Error('a prompt came to a thread that has no tokenizer');
    const { maxTokens = Infinity } = task;
    if (task.kind === 'text') {
      refuseFarTooLong([task.text], maxTokens, processor, { allowSpecial: true });
      return encodePlainText(task.text, processor);
    }
    refuseFarTooLong(textsThatCount(task.messages), maxTokens, processor);
    return processor.encodeChat(task.messages, task.tools);
  }
  if (pictures === null) throw new Error('a picture came to a thread of a model that sees none');
  // The decoder is loaded with the first picture: most threads of a text model never need it.
  const { processPicture } = await loadDecoder();
  return processPicture(task.encoded, task.label, pictures);
}

/** Its writer may spell special tokens, for nothing else marks where a turn begins. */
export function encodePlainText(
  text: string,
  processor: Pick<TextProcessor, 'encodeText' | 'encodeTokens'>,
): EncodedPrompt {
  return processor.encodeTokens(processor.encodeText(text, { allowSpecial: true }), []);
}

async function loadDecoder() {
  const [{ default: sharp }, decoder] = await Promise.all([
    import('sharp'),
    import('../vision/process-picture.js'),
  ]);
  // The threads are the parallelism; libvips' own and its cache of operations would only add memory.
  sharp.concurrency(1);
  sharp.cache(false);
  return decoder;
}
