// The Grafana dashboard as data: rows of panels, each with its queries. deploy/grafana/skein.json is made of it.

/** What the variables of the dashboard choose. */
const CHOSEN = 'model_name=~"$model_name", instance=~"$instance"';

const rate = (metric, by = []) => `sum by (${by.join(', ')}) (rate(${metric}{${CHOSEN}}[$__rate_interval]))`;
const sum = (metric, by = []) => `sum by (${by.join(', ')}) (${metric}{${CHOSEN}})`;
const quantile = (share, metric) => `histogram_quantile(${share}, ${rate(`${metric}_bucket`, ['le'])})`;
const quantiles = (metric) =>
  [
    [0.5, 'p50'],
    [0.95, 'p95'],
    [0.99, 'p99'],
  ].map(([share, legend]) => [quantile(share, metric), legend]);
const ratio = (part, whole) => `${rate(part)} / ${rate(whole)}`;

/** [title, what it says, unit, [[query, legend], ...]] */
const ROWS = [
  [
    'Service',
    [
      ['Ready', '1 while requests are taken.', 'short', [[sum('skein_ready', ['instance']), '{{instance}}']]],
      [
        'Requests in the server',
        'Running ones are computed in the present steps; paused ones wait for their clients to read, all others wait.',
        'short',
        [
          [sum('skein_num_requests_running'), 'running'],
          [sum('skein_num_requests_waiting'), 'waiting'],
          [sum('skein_num_requests_paused'), 'paused'],
        ],
      ],
      [
        'Requests that end',
        'By finish reason, and failures by code.',
        'reqps',
        [
          [rate('skein_request_success_total', ['finished_reason']), '{{finished_reason}}'],
          [`${rate('skein_request_failure_total', ['code'])} > 0`, '{{code}}'],
        ],
      ],
      [
        'Tokens',
        'Of prompts, from the cache or computed, and of answers.',
        'short',
        [
          [rate('skein_generation_tokens_total'), 'generated'],
          [rate('skein_prompt_tokens_total'), 'prompts'],
          [rate('skein_prompt_tokens_cached_total'), 'of these cached'],
        ],
      ],
    ],
  ],
  [
    'Latency',
    [
      [
        'Time to first token',
        'From the arrival of a request.',
        's',
        quantiles('skein_time_to_first_token_seconds'),
      ],
      ['Between tokens', 'Each gap by itself.', 's', quantiles('skein_inter_token_latency_seconds')],
      ['End to end', 'Of answered requests.', 's', quantiles('skein_e2e_request_latency_seconds')],
      [
        'Where the time goes (p95)',
        'The parts of a request, one after the other.',
        's',
        ['encoding', 'queue', 'prefill', 'decode'].map((part) => [
          quantile(0.95, `skein_request_${part}_time_seconds`),
          part,
        ]),
      ],
      [
        'Tokens of a request (p50)',
        'Of answered requests.',
        'short',
        [
          [quantile(0.5, 'skein_request_prompt_tokens'), 'prompt'],
          [quantile(0.5, 'skein_request_generation_tokens'), 'answer'],
        ],
      ],
    ],
  ],
  [
    'Cache and scheduling',
    [
      [
        'KV cache',
        'Share that sequences hold; what is kept for its prefix is free to be taken.',
        'percentunit',
        [[`max by (instance) (skein_kv_cache_usage_perc{${CHOSEN}})`, '{{instance}}']],
      ],
      [
        'Prefix cache',
        'Share of the tokens of prompts that needed no computing.',
        'percentunit',
        [[ratio('skein_prefix_cache_hits_total', 'skein_prefix_cache_queries_total'), 'hits']],
      ],
      [
        'Work done twice or for nothing',
        'Preemptions, and tokens computed for sequences that had ended.',
        'short',
        [
          [rate('skein_num_preemptions_total'), 'preemptions'],
          [rate('skein_wasted_rows_total'), 'wasted tokens'],
        ],
      ],
      [
        'Pictures',
        'Tiles through the vision tower, and pictures sent to the ranks.',
        'short',
        [
          [rate('skein_vision_tiles_total'), 'tiles'],
          [rate('skein_pictures_sent_total'), 'pictures sent'],
        ],
      ],
      [
        'Memory for requests',
        'Of the coordinator: requests as they came, and decoded pictures.',
        'bytes',
        [
          [sum('skein_request_memory_bytes'), 'requests'],
          [sum('skein_picture_memory_bytes'), 'decoded pictures'],
        ],
      ],
    ],
  ],
  [
    'Steps and ranks',
    [
      ['Step time', 'Of the rank that took the longest.', 's', quantiles('skein_step_time_seconds')],
      [
        'Tokens a step',
        'Prompts and answers together.',
        'short',
        [[ratio('skein_iteration_tokens_total_sum', 'skein_iteration_tokens_total_count'), 'mean']],
      ],
      [
        'What ranks spend their time on',
        'Seconds a second: plans that did not come, computing, waiting for others, sampling.',
        's',
        [[rate('skein_rank_step_seconds_total', ['rank', 'phase']), 'rank {{rank}} {{phase}}']],
      ],
      [
        'Skew between ranks',
        'How much longer the slowest computes than the fastest.',
        's',
        quantiles('skein_rank_compute_skew_seconds'),
      ],
      [
        'Slowest rank',
        'Share of the steps in which each was it.',
        'percentunit',
        [
          [
            `${rate('skein_rank_slowest_steps_total', ['rank'])} / ignoring (rank) group_left ${rate('skein_rank_slowest_steps_total')}`,
            'rank {{rank}}',
          ],
        ],
      ],
    ],
  ],
  [
    'Groups and coordinator',
    [
      [
        'Epoch',
        'A step up is a new group.',
        'short',
        [[sum('skein_group_epoch', ['instance']), '{{instance}}']],
      ],
      [
        'Lost groups',
        'By what ended them.',
        'short',
        [[`sum by (cause) (increase(skein_epoch_failures_total{${CHOSEN}}[$__rate_interval]))`, '{{cause}}']],
      ],
      ['Recovery', 'From a known loss to the next token.', 's', quantiles('skein_recovery_time_seconds')],
      [
        'Event loop',
        'How late the coordinator gets to what is due.',
        's',
        quantiles('skein_event_loop_delay_seconds'),
      ],
      [
        'Processor and memory',
        'Of the coordinator.',
        'short',
        [
          [rate('process_cpu_seconds_total', ['instance']), 'processors {{instance}}'],
          [`${sum('process_resident_memory_bytes', ['instance'])} / 2^30`, 'GiB {{instance}}'],
        ],
      ],
    ],
  ],
];

const WIDTH = 24;
const PANELS_A_LINE = 3;
const HEIGHT = 8;
const DATASOURCE = { type: 'prometheus', uid: '${datasource}' };

export function renderDashboard() {
  const panels = [];
  let y = 0;
  for (const [title, rowPanels] of ROWS) {
    panels.push({ type: 'row', title, id: panels.length + 1, gridPos: { x: 0, y, w: WIDTH, h: 1 } });
    y += 1;
    rowPanels.forEach((panel, index) => {
      const w = WIDTH / PANELS_A_LINE;
      const x = (index % PANELS_A_LINE) * w;
      const line = Math.floor(index / PANELS_A_LINE);
      panels.push(toPanel(panel, panels.length + 1, { x, y: y + line * HEIGHT, w, h: HEIGHT }));
    });
    y += Math.ceil(rowPanels.length / PANELS_A_LINE) * HEIGHT;
  }
  const dashboard = {
    title: 'Skein',
    uid: 'skein',
    tags: ['skein', 'inference'],
    schemaVersion: 39,
    version: 1,
    editable: true,
    time: { from: 'now-1h', to: 'now' },
    refresh: '30s',
    templating: {
      list: [
        { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus' },
        variable('model_name', 'Model', 'label_values(skein_build_info, model_name)'),
        variable(
          'instance',
          'Instance',
          'label_values(skein_build_info{model_name=~"$model_name"}, instance)',
        ),
      ],
    },
    panels,
  };
  return `${JSON.stringify(dashboard, null, 2)}\n`;
}

function toPanel([title, description, unit, queries], id, gridPos) {
  return {
    type: 'timeseries',
    ...{ id, title, description, gridPos, datasource: DATASOURCE },
    fieldConfig: {
      defaults: { unit, min: 0, custom: { fillOpacity: 8, showPoints: 'never' } },
      overrides: [],
    },
    options: {
      legend: { displayMode: 'list', placement: 'bottom' },
      tooltip: { mode: 'multi', sort: 'desc' },
    },
    targets: queries.map(([expr, legendFormat], index) => ({
      ...{ refId: String.fromCharCode(65 + index), expr, legendFormat, datasource: DATASOURCE },
    })),
  };
}

function variable(name, label, query) {
  return {
    ...{ name, label, query, type: 'query', datasource: DATASOURCE },
    ...{ includeAll: true, multi: true, refresh: 2, current: { text: 'All', value: '$__all' } },
  };
}
