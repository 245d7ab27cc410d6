// The body of /v1/chat/completions -> what the engine is asked.
import type { MessageInput, PartInput, RequestSpec, ToolCallInput } from '../../requests/request-spec.js';
import {
  checkLastRole,
  checkModel,
  checkPriority,
  checkTotals,
  invalid,
  type ParseContext,
} from '../request-checks.js';
import { parseSampling } from './parse-options.js';
import { parseChatShape } from './parse-shape.js';
import type { CallPictures } from './picture-url.js';
import type { ChatBody, Message } from './request-schemas.js';
import { refuseUnsupported } from './unsupported-fields.js';

/** `developer` is the later name of `system`. */
const ROLES = {
  system: 'system',
  developer: 'system',
  user: 'user',
  assistant: 'assistant',
  tool: 'tool',
} as const;

export interface ChatContext extends ParseContext {
  /** Of this call; fetched by whoever calls, once all is parsed. */
  readonly pictures: CallPictures;
}

export function parseChat(
  body: ChatBody,
  context: ChatContext,
): Pick<RequestSpec, 'prompt' | 'sampling' | 'shape' | 'priority'> {
  if (body.model !== undefined) checkModel(body.model, context.modelName);
  refuseUnsupported(body);
  const { logprobs = false, top_logprobs: topLogprobs } = body;
  if (topLogprobs !== undefined && !logprobs) throw invalid('top_logprobs', 'is given without logprobs');
  const { tools, ...shape } = parseChatShape(body);
  return {
    prompt: { kind: 'chat', messages: parseMessages(body.messages, context), tools },
    ...shape,
    sampling: parseSampling(body, logprobs ? (topLogprobs ?? 0) : undefined),
    priority: checkPriority(body.priority ?? 0),
  };
}

export function parseMessages(messages: readonly Message[], context: ChatContext): MessageInput[] {
  const { pictures } = context;
  const parsed = messages.map((message, index) => parseMessage(message, index, pictures));
  checkLastRole(parsed);
  checkTotals(parsed, context);
  return parsed;
}

/**
 * What a message of the assistant says of its reasoning (reasoning_content) is left out, as the models' own templates
 * do.
 */
function parseMessage(message: Message, index: number, pictures: CallPictures): MessageInput {
  const label = `messages[${index}]`;
  const given = message.role.slice(0, 50);
  if (!Object.hasOwn(ROLES, message.role)) {
    const expected = Object.keys(ROLES).join(', ');
    throw invalid(`${label}.role`, `is "${given}"; expected ${expected}`);
  }
  const role = ROLES[message.role as keyof typeof ROLES];
  const parts = parseContent(message.content, role, `${label}.content`, pictures);
  const toolCalls = parseToolCalls(message, role, `${label}.tool_calls`);
  if (role === 'tool' && typeof message.tool_call_id !== 'string')
    throw invalid(`${label}.tool_call_id`, 'must be a string');
  return toolCalls.length === 0 ? { role, parts } : { role, parts, toolCalls };
}

function parseToolCalls(
  { tool_calls: calls }: Message,
  role: MessageInput['role'],
  label: string,
): ToolCallInput[] {
  if (calls === undefined || calls === null || (Array.isArray(calls) && calls.length === 0)) return [];
  if (role !== 'assistant') throw invalid(label, 'is for messages of the assistant');
  if (!Array.isArray(calls)) throw invalid(label, 'must be a list');
  return calls.map((call: unknown, index) => {
    const given = (call as { function?: unknown } | null)?.function;
    const { name, arguments: text } = (given ?? {}) as { name?: unknown; arguments?: unknown };
    if (typeof name !== 'string') throw invalid(`${label}[${index}].function.name`, 'must be a string');
    if (typeof text !== 'string') throw invalid(`${label}[${index}].function.arguments`, 'must be a string');
    return { name, arguments: text };
  });
}

function parseContent(
  content: unknown,
  role: MessageInput['role'],
  label: string,
  pictures: CallPictures,
): PartInput[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }];
  if (content === null || content === undefined) {
    if (role === 'assistant') return [{ type: 'text', text: '' }];
    throw invalid(label, 'is missing');
  }
  if (!Array.isArray(content)) throw invalid(label, 'must be a string or a list of parts');
  if (content.length === 0) throw invalid(label, 'is empty');
  return content.map((part, index) => parsePart(part, `${label}[${index}]`, pictures));
}

function parsePart(part: unknown, label: string, pictures: CallPictures): PartInput {
  if (typeof part !== 'object' || part === null) throw invalid(label, 'must be an object');
  const { type, text, image_url: image } = part as { type?: unknown; text?: unknown; image_url?: unknown };
  if (type === 'text') {
    if (typeof text !== 'string') throw invalid(`${label}.text`, 'must be a string');
    return { type: 'text', text };
  }
  if (type === 'image_url') {
    const url: unknown =
      typeof image === 'object' && image !== null ? (image as { url?: unknown }).url : image;
    if (typeof url !== 'string') throw invalid(`${label}.image_url.url`, 'must be a string');
    return { type: 'picture', picture: pictures.add(url, `${label}.image_url.url`) };
  }
  const given = typeof type === 'string' ? `"${type.slice(0, 50)}"` : 'missing';
  throw invalid(`${label}.type`, `is ${given}; expected text or image_url`);
}
