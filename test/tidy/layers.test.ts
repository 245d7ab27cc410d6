// The direction of imports holds in every file, and the rules that check it can fail.
import assert from 'node:assert/strict';
import { readSource, sourceFiles } from '../support/source-files.js';
import { includeViolations } from './native-includes.js';
import { impureUses, layerViolations, resolveImport } from './typescript-imports.js';

const LAYERED = /^(common|coordinator|worker|bench-serve|page)\/.*\.tsx?$/;

describe('layers of the TypeScript', () => {
  it('are kept by every file', () => {
    const files = sourceFiles(LAYERED);
    assert.ok(files.includes('common/errors.ts'));
    assert.deepEqual(
      files.flatMap((file) => layerViolations(file, readSource(file))),
      [],
    );
  });

  it('leave the scheduler no time, promise or I/O', () => {
    const impure = sourceFiles(/^coordinator\/scheduler\/.*\.ts$/).flatMap((file) =>
      impureUses(readSource(file)).map((use) => `${file}: ${use}`),
    );
    assert.deepEqual(impure, []);
  });

  it('let only load-addon.ts touch the engine, only picture-addon.ts the code for pictures; one library is a script that wants require', () => {
    const touching = sourceFiles(LAYERED).filter((file) =>
      /\bcreateRequire\b|process\.dlopen/.test(readSource(file)),
    );
    assert.deepEqual(
      touching.filter((file) => file !== 'common/native/load-addon.ts'),
      ['coordinator/grammar/xgrammar.ts', 'coordinator/vision/picture-addon.ts'],
    );
  });

  it('are broken by what they forbid', () => {
    const forbidden: [string, string][] = [
      ['worker/main.ts', `import { x } from '../coordinator/main.js';`],
      ['coordinator/executor/step-loop.ts', `import type { x } from '../../worker/native/engine-like.js';`],
      ['coordinator/scheduler/scheduler.ts', `import { x } from '../../common/logger.js';`],
      ['coordinator/scheduler/scheduler.ts', `import { readFileSync } from 'node:fs';`],
      ['coordinator/gateway/server.ts', `const m = await import('../cluster/membership.js');`],
      ['coordinator/sharding/shard-plan.ts', `export { x } from '../executor/step-loop.js';`],
      ['common/errors.ts', `import { x } from '../coordinator/config.js';`],
      ['worker/main.ts', `import { x } from '../test/support/paths.js';`],
      ['bench-serve/run.ts', `import { x } from '../coordinator/engine/engine.js';`],
      ['coordinator/gateway/parse-request.ts', `import { x } from '../../bench-serve/run.js';`],
      ['page/logic/api.ts', `import { x } from '../../common/errors.js';`],
      ['page/logic/api.ts', `import { x } from '../app/app.js';`],
      ['coordinator/gateway/server.ts', `import { x } from '../../page/logic/api.js';`],
      ['coordinator/unheard-of/x.ts', ''],
    ];
    for (const [file, text] of forbidden)
      assert.equal(layerViolations(file, text).length, 1, `${file}: ${text}`);
  });

  it('allow what they should', () => {
    const allowed: [string, string][] = [
      [
        'worker/main.ts',
        `import { x } from './native/native-engine.js'; import { y } from '../common/errors.js';`,
      ],
      [
        'coordinator/scheduler/scheduler.ts',
        `import { x } from './sequence.js'; import { y } from '../../common/assert.js';`,
      ],
      ['coordinator/sharding/shard-plan.ts', `import type { M } from '../checkpoint/model-spec.js';`],
      [
        'coordinator/commands/run.ts',
        `import { x } from '../executor/step-loop.js'; import fs from 'node:fs';`,
      ],
    ];
    for (const [file, text] of allowed) assert.deepEqual(layerViolations(file, text), [], `${file}: ${text}`);
    assert.equal(
      resolveImport('coordinator/sharding/a.ts', '../checkpoint/b.js'),
      'coordinator/checkpoint/b.ts',
    );
  });

  it('see impurity and not its namesakes', () => {
    assert.deepEqual(impureUses('const t = Date.now();\nasync function f() { await g(); }'), [
      'Date at line 1',
      'async at line 2',
      'async at line 2',
    ]);
    assert.deepEqual(impureUses('const r = Math.random();'), ['Math.random at line 1']);
    assert.deepEqual(
      impureUses('interface A { process: number }\nconst b = a.process; // Date\nconst s = "Promise";'),
      [],
    );
  });
});

describe('layers of the native code', () => {
  it('are kept by every file', () => {
    const files = sourceFiles(/^native\/.*\.(cc|h|cu|cuh)$/);
    assert.ok(files.includes('native/engine/engine.h'));
    assert.deepEqual(
      files.flatMap((file) => includeViolations(file, readSource(file))),
      [],
    );
  });

  it('are broken by what they forbid', () => {
    const forbidden: [string, string][] = [
      ['native/cpu/matmul.cc', '#include "cuda/stream.h"'],
      ['native/cuda/stream.cc', '#include "cpu/matmul.h"'],
      ['native/cuda/cuda_sampler.cc', '#include "cpu/host_logits.h"'],
      ['native/sampling/sampler.cc', '#include "cpu/host_logits.h"'],
      ['native/core/tensor.h', '#include "ops/backend.h"'],
      ['native/model/decoder.cc', '#include "cpu/matmul.h"'],
      ['native/collective/gloo.cc', '#include "model/decoder.h"'],
      ['native/engine/engine.cc', '#include <napi.h>'],
      ['native/engine/engine.cc', '  #  include <node_api.h>'],
      ['native/cuda/graph_runner.cc', '#include <nccl.h>'],
      ['native/engine/engine.h', '#include <cuda_runtime.h>'],
      ['native/cpu/matmul.cc', '#include <oneapi/dnnl/dnnl.hpp>'],
      ['native/picture/resize.cc', '#include "core/error.h"'],
      ['native/picture/resize.cc', '#include <napi.h>'],
      ['native/picture_addon/picture_addon.cc', '#include "engine/engine.h"'],
      ['native/cpu/matmul.cc', '#include <gtest/gtest.h>'],
    ];
    for (const [file, text] of forbidden)
      assert.equal(includeViolations(file, text).length, 1, `${file}: ${text}`);
  });

  it('allow what they should', () => {
    const allowed: [string, string][] = [
      ['native/addon/addon.cc', '#include <napi.h>\n#include "engine/engine.h"\n#include <vector>'],
      ['native/collective/nccl.cc', '#include <nccl.h>\n#include <cuda_runtime.h>\n#include "core/error.h"'],
      ['native/cpu/matmul.cc', '#include <hwy/highway.h>\n#include "ops/backend.h"'],
      ['native/test/onednn_matmul.cc', '#include <oneapi/dnnl/dnnl.hpp>'],
      ['native/test/engine_test.cc', '#include <gtest/gtest.h>\n#include "cpu/matmul.h"'],
    ];
    for (const [file, text] of allowed)
      assert.deepEqual(includeViolations(file, text), [], `${file}: ${text}`);
  });
});
