// Names of tensor roles and parts -> the numbers that the engine shares with worker.proto, read from the protocol
// itself.
import type * as protobuf from '@grpc/proto-loader';
import { packageDefinition } from '../proto.js';
import { AppError } from '../errors.js';

const roles = enumNumbers('skein.worker.v1.TensorRole');
const parts = enumNumbers('skein.worker.v1.TensorPart');

export function tensorRoleNumber(name: string): number {
  return lookUp(roles, name, 'tensors.role');
}

export function tensorPartNumber(name: string): number {
  return lookUp(parts, name, 'tensors.part');
}

function enumNumbers(name: string): ReadonlyMap<string, number> {
  const definition = packageDefinition[name] as protobuf.EnumTypeDefinition;
  const { value } = definition.type as { value: { name: string; number: number }[] };
  return new Map(value.map((entry) => [entry.name, entry.number]));
}

function lookUp(numbers: ReadonlyMap<string, number>, name: string, field: string): number {
  const number = numbers.get(name) ?? 0;
  if (number === 0)
    throw new AppError('INVALID_REQUEST', `${field} is not set`, { details: { param: field } });
  return number;
}
