// Reads what a C++ file includes, and says which includes the layers forbid: core <- ops <- sampling <- {cpu, cuda},
// core <- collective, {ops, collective, kv} <- model <- engine <- addon; picture <- picture_addon, which know nothing
// of the others; outside headers only where they belong.

function includesOf(text: string): string[] {
  return [...text.matchAll(/^\s*#\s*include\s*[<"]([^>"]+)[>"]/gm)].map((match) => match[1] ?? '');
}

/** ops names the communicator, because fused operations reduce (ops/backend.h). */
const MAY_INCLUDE: Readonly<Record<string, readonly string[]>> = {
  core: ['core'],
  collective: ['core', 'collective'],
  ops: ['core', 'collective', 'ops'],
  sampling: ['core', 'collective', 'ops', 'sampling'],
  cpu: ['core', 'collective', 'ops', 'sampling', 'cpu'],
  cuda: ['core', 'collective', 'ops', 'sampling', 'cuda'],
  kv: ['core', 'ops', 'kv'],
  model: ['core', 'collective', 'ops', 'kv', 'model'],
  engine: ['core', 'collective', 'ops', 'kv', 'model', 'engine'],
  addon: ['core', 'engine', 'addon'],
  picture: ['picture'],
  picture_addon: ['picture', 'picture_addon'],
};

interface OutsideRule {
  readonly header: RegExp;
  readonly allowedIn: RegExp;
}

const OUTSIDE_HEADERS: readonly OutsideRule[] = [
  { header: /^(napi|node_api|js_native_api)/, allowedIn: /^native\/(picture_)?addon\// },
  { header: /^nccl/, allowedIn: /^native\/collective\/nccl/ },
  {
    header: /^(cuda|cublas|cub\/|cooperative_groups|mma\.h|nv)/,
    allowedIn: /^native\/(cuda\/|collective\/(nccl|peer_)|test\/cuda)/,
  },
  { header: /^gloo\//, allowedIn: /^native\/(collective|test)\// },
  { header: /^(oneapi\/dnnl|dnnl)/, allowedIn: /^native\/test\// },
  { header: /^hwy\//, allowedIn: /^native\/cpu\// },
  { header: /^gtest\//, allowedIn: /^native\/test\// },
];

/** NCCL's communicator, and the one beside it, work on device memory: they alone of all collectives launch kernels. */
function isException(file: string, target: string): boolean {
  return /^native\/collective\/(nccl|peer_)/.test(file) && target === 'cuda';
}

/** The forbidden includes of one file, as sentences. */
export function includeViolations(file: string, text: string): string[] {
  const layer = file.split('/')[1] ?? '';
  const violations: string[] = [];
  for (const header of includesOf(text)) {
    const rule = OUTSIDE_HEADERS.find((candidate) => candidate.header.test(header));
    const target = header.split('/')[0] ?? '';
    if (header.includes('/') && Object.hasOwn(MAY_INCLUDE, target)) {
      // Tests may include anything of ours.
      if (layer !== 'test' && !isException(file, target) && MAY_INCLUDE[layer]?.includes(target) !== true) {
        violations.push(`${file} includes ${header}: ${layer} may not include ${target}`);
      }
    } else if (rule !== undefined && !rule.allowedIn.test(file)) {
      violations.push(`${file} includes ${header}, which belongs only to ${rule.allowedIn.source}`);
    }
  }
  return violations;
}
