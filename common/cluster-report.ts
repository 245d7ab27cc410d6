// What GET /cluster answers, in the API's own names: the page shows it, and whoever else asks may read it.
export interface ClusterReport {
  readonly version: string;
  /** Milliseconds since 1970, by the server's clock. */
  readonly now_ms: number;
  readonly state: 'forming' | 'ready' | 'recovering' | 'failed' | 'draining';
  /** Of the group, as the workers know it; and which one of this server's it is, from 1. 0: none yet. */
  readonly group_epoch: number;
  readonly epoch_number: number;
  readonly model: ClusterModel;
  /** How the ranks meet; empty before the first group, and where there is one rank. */
  readonly collective: string;
  /** In rank order; empty before the first group. */
  readonly ranks: readonly ClusterRank[];
  readonly cache: ClusterCache;
  readonly queue: ClusterQueue;
  readonly completed_steps: number;
  /** Complete seconds, the oldest first; those in which no step completed are not there. */
  readonly timeline: readonly TimelineSecond[];
  /** The latest ones, the oldest first. */
  readonly events: readonly ClusterEvent[];
}

export interface ClusterModel {
  readonly name: string;
  readonly architecture: string;
  readonly max_model_len: number;
  readonly supports_pictures: boolean;
  readonly compute_type: string;
  /** Of the decoder; empty: none. */
  readonly quantization: string;
  /** Of the vision tower; empty: none. */
  readonly vision_quantization: string;
  /** Of keys and values; empty: that of computing. */
  readonly kv_cache_dtype: string;
  readonly deterministic: boolean;
  /** What absent sampling fields of a request take, in the names of a request. */
  readonly sampling_defaults: Readonly<Record<string, number>>;
}

/** Bytes are those of the device when the group was formed; 0 where they are not counted. */
export interface ClusterRank {
  readonly rank: number;
  readonly worker_id: string;
  readonly host: string;
  readonly pid: number;
  readonly device: string;
  readonly device_name: string;
  readonly weight_bytes: number;
  readonly kv_bytes: number;
  readonly activation_bytes: number;
  readonly graph_bytes: number;
  readonly workspace_bytes: number;
  readonly other_bytes: number;
  readonly free_bytes: number;
  readonly total_bytes: number;
}

/** Of the epoch that serves, or of the last one. */
export interface ClusterCache {
  readonly num_blocks: number;
  /** Those that hold kept prefixes included. */
  readonly num_free_blocks: number;
  readonly num_kept_blocks: number;
  /** In tokens. */
  readonly block_size: number;
  /** Of admitted sequences, and how many of them needed no computing. */
  readonly num_admitted_tokens: number;
  readonly num_cached_tokens: number;
}

export interface ClusterQueue {
  readonly num_running: number;
  readonly num_waiting: number;
  /** Their clients read too slowly; neither running nor waiting. */
  readonly num_paused: number;
  readonly num_preemptions: number;
}

/** Of the steps that completed in one second. */
export interface TimelineSecond {
  /** Since 1970. */
  readonly at_s: number;
  readonly num_steps: number;
  /** Computed and produced. */
  readonly num_tokens: number;
  readonly num_sampled: number;
  /** Means over the steps, by rank: the whole step, and within it the wait for other ranks. */
  readonly step_ms: readonly number[];
  readonly collective_ms: readonly number[];
  /** At most, of the sequences. */
  readonly num_running: number;
  readonly num_waiting: number;
  /** At most, of the KV cache's blocks; kept ones that nobody holds are not in use. */
  readonly num_used_blocks: number;
}

export type ClusterEvent =
  | { readonly kind: 'state'; readonly at_ms: number; readonly state: ClusterReport['state'] }
  | {
      readonly kind: 'epoch';
      readonly at_ms: number;
      readonly group_epoch: number;
      readonly epoch_number: number;
      readonly num_ranks: number;
    }
  | {
      readonly kind: 'lost';
      readonly at_ms: number;
      readonly group_epoch: number;
      readonly epoch_number: number;
      readonly code: string;
      readonly reason: string;
    }
  | {
      readonly kind: 'recovery';
      readonly at_ms: number;
      readonly group_epoch: number;
      readonly epoch_number: number;
      readonly num_requests: number;
      readonly num_attempts: number;
      /** Since the loss was known, by phase, in order. */
      readonly phases_ms: Readonly<Record<string, number>>;
    };
