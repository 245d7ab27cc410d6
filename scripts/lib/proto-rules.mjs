// The rules that the protocol files keep, in form (Buf's standard lint rules) and over time (what would break a client,
// a peer or their source is refused). What was accepted is proto/accepted.json: names, numbers and types, nothing else.
import protobuf from 'protobufjs';

const SNAKE = /^[a-z][a-z0-9]*(_[a-z0-9]+)*$/;
const PASCAL = /^[A-Z][A-Za-z0-9]*$/;
const UPPER_SNAKE = /^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$/;

/** `files`: path below proto/ → text. Returns the plain description of everything that is declared. */
export function describeProtocol(files) {
  const root = new protobuf.Root();
  const packages = {};
  for (const [file, text] of Object.entries(files)) {
    const parsed = protobuf.parse(text, root, { keepCase: true });
    packages[file] = { package: parsed.package ?? '', imports: parsed.imports ?? [] };
  }
  root.resolveAll();
  const found = { files: packages, messages: {}, enums: {}, services: {} };
  const visit = (scope) => {
    for (const item of scope.nestedArray ?? []) {
      const name = item.fullName.slice(1);
      if (item instanceof protobuf.Type) found.messages[name] = describeMessage(item);
      if (item instanceof protobuf.Enum)
        found.enums[name] = { values: { ...item.values }, ...reservedOf(item) };
      if (item instanceof protobuf.Service) found.services[name] = describeService(item);
      visit(item);
    }
  };
  visit(root);
  return found;
}

/** A field as the .proto file has it: "repeated uint32 = 6", "bytes = 1 in oneof source". */
function describeMessage(type) {
  const fields = type.fieldsArray.map((field) => {
    const isOptional = field.options?.proto3_optional === true;
    const label = field.repeated ? 'repeated ' : isOptional ? 'optional ' : '';
    const kind = field.map ? `map<${field.keyType}, ${typeName(field)}>` : typeName(field);
    const oneof = field.partOf === null || isOptional ? '' : ` in oneof ${field.partOf.name}`;
    return [field.name, `${label}${kind} = ${field.id}${oneof}`];
  });
  return { fields: Object.fromEntries(fields), ...reservedOf(type) };
}

function typeName(field) {
  return field.resolvedType === null ? field.type : field.resolvedType.fullName.slice(1);
}

/** Numbers as [first, last], names as they are. */
function reservedOf({ reserved }) {
  return reserved === undefined || reserved.length === 0 ? {} : { reserved: [...reserved] };
}

function describeService(service) {
  const side = (type, isStream) => `${isStream ? 'stream ' : ''}${type.fullName.slice(1)}`;
  const methods = service.methodsArray.map((method) => [
    method.name,
    `${side(method.resolvedRequestType, method.requestStream)} -> ${side(method.resolvedResponseType, method.responseStream)}`,
  ]);
  return { methods: Object.fromEntries(methods) };
}

/** What does not have the form, one sentence each. */
export function formProblems({ files, messages, enums, services }) {
  return [
    ...Object.entries(files).flatMap(([file, { package: name }]) => [
      ...unless(
        /^[a-z0-9_]+(\.[a-z0-9_]+)*\.v\d+$/.test(name),
        `${file}: package ${name} ends in no version`,
      ),
      ...unless(
        file.slice(0, file.lastIndexOf('/')) === name.replaceAll('.', '/'),
        `${file}: its folder is not its package ${name}`,
      ),
    ]),
    ...Object.entries(messages).flatMap(([name, { fields }]) => [
      ...unless(PASCAL.test(lastPart(name)), `${name}: messages are PascalCase`),
      ...Object.entries(fields).flatMap(([field, is]) => {
        const oneof = / in oneof (.*)$/.exec(is)?.[1];
        return [
          ...unless(SNAKE.test(field), `${name}.${field}: fields are lower_snake_case`),
          ...unless(
            oneof === undefined || SNAKE.test(oneof),
            `${name}.${oneof}: oneofs are lower_snake_case`,
          ),
        ];
      }),
    ]),
    ...Object.entries(enums).flatMap(([name, { values }]) => enumProblems(name, values)),
    ...serviceProblems(services),
  ];
}

function enumProblems(name, values) {
  const prefix = `${lastPart(name)
    .replace(/(?<=[a-z0-9])(?=[A-Z])/g, '_')
    .toUpperCase()}_`;
  const numbers = Object.values(values);
  return [
    ...unless(PASCAL.test(lastPart(name)), `${name}: enums are PascalCase`),
    ...unless(values[`${prefix}UNSPECIFIED`] === 0, `${name}: its value 0 is ${prefix}UNSPECIFIED`),
    ...unless(new Set(numbers).size === numbers.length, `${name}: two values have one number`),
    ...Object.keys(values).flatMap((value) =>
      unless(
        value.startsWith(prefix) && UPPER_SNAKE.test(value),
        `${name}.${value}: values are ${prefix}UPPER_SNAKE_CASE`,
      ),
    ),
  ];
}

function serviceProblems(services) {
  const users = new Map();
  const problems = [];
  for (const [service, { methods }] of Object.entries(services)) {
    problems.push(
      ...unless(
        /^[A-Z][A-Za-z0-9]*Service$/.test(lastPart(service)),
        `${service}: services are PascalCase and end in Service`,
      ),
    );
    for (const [method, is] of Object.entries(methods)) {
      const name = `${service}.${method}`;
      const [request, response] = is.replaceAll('stream ', '').split(' -> ');
      problems.push(...unless(PASCAL.test(method), `${name}: methods are PascalCase`));
      for (const [type, suffix] of [
        [request, 'Request'],
        [response, 'Response'],
      ]) {
        problems.push(
          ...unless(
            lastPart(type) === `${method}${suffix}`,
            `${name}: its messages are ${method}Request and ${method}Response, not ${type}`,
          ),
        );
        if (users.has(type)) problems.push(`${name}: ${type} is ${users.get(type)}'s already`);
        users.set(type, name);
      }
    }
  }
  return problems;
}

/** What is in `accepted` and means something else now, or is gone: it would break whoever was built against it. */
export function breakingChanges(accepted, now) {
  return [
    ...changesOf(accepted.messages, now.messages, (name, before, after) =>
      messageChanges(name, before, after),
    ),
    ...changesOf(accepted.enums, now.enums, (name, before, after) => enumChanges(name, before, after)),
    ...changesOf(accepted.services, now.services, (service, before, after) =>
      changesOf(
        before.methods,
        after.methods,
        (method, old, current) => unless(old === current, `${service}.${method}: was ${old}, is ${current}`),
        `${service}.`,
      ),
    ),
  ];
}

function messageChanges(name, before, after) {
  const changed = Object.entries(before.fields).flatMap(([field, old]) => {
    const current = after.fields[field];
    if (current !== undefined) return unless(old === current, `${name}.${field}: was ${old}, is ${current}`);
    const number = Number(/ = (\d+)/.exec(old)[1]);
    return unless(
      isReserved(after, number) && isReserved(after, field),
      `${name}.${field}: is gone; its number ${number} and its name must be reserved`,
    );
  });
  return [...changed, ...lostReservations(name, before, after)];
}

function enumChanges(name, before, after) {
  const changed = Object.entries(before.values).flatMap(([value, number]) => {
    if (after.values[value] !== undefined)
      return unless(
        after.values[value] === number,
        `${name}.${value}: was ${number}, is ${after.values[value]}`,
      );
    return unless(
      isReserved(after, number) && isReserved(after, value),
      `${name}.${value}: is gone; its number ${number} and its name must be reserved`,
    );
  });
  return [...changed, ...lostReservations(name, before, after)];
}

function lostReservations(name, before, after) {
  return (before.reserved ?? []).flatMap((each) => {
    const numbers = Array.isArray(each) ? each : [each];
    return unless(
      numbers.every((number) => isReserved(after, number)),
      `${name}: ${Array.isArray(each) ? each.join(' to ') : each} was reserved and is not any more`,
    );
  });
}

function isReserved({ reserved = [] }, wanted) {
  return reserved.some((each) =>
    Array.isArray(each)
      ? typeof wanted === 'number' && each[0] <= wanted && wanted <= each[1]
      : each === wanted,
  );
}

function changesOf(before, after, compare, scope = '') {
  return Object.entries(before).flatMap(([name, old]) =>
    after[name] === undefined ? [`${scope}${name}: is gone`] : compare(name, old, after[name]),
  );
}

function lastPart(name) {
  return name.slice(name.lastIndexOf('.') + 1);
}

function unless(holds, problem) {
  return holds ? [] : [problem];
}
