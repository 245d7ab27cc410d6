// WorkerService: parses messages, calls, maps errors. Policy about epochs and steps is in step-runner.ts.
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import type * as grpc from '@grpc/grpc-js';
import { AppError, toAppError } from '../common/errors.js';
import { toGrpcError } from '../common/grpc-status.js';
import { PROTOCOL_VERSION } from '../common/limits.js';
import type { Logger } from '../common/logger.js';
import { uint64ToNumber } from '../common/proto.js';
import { VERSION } from '../common/version.js';
import type { DescribeResponse } from '../proto/ts/skein/worker/v1/DescribeResponse.js';
import type { ExecuteRequest__Output } from '../proto/ts/skein/worker/v1/ExecuteRequest.js';
import type { ExecuteResponse } from '../proto/ts/skein/worker/v1/ExecuteResponse.js';
import type { LoadRequest__Output } from '../proto/ts/skein/worker/v1/LoadRequest.js';
import type { LoadResponse } from '../proto/ts/skein/worker/v1/LoadResponse.js';
import type { PrepareGroupRequest__Output } from '../proto/ts/skein/worker/v1/PrepareGroupRequest.js';
import type { PutPixelsRequest__Output } from '../proto/ts/skein/worker/v1/PutPixelsRequest.js';
import type { WorkerServiceHandlers } from '../proto/ts/skein/worker/v1/WorkerService.js';
import { toLoadResult, toNativeLoadPlan } from './convert-load.js';
import { toNativeStepPlan, toStepResult } from './convert-step.js';
import type { EngineHolder } from './engine-holder.js';
import type { NativeGroupOptions, NativeLoadPlan } from './native/native.js';
import { chooseNcclInterface } from './nccl-interface.js';
import { PixelAssembler } from './pixel-assembler.js';
import type { StepRunner, StepSink } from './step-runner.js';

const COLLECTIVES: Readonly<Record<string, NativeGroupOptions['collective']>> = {
  COLLECTIVE_KIND_NONE: 'none',
  COLLECTIVE_KIND_SHARED_MEMORY: 'shared-memory',
  COLLECTIVE_KIND_GLOO: 'gloo',
  COLLECTIVE_KIND_NCCL: 'nccl',
};

/** Progress of loading is reported at most this often. */
const PROGRESS_INTERVAL_MS = 100;

export interface WorkerServiceOptions {
  readonly workerId: string;
  readonly engines: EngineHolder;
  readonly runner: StepRunner;
  readonly logger: Logger;
  /** The coordinator asked the process to end. */
  readonly onShutDown: (reason: string) => void;
}

export class WorkerService {
  readonly #options: WorkerServiceOptions;
  #loadedPlan: NativeLoadPlan | null = null;
  #isLoading = false;

  constructor(options: WorkerServiceOptions) {
    this.#options = options;
  }

  handlers(): WorkerServiceHandlers {
    const { engines, runner, onShutDown } = this.#options;
    return {
      Describe: unary(() => Promise.resolve(this.describe())),
      Load: (call) => void this.#load(call),
      PrepareGroup: unary(async (request: PrepareGroupRequest__Output) => {
        const options = toGroupOptions(request);
        if (options.collective === 'nccl') await chooseNcclInterface(options.bindHost);
        return { address: Buffer.from(await runner.prepareGroup(options)) };
      }),
      JoinGroup: unary(async (request) => {
        const kvBytes = await runner.joinGroup(
          uint64ToNumber(request.groupEpoch, 'group_epoch'),
          request.addresses.map((address) => Uint8Array.from(address)),
          request.numKvBlocks,
          request.timeoutMs,
        );
        return { ...(await engines.engine.memoryUse()), kvBytes };
      }),
      Execute: (call) => this.#execute(call),
      PutPixels: (call, callback) => this.#putPixels(call, callback),
      Abort: unary(async (request) => ({
        lastStep: await runner.abort(uint64ToNumber(request.groupEpoch, 'group_epoch'), request.reason),
      })),
      ShutDown: unary(async (request) => {
        onShutDown(request.reason);
        return Promise.resolve({});
      }),
    };
  }

  describe(): DescribeResponse {
    const { workerId, engines, runner } = this.#options;
    const description = engines.engine.describe();
    return {
      workerId,
      host: hostname(),
      sharedMemoryDomain: sharedMemoryDomain(),
      pid: process.pid,
      device: description.device,
      deviceName: description.deviceName,
      instructionClass: description.instructionClass,
      memoryTotalBytes: description.memoryTotalBytes,
      memoryFreeBytes: description.memoryFreeBytes,
      version: VERSION,
      protocolVersion: PROTOCOL_VERSION,
      highestEpoch: runner.highestEpoch,
      loadedPlanHash: this.#loadedPlan?.planHash ?? '',
    };
  }

  async #load(call: grpc.ServerWritableStream<LoadRequest__Output, LoadResponse>): Promise<void> {
    try {
      if (this.#isLoading) throw new AppError('NOT_READY', 'the worker is loading already');
      this.#isLoading = true;
      const plan = toNativeLoadPlan(call.request);
      const { engines } = this.#options;
      this.#loadedPlan = null;
      await engines.configure(call.request);
      let lastReportMs = 0;
      const result = await engines.engine.load(plan, (loadedBytes, totalBytes) => {
        const nowMs = performance.now();
        if (nowMs - lastReportMs < PROGRESS_INTERVAL_MS) return;
        lastReportMs = nowMs;
        call.write({ progress: { loadedBytes, totalBytes } });
      });
      this.#loadedPlan = plan;
      call.write({ result: toLoadResult(result) });
      call.end();
    } catch (error) {
      call.emit('error', toGrpcError(error, { audience: 'peer' }));
    } finally {
      this.#isLoading = false;
    }
  }

  #execute(call: grpc.ServerDuplexStream<ExecuteRequest__Output, ExecuteResponse>): void {
    const { runner, logger } = this.#options;
    let isOpen = false;
    const sink: StepSink = {
      // Bounded by MAX_PLANS_IN_FLIGHT: the coordinator sends no plan before it has read an earlier result.
      onResult: (result) => void call.write({ result: toStepResult(result, runner.rank) }),
      onFailure: (error) => fail(error),
    };
    const fail = (error: unknown): void => {
      const appError = toAppError(error);
      // The worker's own end is no fault.
      const level = appError.code === 'WORKER_LOST' ? 'info' : 'warn';
      logger[level]({ code: appError.code, err: appError }, 'the step stream fails');
      call.emit('error', toGrpcError(appError, { audience: 'peer' }));
      runner.closeStream(sink);
    };
    call.on('data', (request: ExecuteRequest__Output) => {
      try {
        if (request.plan === null) throw new AppError('INVALID_REQUEST', 'plan is missing');
        const plan = toNativeStepPlan(request.plan);
        if (!isOpen) runner.openStream(plan.groupEpoch, sink);
        isOpen = true;
        runner.submit(plan);
      } catch (error) {
        fail(error);
      }
    });
    call.on('end', () => {
      runner.closeStream(sink);
      call.end();
    });
    call.on('cancelled', () => runner.closeStream(sink));
    call.on('error', () => runner.closeStream(sink));
  }

  #putPixels(
    call: grpc.ServerReadableStream<PutPixelsRequest__Output, object>,
    callback: grpc.sendUnaryData<object>,
  ): void {
    const { runner } = this.#options;
    const assembler = new PixelAssembler(this.#loadedPlan);
    let hasFailed = false;
    const fail = (error: unknown): void => {
      if (hasFailed) return;
      hasFailed = true;
      callback(toGrpcError(error, { audience: 'peer' }));
    };
    call.on('data', (request: PutPixelsRequest__Output) => {
      if (hasFailed) return;
      try {
        assembler.add(request);
      } catch (error) {
        fail(error);
      }
    });
    call.on('end', () => {
      if (hasFailed) return;
      try {
        const { groupEpoch, pictureId, tileSlots, pixels } = assembler.finish();
        runner.putPixels(groupEpoch, pictureId, tileSlots, pixels).then(() => callback(null, {}), fail);
      } catch (error) {
        fail(error);
      }
    });
    call.on('error', () => undefined);
  }
}

/** A unary handler from an async function; errors get their status and code. */
export function unary<Request, Response>(
  handle: (request: Request) => Promise<Response>,
): grpc.handleUnaryCall<Request, Response> {
  return (call, callback) => {
    // Inside a promise, so that a synchronous throw is mapped too.
    Promise.resolve()
      .then(() => handle(call.request))
      .then(
        (response) => callback(null, response),
        (error: unknown) => callback(toGrpcError(error, { audience: 'peer' })),
      );
  };
}

function toGroupOptions(request: PrepareGroupRequest__Output): NativeGroupOptions {
  const collective = COLLECTIVES[request.collective];
  if (collective === undefined) {
    throw new AppError('INVALID_REQUEST', 'collective is not set', { details: { param: 'collective' } });
  }
  return {
    groupEpoch: uint64ToNumber(request.groupEpoch, 'group_epoch'),
    rank: request.rank,
    worldSize: request.worldSize,
    collective,
    bindHost: request.bindHost,
  };
}

/** As native/collective/process_identity.cc tells hosts apart: containers of one host may share a name and no process ids. */
function sharedMemoryDomain(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return `${boot} ${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    // Not to be seen here: the name of the host has to do.
    return '';
  }
}
