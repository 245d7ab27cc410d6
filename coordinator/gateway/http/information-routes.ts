// What a client asks beside generating: which model there is, how text becomes tokens and back, whether the service
// takes requests.
import type { FastifyReply } from 'fastify';
import { VERSION } from '../../../common/version.js';
import type { Engine } from '../../engine/engine.js';
import type { PromptInput } from '../../requests/request-spec.js';
import type { ModelFacts } from '../inference-messages.js';
import { checkModel, invalid } from '../request-checks.js';
import { spell, type TokenText } from './answer-form.js';
import { contextOf, fetchOwnerOf } from './generation-routes.js';
import { callOf, type HttpServer } from './http-server.js';
import type { MediaFetcher } from './media-fetcher.js';
import { parseMessages } from './parse-chat.js';
import { textPrompt } from './parse-completion.js';
import { parseTools } from './parse-shape.js';
import { CallPictures } from './picture-url.js';
import { DetokenizeBody, TokenizeBody } from './request-schemas.js';

export interface InformationRoutesOptions {
  readonly engine: Pick<Engine, 'state' | 'tokenization' | 'onReadyChange'>;
  readonly text: TokenText;
  readonly model: () => ModelFacts;
  readonly media: MediaFetcher | null;
}

export function addInformationRoutes(server: HttpServer, options: InformationRoutesOptions): void {
  addModelRoutes(server, options);
  addTokenRoutes(server, options);
  addHealthRoutes(server, options);
}

function addModelRoutes(server: HttpServer, { model }: InformationRoutesOptions): void {
  const created = Math.floor(Date.now() / 1000);
  const describe = ({ name, maxModelLength }: ModelFacts): object => ({
    id: name,
    object: 'model',
    created,
    owned_by: 'skein',
    max_model_len: maxModelLength,
  });
  server.get('/v1/models', (_request, reply) => reply.send({ object: 'list', data: [describe(model())] }));
  // A model's name may have slashes.
  server.get('/v1/models/*', ({ params }, reply) => {
    checkModel((params as { '*': string })['*'], model().name);
    return reply.send(describe(model()));
  });
}

function addTokenRoutes(server: HttpServer, { engine, text, model, media }: InformationRoutesOptions): void {
  server.post('/tokenize', { schema: { body: TokenizeBody } }, async (request) => {
    const { body } = request;
    const pictures = new CallPictures(media);
    const context = { ...contextOf(model()), pictures };
    if (body.model !== undefined) checkModel(body.model, context.modelName);
    if ((body.messages === undefined) === (body.prompt === undefined))
      throw invalid('prompt', 'or messages must be given, and not both');
    const prompt: PromptInput =
      body.messages === undefined
        ? textPrompt(body.prompt!, 'prompt')
        : {
            kind: 'chat',
            messages: parseMessages(body.messages, context),
            tools: parseTools(body.tools).tools,
          };
    await pictures.fetchAll(fetchOwnerOf(request));
    const tokens = await engine.tokenization.tokenize(prompt, callOf(request).signal);
    return {
      count: tokens.length,
      max_model_len: model().maxModelLength,
      tokens: [...tokens],
      ...(body.return_token_strs === true
        ? { token_strs: Array.from(tokens, (id) => spell(text.bytesOf(id))) }
        : {}),
    };
  });

  server.post('/detokenize', { schema: { body: DetokenizeBody } }, ({ body }, reply) => {
    if (body.model !== undefined) checkModel(body.model, model().name);
    return reply.send({ prompt: engine.tokenization.detokenize(body.tokens, 'tokens') });
  });
}

export function addHealthRoutes(
  server: HttpServer,
  { engine }: Pick<InformationRoutesOptions, 'engine'>,
): void {
  let isReady = false;
  engine.onReadyChange((now) => {
    isReady = now;
  });
  const ready = (reply: FastifyReply): FastifyReply =>
    reply.status(isReady ? 200 : 503).send({ status: engine.state });
  server.get('/health', (_request, reply) => ready(reply));
  server.get('/ready', (_request, reply) => ready(reply));
  server.get('/live', (_request, reply) => reply.send({ status: 'live' }));
  server.get('/version', (_request, reply) => reply.send({ version: VERSION }));
}
