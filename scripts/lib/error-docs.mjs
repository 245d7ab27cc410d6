// Renders docs/errors.md from the error catalogue, so that the page cannot say anything else than the code does.

/** @param {Record<string, {grpcStatus: string, httpStatus: number, retryable: boolean, retryAfterMs?: number,
 *   meaning: string}>} catalogue */
export function renderErrorDocs(catalogue) {
  const rows = Object.entries(catalogue).map(([code, definition]) => {
    const after = definition.retryAfterMs === undefined ? '' : `, after ${definition.retryAfterMs / 1000} s`;
    const retry = definition.retryable ? `yes${after}` : 'no';
    return `| \`${code}\` | ${definition.meaning} | ${definition.grpcStatus} | ${definition.httpStatus} | ${retry} |`;
  });
  return `# Errors

Generated from \`common/errors.ts\` by \`node scripts/generate-error-docs.mjs\`; a test fails when the two differ.

Match on the code, never on the message. Codes are stable and never reused. Over gRPC the code travels in the trailing
metadata \`x-error-code\`, small details (the field, the limit) as JSON in \`x-error-details-bin\`. Clients get
\`google.rpc.Status\` in \`grpc-status-details-bin\` too, which their libraries decode: \`ErrorInfo\` (\`reason\` is the code,
\`domain\` is \`skein\`), \`BadRequest\` where a field is at fault, \`RetryInfo\` where a time to try again is given, which
\`grpc-retry-pushback-ms\` says too. Over HTTP the code is \`error.code\` of the body, in lower case, with the field in
\`error.param\` and the time in \`Retry-After\`. Commands print one line on stderr and end with a code that is not zero
([by cause](operations.md#exit-codes)).

| Code | When | gRPC status | HTTP status | A retry can help |
| --- | --- | --- | --- | --- |
${rows.join('\n')}
`;
}
