// The options of every channel of the cluster's own: workers to their coordinator, the coordinator to its
// workers, probes.
import type { ChannelOptions } from '@grpc/grpc-js';

/**
 * Ranks are reached directly, whatever http_proxy, https_proxy and grpc_proxy say: those are for the world outside, and
 * a proxy that does not know a rank's address would be asked for every step.
 */
export function clusterChannelOptions(others: ChannelOptions = {}): ChannelOptions {
  return {
    'grpc.enable_http_proxy': 0,
    'grpc.max_reconnect_backoff_ms': 1_000,
    'grpc.enable_channelz': 0,
    ...others,
  };
}
