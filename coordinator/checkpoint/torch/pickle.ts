// A pickle interpreter for state dicts and nothing else: it builds plain data, knows a closed list of globals, and
// cannot call anything. Opcodes and globals outside the list are refused by name. No recursion, and every count has a
// limit.
import { AppError } from '../../../common/errors.js';
import { MAX_PICKLE_MEMO, MAX_PICKLE_OPCODES, MAX_PICKLE_STACK } from '../../../common/limits.js';
import { ByteReader } from './byte-reader.js';
import { MARK, PickleDict, PickleGlobal, type PickleValue, type TorchStorage } from './pickle-values.js';
import { applyGlobal, resolveGlobal } from './torch-globals.js';

/** https://docs.python.org/3/library/pickletools.html; the values are those of the pickle format. */
const OP = {
  Mark: 0x28,
  EmptyTuple: 0x29,
  Stop: 0x2e,
  BinFloat: 0x47,
  BinInt: 0x4a,
  BinInt1: 0x4b,
  BinInt2: 0x4d,
  None: 0x4e,
  BinPersId: 0x51,
  Reduce: 0x52,
  BinUnicode: 0x58,
  EmptyList: 0x5d,
  Append: 0x61,
  Build: 0x62,
  Global: 0x63,
  Appends: 0x65,
  BinGet: 0x68,
  LongBinGet: 0x6a,
  BinPut: 0x71,
  LongBinPut: 0x72,
  SetItem: 0x73,
  Tuple: 0x74,
  SetItems: 0x75,
  EmptyDict: 0x7d,
  Proto: 0x80,
  Tuple1: 0x85,
  Tuple2: 0x86,
  Tuple3: 0x87,
  NewTrue: 0x88,
  NewFalse: 0x89,
  Long1: 0x8a,
  ShortBinUnicode: 0x8c,
  StackGlobal: 0x93,
  Memoize: 0x94,
  Frame: 0x95,
} as const;

/** The value that the pickle ends with. `where` names the file in errors. */
export function readPickle(bytes: Buffer, where: string): PickleValue {
  return new PickleMachine(bytes, where).run();
}

class PickleMachine {
  readonly #reader: ByteReader;
  readonly #stack: PickleValue[] = [];
  readonly #memo = new Map<number, PickleValue>();
  readonly #where: string;

  constructor(bytes: Buffer, where: string) {
    this.#where = where;
    this.#reader = new ByteReader(bytes, where);
  }

  run(): PickleValue {
    for (let count = 0; count < MAX_PICKLE_OPCODES; count++) {
      const opcode = this.#reader.uint8();
      if (opcode === OP.Stop) {
        const value = this.#pop();
        if (this.#stack.length > 0) throw this.#corrupt(`ends with ${this.#stack.length} values left over`);
        return value;
      }
      if (!(this.#runScalar(opcode) || this.#runContainer(opcode) || this.#runMemo(opcode)))
        throw this.#refuseOpcode(opcode);
      if (this.#stack.length > MAX_PICKLE_STACK)
        throw this.#corrupt(`needs a stack of more than ${MAX_PICKLE_STACK} values`);
    }
    throw this.#corrupt(`has more than ${MAX_PICKLE_OPCODES} opcodes`);
  }

  #runScalar(opcode: number): boolean {
    const reader = this.#reader;
    switch (opcode) {
      case OP.Proto: {
        const protocol = reader.uint8();
        if (protocol < 2 || protocol > 5)
          throw this.#corrupt(`uses pickle protocol ${protocol}, expected 2 to 5`);
        return true;
      }
      case OP.Frame:
        reader.uint64();
        return true;
      case OP.None:
        return this.#push(null);
      case OP.NewTrue:
        return this.#push(true);
      case OP.NewFalse:
        return this.#push(false);
      case OP.BinInt:
        return this.#push(reader.int32());
      case OP.BinInt1:
        return this.#push(reader.uint8());
      case OP.BinInt2:
        return this.#push(reader.uint16());
      case OP.Long1:
        return this.#push(reader.signedInteger(reader.uint8()));
      case OP.BinFloat:
        return this.#push(reader.float64BigEndian());
      case OP.BinUnicode:
        return this.#push(reader.utf8(reader.uint32()));
      case OP.ShortBinUnicode:
        return this.#push(reader.utf8(reader.uint8()));
      case OP.Global:
        return this.#push(this.#global(reader.line(), reader.line()));
      default:
        return false;
    }
  }

  #runContainer(opcode: number): boolean {
    switch (opcode) {
      case OP.Mark:
        return this.#push(MARK);
      case OP.EmptyDict:
        return this.#push(new PickleDict());
      case OP.EmptyList:
      case OP.EmptyTuple:
        return this.#push([]);
      case OP.Tuple:
        return this.#push(this.#popToMark());
      case OP.Tuple1:
        return this.#push([this.#pop()]);
      case OP.Tuple2:
        return this.#push(this.#popMany(2));
      case OP.Tuple3:
        return this.#push(this.#popMany(3));
      case OP.Append:
        return this.#appendItems([this.#pop()]);
      case OP.Appends:
        return this.#appendItems(this.#popToMark());
      case OP.SetItem:
        return this.#setItems(this.#popMany(2));
      case OP.SetItems:
        return this.#setItems(this.#popToMark());
      default:
        return this.#runObject(opcode);
    }
  }

  #runObject(opcode: number): boolean {
    switch (opcode) {
      case OP.StackGlobal: {
        const [module, name] = this.#popMany(2);
        if (typeof module !== 'string' || typeof name !== 'string')
          throw this.#corrupt('names a global with something other than strings');
        return this.#push(this.#global(module, name));
      }
      case OP.Reduce: {
        const [callee, args] = this.#popMany(2);
        if (!(callee instanceof PickleGlobal) || !Array.isArray(args))
          throw this.#corrupt('applies something that is not a known global');
        return this.#push(applyGlobal(callee, args, this.#where));
      }
      case OP.Build:
        return this.#build();
      case OP.BinPersId:
        return this.#push(this.#storage(this.#pop()));
      default:
        return false;
    }
  }

  #runMemo(opcode: number): boolean {
    const reader = this.#reader;
    switch (opcode) {
      case OP.BinPut:
        return this.#remember(reader.uint8());
      case OP.LongBinPut:
        return this.#remember(reader.uint32());
      case OP.Memoize:
        return this.#remember(this.#memo.size);
      case OP.BinGet:
        return this.#recall(reader.uint8());
      case OP.LongBinGet:
        return this.#recall(reader.uint32());
      default:
        return false;
    }
  }

  #global(module: string, name: string): PickleGlobal {
    const known = resolveGlobal(module, name);
    if (known !== null) return known;
    throw new AppError(
      'CORRUPT_WEIGHTS',
      `${this.#where}: the pickle asks for ${printable(module)}.${printable(name)}, which a state dict does not need; refused, nothing was run`,
    );
  }

  /** ('storage', type, key, location, number of elements), as torch writes it. */
  #storage(id: PickleValue): TorchStorage {
    if (!Array.isArray(id) || id.length !== 5)
      throw this.#corrupt('has a persistent id that is not a storage of five parts');
    const [tag, type, key, , numElements] = id;
    const isValid =
      tag === 'storage' && type instanceof PickleGlobal && type.storage !== null && typeof key === 'string';
    if (
      !isValid ||
      typeof numElements !== 'number' ||
      !Number.isSafeInteger(numElements) ||
      numElements < 0
    ) {
      throw this.#corrupt('has a persistent id that is not a storage (type, key and number of elements)');
    }
    if (!/^\w{1,64}$/.test(key))
      throw this.#corrupt(`has a storage with the key ${printable(key)}, expected a number`);
    return { kind: 'storage', dtype: type.storage === 'untyped' ? null : type.storage, key, numElements };
  }

  /** Only attributes of dictionaries (_metadata of a state dict) are set so; they are not needed. */
  #build(): boolean {
    this.#pop();
    const target = this.#stack.at(-1);
    if (!(target instanceof PickleDict))
      throw this.#corrupt('sets the state of something other than a dictionary');
    return true;
  }

  #appendItems(items: PickleValue[]): boolean {
    const list = this.#stack.at(-1);
    if (!Array.isArray(list)) throw this.#corrupt('appends to something other than a list');
    for (const item of items) list.push(item);
    return true;
  }

  #setItems(items: PickleValue[]): boolean {
    const dict = this.#stack.at(-1);
    if (!(dict instanceof PickleDict) || items.length % 2 !== 0)
      throw this.#corrupt('sets items of something other than a dictionary');
    for (let index = 0; index < items.length; index += 2) {
      const key = items[index];
      if (typeof key !== 'string' && typeof key !== 'number')
        throw this.#corrupt('has a dictionary key that is neither a string nor a number');
      dict.entries.set(key, items[index + 1] ?? null);
    }
    return true;
  }

  #remember(index: number): boolean {
    const value = this.#stack.at(-1);
    if (value === undefined) throw this.#corrupt('remembers a value that is not there');
    this.#memo.set(index, value);
    if (this.#memo.size > MAX_PICKLE_MEMO)
      throw this.#corrupt(`remembers more than ${MAX_PICKLE_MEMO} values`);
    return true;
  }

  #recall(index: number): boolean {
    const value = this.#memo.get(index);
    if (value === undefined) throw this.#corrupt(`recalls value ${index}, which it never remembered`);
    return this.#push(value);
  }

  #push(value: PickleValue): true {
    this.#stack.push(value);
    return true;
  }

  #pop(): PickleValue {
    const value = this.#stack.pop();
    if (value === undefined || value === MARK) throw this.#corrupt('takes a value that is not there');
    return value;
  }

  /** In the order in which they were pushed. */
  #popMany(count: number): PickleValue[] {
    const values: PickleValue[] = [];
    for (let index = 0; index < count; index++) values.unshift(this.#pop());
    return values;
  }

  #popToMark(): PickleValue[] {
    const start = this.#stack.lastIndexOf(MARK);
    if (start < 0) throw this.#corrupt('closes a group that it never opened');
    const items = this.#stack.splice(start);
    items.shift();
    return items;
  }

  #refuseOpcode(opcode: number): AppError {
    return this.#corrupt(
      `has opcode 0x${opcode.toString(16).padStart(2, '0')} at byte ${this.#reader.position - 1}, which a state dict does not need`,
    );
  }

  #corrupt(what: string): AppError {
    return new AppError('CORRUPT_WEIGHTS', `${this.#where}: the pickle ${what}`);
  }
}

/** Names come from the file: kept short and on one line. */
function printable(text: string): string {
  return JSON.stringify(text.slice(0, 100)).slice(1, -1);
}
