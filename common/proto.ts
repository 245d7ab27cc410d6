// Loads the protocol (proto/skein/**.proto) at run time: service definitions, client constructors, and the package
// definition that reflection needs. Types are generated into proto/ts by scripts/generate-proto-types.mjs with the same
// options. It must not open connections or know what the messages are for.
//
// 64-bit integers arrive as decimal strings: sample_hash (fixed64) and seed (uint64) use all 64 bits, which a
// JavaScript number cannot hold, and proto-loader has one setting for all fields. Read them with uint64ToNumber
// (counters, bytes, epochs: refused beyond 2^53 - 1) or uint64ToBigInt; to send, a number is taken as it is and a
// bigint goes through uint64FromBigInt.
import { fileURLToPath } from 'node:url';
import * as grpc from '@grpc/grpc-js';
import * as protoLoader from '@grpc/proto-loader';
import type { ProtoGrpcType as ClusterProto } from '../proto/ts/cluster.js';
import type { ProtoGrpcType as InferenceProto } from '../proto/ts/inference.js';
import type { ProtoGrpcType as WorkerProto } from '../proto/ts/worker.js';
import { AppError } from './errors.js';
import { MAX_UINT64 } from './limits.js';

const protoDirectory = fileURLToPath(new URL('../../proto/', import.meta.url));

export const PROTO_FILES = [
  'skein/worker/v1/worker.proto',
  'skein/cluster/v1/cluster.proto',
  'skein/inference/v1/inference.proto',
] as const;

/** The same options as in scripts/generate-proto-types.mjs. */
const LOAD_OPTIONS: protoLoader.Options = {
  includeDirs: [protoDirectory],
  keepCase: false,
  longs: String,
  enums: String,
  bytes: Buffer,
  defaults: true,
  oneofs: true,
};

export const packageDefinition: protoLoader.PackageDefinition = protoLoader.loadSync(
  [...PROTO_FILES],
  LOAD_OPTIONS,
);

/** For the reflection service: fields under the names that the .proto files give them, as its clients write them. */
export function loadReflectionDefinition(): protoLoader.PackageDefinition {
  return protoLoader.loadSync([...PROTO_FILES], { ...LOAD_OPTIONS, keepCase: true });
}

const packages = grpc.loadPackageDefinition(packageDefinition) as unknown as {
  skein: WorkerProto['skein'] & ClusterProto['skein'] & InferenceProto['skein'];
};

export const WorkerServiceClient = packages.skein.worker.v1.WorkerService;
export const ClusterServiceClient = packages.skein.cluster.v1.ClusterService;
export const InferenceServiceClient = packages.skein.inference.v1.InferenceService;

export const workerServiceDefinition = WorkerServiceClient.service;
export const clusterServiceDefinition = ClusterServiceClient.service;
export const inferenceServiceDefinition = InferenceServiceClient.service;

const UINT64_PATTERN = /^\d{1,20}$/;

/** A 64-bit field as a number; INVALID_REQUEST naming the field where it is no integer of 0 to 2^53 - 1. */
export function uint64ToNumber(value: string, field: string): number {
  const number = UINT64_PATTERN.test(value) ? Number(value) : NaN;
  if (!Number.isSafeInteger(number)) {
    throw new AppError(
      'INVALID_REQUEST',
      `${field} must be an integer of 0 to ${Number.MAX_SAFE_INTEGER}, got ${value}`,
      {
        details: { param: field },
      },
    );
  }
  return number;
}

/** A 64-bit field with all its bits. */
export function uint64ToBigInt(value: string, field: string): bigint {
  const bigint = UINT64_PATTERN.test(value) ? BigInt(value) : -1n;
  return checkedUint64(bigint, field, value);
}

/** What a 64-bit field of a message is set to when all its bits count. */
export function uint64FromBigInt(value: bigint, field: string): string {
  return checkedUint64(value, field, String(value)).toString();
}

function checkedUint64(value: bigint, field: string, shown: string): bigint {
  if (value < 0n || value > MAX_UINT64) {
    throw new AppError('INVALID_REQUEST', `${field} must be an integer of 0 to ${MAX_UINT64}, got ${shown}`, {
      details: { param: field },
    });
  }
  return value;
}
