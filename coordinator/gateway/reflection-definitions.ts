// What the reflection service hands out. proto-loader's descriptors name the entries of map fields in a way that Go
// clients (ghz, grpcurl) refuse: the nested message of map field `some_map` has to be `SomeMapEntry`. Here they get
// that name.
import { loadSync, type PackageDefinition } from '@grpc/proto-loader';
import { protoPath as healthProtoPath } from 'grpc-health-check';
import descriptor, { type IDescriptorProto } from 'protobufjs/ext/descriptor/index.js';
import { loadReflectionDefinition } from '../../common/proto.js';

export function reflectionDefinitions(): PackageDefinition {
  const definitions = { ...loadReflectionDefinition(), ...loadSync(healthProtoPath, { keepCase: true }) };
  const mended = new Map<Buffer, Buffer>();
  for (const definition of Object.values(definitions)) {
    // Messages and enums carry their files; services do not.
    if (!Array.isArray(definition.fileDescriptorProtos)) continue;
    definition.fileDescriptorProtos = definition.fileDescriptorProtos.map((bytes: Buffer) => {
      const known = mended.get(bytes);
      if (known !== undefined) return known;
      const fresh = withMapEntryNames(bytes);
      mended.set(bytes, fresh);
      return fresh;
    });
  }
  return definitions;
}

function withMapEntryNames(bytes: Buffer): Buffer {
  const file = descriptor.FileDescriptorProto.decode(bytes) as unknown as { messageType: IDescriptorProto[] };
  for (const message of file.messageType) mendMessage(message);
  return Buffer.from(descriptor.FileDescriptorProto.encode(file as never).finish());
}

function mendMessage(message: IDescriptorProto): void {
  for (const nested of message.nestedType ?? []) {
    mendMessage(nested);
    if (nested.options?.mapEntry !== true) continue;
    for (const field of message.field ?? []) {
      if (field.typeName?.split('.').at(-1) !== nested.name) continue;
      const name = mapEntryName(field.name ?? '');
      field.typeName = [...field.typeName!.split('.').slice(0, -1), name].join('.');
      nested.name = name;
    }
  }
}

/** `some_map` -> `SomeMapEntry`, as protoc names it. */
function mapEntryName(field: string): string {
  const camel = field.replace(/(?:^|_)([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
  return `${camel}Entry`;
}
