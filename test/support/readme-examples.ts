// The README's examples that ask a served model, as they stand there but for the addresses.
import { readFileSync } from 'node:fs';
import { repoPath } from './paths.js';

/** Those that the README's commands serve on. */
const README_ADDRESSES = { http: '127.0.0.1:8000', grpc: '127.0.0.1:50051' };

export interface Example {
  /** The first word of a command, or the language of a program. */
  readonly kind: string;
  readonly text: string;
}

/** Fenced blocks in a language are programs; in blocks without one each line that goes on with `\` is a command. */
export function examplesOf(markdown: string): Example[] {
  return [...markdown.matchAll(/^```(\w*)\n([^]*?)^```$/gm)].flatMap(([, language, body]) => {
    if (language !== '') return [{ kind: language!, text: body! }];
    const commands = body!.trimEnd().split(/(?<!\\)\n/);
    return commands.map((text) => ({ kind: /^\S*/.exec(text)![0], text }));
  });
}

/** Of one kind; `addresses`: of the server that is to be asked. */
export function readmeExamples(kind: string, addresses: typeof README_ADDRESSES): string[] {
  return examplesOf(readFileSync(repoPath('README.md'), 'utf8'))
    .filter((example) => example.kind === kind)
    .map(({ text }) =>
      text
        .replaceAll(README_ADDRESSES.http, addresses.http)
        .replaceAll(README_ADDRESSES.grpc, addresses.grpc),
    );
}
