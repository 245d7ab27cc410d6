// Where traces go: OTLP over HTTP, in batches, with what OpenTelemetry's own variables say of sampling, headers, limits
// and resource. Loaded only where traces are wanted.
import { diag, DiagLogLevel, type Tracer } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources';
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { TRACES_STOP_TIMEOUT_MS } from '../../common/limits.js';
import type { Logger } from '../../common/logger.js';
import { VERSION } from '../../common/version.js';

export interface TraceExport {
  readonly tracer: Tracer;
  /** Sends what is left, for a few seconds at most. */
  stop(): Promise<void>;
}

/** `url`: of the receiver's traces; null: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT or OTEL_EXPORTER_OTLP_ENDPOINT says. */
export function startTraceExport(url: string | null, logger: Logger): TraceExport {
  const warn = (message: string): void =>
    logger.warn({ component: 'traces', reason: reasonOf(message) }, 'a problem with the export of traces');
  diag.setLogger(
    { error: warn, warn, info: () => undefined, debug: () => undefined, verbose: () => undefined },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
  const exporter = new OTLPTraceExporter(url === null ? {} : { url });
  const provider = new BasicTracerProvider({
    resource: defaultResource()
      .merge(resourceFromAttributes({ 'service.name': 'skein', 'service.version': VERSION }))
      .merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [new BatchSpanProcessor(exporter)],
  });
  return {
    tracer: provider.getTracer('skein', VERSION),
    async stop() {
      let timer: NodeJS.Timeout | undefined;
      const timeout = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, TRACES_STOP_TIMEOUT_MS);
      });
      await Promise.race([provider.shutdown().catch(() => undefined), timeout]);
      clearTimeout(timer);
      diag.disable();
    },
  };
}

/** OpenTelemetry says errors as JSON, with a stack that is all its own. */
function reasonOf(said: string): string {
  let reason = said;
  try {
    const { message } = JSON.parse(said) as { message?: unknown };
    if (typeof message === 'string' && message !== '') reason = message;
  } catch {
    // Words, as they are.
  }
  return reason.slice(0, 500);
}
