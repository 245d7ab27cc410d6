// Where metrics and traces go, from flags and OpenTelemetry's variables; what cannot be meant is refused.
import assert from 'node:assert/strict';
import { toObservabilityOptions } from '../../../../coordinator/commands/observability-options.js';
import { AppError } from '../../../../common/errors.js';

const refusal = (flags: object): string => {
  try {
    toObservabilityOptions(flags, false, {});
    return 'none';
  } catch (error) {
    assert.ok(error instanceof AppError);
    return `${error.code} ${String(error.details['param'])}`;
  }
};

describe('the flags of what watches a service', () => {
  it('put metrics on the HTTP address, on one of their own, or nowhere', () => {
    assert.equal(toObservabilityOptions({}, true, {}).metrics, 'http');
    assert.equal(toObservabilityOptions({}, false, {}).metrics, null);
    const own = toObservabilityOptions({ metricsAddress: '127.0.0.1:9464' }, true, {});
    assert.deepEqual(own.metrics, { address: '127.0.0.1:9464' });
    assert.equal(refusal({ metricsAddress: 'nowhere' }), 'INVALID_REQUEST --metrics-address');
  });

  it('send traces where the flag says, else where the environment does, else nowhere', () => {
    const traces = (environment: Record<string, string>, otlpEndpoint?: string) =>
      toObservabilityOptions(otlpEndpoint === undefined ? {} : { otlpEndpoint }, true, environment).traces;
    assert.equal(traces({}), null);
    assert.equal(traces({ OTEL_EXPORTER_OTLP_ENDPOINT: '' }), null);
    for (const name of ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT']) {
      assert.deepEqual(traces({ [name]: 'http://there:4318' }), { url: null }, name);
      assert.equal(traces({ [name]: 'http://there:4318', OTEL_SDK_DISABLED: 'true' }), null);
      assert.equal(traces({ [name]: 'http://there:4318', OTEL_TRACES_EXPORTER: 'none' }), null);
    }
    const disabled = { OTEL_SDK_DISABLED: 'true' };
    assert.deepEqual(traces(disabled, 'http://there:4318'), { url: 'http://there:4318/v1/traces' });
    assert.deepEqual(traces({}, 'https://there/base/'), { url: 'https://there/base/v1/traces' });
    assert.deepEqual(traces({}, 'http://there/v1/traces'), { url: 'http://there/v1/traces' });
    for (const otlpEndpoint of ['there:4318', 'ftp://there', ''])
      assert.equal(refusal({ otlpEndpoint }), 'INVALID_REQUEST --otlp-endpoint');
  });

  it('have an access log unless it is not wanted', () => {
    assert.equal(toObservabilityOptions({}, false, {}).hasAccessLog, true);
    assert.equal(toObservabilityOptions({ accessLog: false }, false, {}).hasAccessLog, false);
  });
});
