// What a worker does for its coordinator, whatever carries the calls: messages in, messages out. Policy about epochs
// and steps is in step-runner.ts; gRPC is in worker-service.ts.
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Clock } from '../common/clock.js';
import { AppError } from '../common/errors.js';
import { PROTOCOL_VERSION } from '../common/limits.js';
import type { Logger } from '../common/logger.js';
import { VERSION } from '../common/version.js';
import type { AbortRequest__Output } from '../proto/ts/skein/worker/v1/AbortRequest.js';
import type { AbortResponse } from '../proto/ts/skein/worker/v1/AbortResponse.js';
import type { DescribeResponse } from '../proto/ts/skein/worker/v1/DescribeResponse.js';
import type { JoinGroupRequest__Output } from '../proto/ts/skein/worker/v1/JoinGroupRequest.js';
import type { JoinGroupResponse } from '../proto/ts/skein/worker/v1/JoinGroupResponse.js';
import type { LoadRequest__Output } from '../proto/ts/skein/worker/v1/LoadRequest.js';
import type { LoadResponse } from '../proto/ts/skein/worker/v1/LoadResponse.js';
import type { PrepareGroupRequest__Output } from '../proto/ts/skein/worker/v1/PrepareGroupRequest.js';
import type { PrepareGroupResponse } from '../proto/ts/skein/worker/v1/PrepareGroupResponse.js';
import type { PutPixelsResponse } from '../proto/ts/skein/worker/v1/PutPixelsResponse.js';
import type { ShutDownRequest__Output } from '../proto/ts/skein/worker/v1/ShutDownRequest.js';
import { toLoadResult, toNativeLoadPlan } from './convert-load.js';
import type { EngineHolder } from './engine-holder.js';
import { parseFence, type WorkerIdentity } from './epoch-guard.js';
import type { NativeGroupOptions, NativeLoadPlan } from '../common/native/native.js';
import { chooseNcclInterface } from './nccl-interface.js';
import { PixelAssembler } from './pixel-assembler.js';
import { PixelBuffers } from './pixel-buffers.js';
import { StepRunner } from './step-runner.js';
import { StepSession, type StepStreamPort } from './step-session.js';

const COLLECTIVES: Readonly<Record<string, NativeGroupOptions['collective']>> = {
  COLLECTIVE_KIND_NONE: 'none',
  COLLECTIVE_KIND_SHARED_MEMORY: 'shared-memory',
  COLLECTIVE_KIND_GLOO: 'gloo',
  COLLECTIVE_KIND_NCCL: 'nccl',
};

/** Progress of loading is reported at most this often. */
const PROGRESS_INTERVAL_MS = 100;

export interface RankServiceOptions {
  readonly identity: WorkerIdentity;
  readonly engines: EngineHolder;
  /** Default: COORDINATOR_SILENCE_MS. */
  readonly coordinatorSilenceMs?: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The coordinator asked the process to end. */
  readonly onShutDown: (reason: string) => void;
  /** An epoch is open, or over: its coordinator is there, or has left. */
  readonly onHeld: () => void;
  readonly onReleased: () => void;
  /** This process must not compute any more; whoever waited for the step has been told. */
  readonly onBroken: (error: AppError) => void;
}

export class RankService {
  readonly #options: RankServiceOptions;
  readonly #runner: StepRunner;
  readonly #pixelBuffers = new PixelBuffers();
  #loadedPlan: NativeLoadPlan | null = null;

  constructor(options: RankServiceOptions) {
    this.#options = options;
    this.#runner = new StepRunner(options);
  }

  describe(): DescribeResponse {
    const { identity, engines } = this.#options;
    const { device, deviceName, instructionClass, memoryTotalBytes, memoryFreeBytes } =
      engines.engine.describe();
    return {
      workerId: identity.workerId,
      host: hostname(),
      sharedMemoryDomain: sharedMemoryDomain(),
      pid: process.pid,
      device,
      deviceName,
      instructionClass,
      memoryTotalBytes,
      memoryFreeBytes,
      version: VERSION,
      protocolVersion: PROTOCOL_VERSION,
      highestEpoch: this.#runner.highestEpoch,
      clusterId: identity.clusterId,
      workerIncarnation: identity.incarnation,
      weightsHash: this.#loadedPlan?.weightsHash ?? '',
    };
  }

  /** The last message has the result. */
  load(request: LoadRequest__Output, send: (message: LoadResponse) => void): Promise<void> {
    const { engines, clock } = this.#options;
    const plan = toNativeLoadPlan(request);
    return this.#runner.load(parseFence(request.fence), async () => {
      this.#loadedPlan = null;
      await engines.configure(request);
      let lastReportMs = -Infinity;
      const result = await engines.engine.load(plan, (loadedBytes, totalBytes) => {
        const nowMs = clock.nowMs();
        if (nowMs - lastReportMs < PROGRESS_INTERVAL_MS) return;
        lastReportMs = nowMs;
        send({ progress: { loadedBytes, totalBytes } });
      });
      this.#loadedPlan = plan;
      send({ result: toLoadResult(result) });
    });
  }

  async prepareGroup(request: PrepareGroupRequest__Output): Promise<PrepareGroupResponse> {
    const fence = parseFence(request.fence);
    const options = toGroupOptions(request, fence.groupEpoch);
    if (options.collective === 'nccl') await chooseNcclInterface(options.bindHost);
    return { address: Buffer.from(await this.#runner.prepareGroup(fence, request.nonce, options)) };
  }

  async joinGroup(request: JoinGroupRequest__Output): Promise<JoinGroupResponse> {
    const kvBytes = await this.#runner.joinGroup(
      parseFence(request.fence),
      request.addresses.map((address) => Uint8Array.from(address)),
      request.numKvBlocks,
      request.timeoutMs,
    );
    return { ...(await this.#options.engines.engine.memoryUse()), kvBytes };
  }

  openSteps(port: StepStreamPort): StepSession {
    const { clock, logger, onHeld, onReleased, coordinatorSilenceMs: silenceMs } = this.#options;
    return new StepSession({ runner: this.#runner, clock, logger, port, silenceMs, onHeld, onReleased });
  }

  /** Takes the messages of one picture; `finish` gives it to the engine. */
  receivePixels(): {
    readonly add: PixelAssembler['add'];
    readonly finish: () => Promise<PutPixelsResponse>;
  } {
    const assembler = new PixelAssembler(this.#loadedPlan, this.#pixelBuffers);
    return {
      add: (request) => assembler.add(request),
      finish: async () => {
        try {
          const picture = await assembler.finish();
          if (picture === null) return { unreadable: true };
          const { fence, pictureId, tileSlots, pixels } = picture;
          this.#runner.putPixels(fence, pictureId, tileSlots, pixels);
          return {};
        } finally {
          // The engine has a copy of its own, or refused them.
          assembler.release();
        }
      },
    };
  }

  async abort(request: AbortRequest__Output): Promise<AbortResponse> {
    return { lastStep: await this.#runner.abort(parseFence(request.fence), request.reason) };
  }

  shutDown(request: ShutDownRequest__Output): void {
    this.#runner.checkShutDown(parseFence(request.fence));
    this.#options.onShutDown(request.reason);
  }

  /** At the end of the process. */
  async stop(reason: string): Promise<void> {
    await this.#runner.stop(reason).catch((error: unknown) => {
      this.#options.logger.warn({ err: error }, 'the epoch did not end cleanly');
    });
  }
}

function toGroupOptions(request: PrepareGroupRequest__Output, groupEpoch: number): NativeGroupOptions {
  const collective = COLLECTIVES[request.collective];
  if (collective === undefined) {
    throw new AppError('INVALID_REQUEST', 'collective is not set', { details: { param: 'collective' } });
  }
  const { rank, worldSize, bindHost } = request;
  return { groupEpoch, rank, worldSize, collective, bindHost };
}

/**
 * As native/collective/process_identity.cc tells hosts apart: containers of one host may share a name and no process
 * ids.
 */
function sharedMemoryDomain(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${boot} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    // Not to be seen here: the name of the host has to do.
    return '';
  }
}
