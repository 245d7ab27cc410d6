// Goal: what OpenTelemetry complains of is one line of the log with the reason, without the stack of its own code.
import assert from 'node:assert/strict';
import { diag } from '@opentelemetry/api';
import { pino } from 'pino';
import { startTraceExport } from '../../../../coordinator/observability/trace-export.js';

describe('the export of traces', () => {
  it('says why it does not come about', async () => {
    const lines: Record<string, unknown>[] = [];
    const logger = pino({}, { write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>) });
    const traces = startTraceExport('http://127.0.0.1:9', logger);
    const said = 'connect ECONNREFUSED 127.0.0.1:9';
    diag.error(
      JSON.stringify({ stack: `Error: ${said}\n    at TCPConnectWrap`, message: said, name: 'Error' }),
    );
    diag.warn('a variable is wrong');
    diag.warn('{"message":""}');
    diag.warn('null');
    diag.info('nobody asked');
    await traces.stop();
    assert.deepEqual(
      lines.map(({ component, msg, reason }) => [component, msg, reason]),
      [said, 'a variable is wrong', '{"message":""}', 'null'].map((reason) => [
        'traces',
        'a problem with the export of traces',
        reason,
      ]),
    );
  });
});
