// Who is next in a line that clients share: priorities, turns by what was asked for, no credit for what was not.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { FairLine } from '../../../../coordinator/encoding/fair-line.js';

function taken(line: FairLine<string>): string[] {
  const items: string[] = [];
  for (let item = line.take(); item !== undefined; item = line.take()) items.push(item);
  return items;
}

describe('a fair line', () => {
  it('takes the best priority first, and of one client what came first', () => {
    const line = new FairLine<string>();
    for (const [item, priority] of [
      ['late', 1],
      ['first', 0],
      ['best', -1],
      ['second', 0],
    ] as const)
      line.add(item, { client: 'a', priority }, 1);
    assert.equal(line.first, 'best');
    assert.deepEqual(taken(line), ['best', 'first', 'second', 'late']);
  });

  it('takes as much of each client, whatever their items cost', () => {
    const line = new FairLine<string>();
    for (let index = 0; index < 20; index += 1) line.add('large', { client: 'a', priority: 0 }, 10);
    for (let index = 0; index < 200; index += 1) line.add('small', { client: 'b', priority: 0 }, 1);
    const first = Array.from({ length: 110 }, () => line.take());
    const numLarge = first.filter((item) => item === 'large').length;
    assert.ok(numLarge >= 9 && numLarge <= 11, `${numLarge} of 110 are large`);
  });

  it('gives no credit for what a client did not ask for while others did', () => {
    const line = new FairLine<string>();
    for (let index = 0; index < 100; index += 1) line.add('a', { client: 'a', priority: 0 }, 1);
    for (let index = 0; index < 50; index += 1) line.take();
    for (let index = 0; index < 50; index += 1) line.add('b', { client: 'b', priority: 0 }, 1);
    const numB = Array.from({ length: 40 }, () => line.take()).filter((item) => item === 'b').length;
    assert.ok(numB >= 19 && numB <= 21, `${numB} of 40 are of the client that came`);
  });

  it('remembers no more than some clients that have left, though each came but once', () => {
    const line = new FairLine<number>();
    line.add(-1, { client: 'waits', priority: 1 }, 7);
    line.add(-2, { client: 'waits', priority: 1 }, 7);
    for (let index = 0; index < 10_000; index += 1) {
      line.add(index, { client: `client-${index}`, priority: 0 }, 5);
      assert.equal(line.take(), index);
      assert.ok(line.numClients <= 1024, `${line.numClients} are remembered`);
    }
    // Who waits is remembered: two of its own come after one of another's.
    line.add(-3, { client: 'waits', priority: 1 }, 7);
    line.add(-4, { client: 'another', priority: 1 }, 7);
    assert.deepEqual(
      Array.from({ length: 4 }, () => line.take()),
      [-1, -4, -2, -3],
    );
  });

  it('differs between clients that always wait by one item of each at most', () => {
    const costs = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(fc.array(costs, { minLength: 2, maxLength: 4 }), (clients) => {
        const line = new FairLine<{ readonly client: number; readonly cost: number }>();
        const add = (client: number, cost: number): void =>
          line.add({ client, cost }, { client: String(client), priority: 0 }, cost);
        clients.forEach((all, client) => all.forEach((cost) => add(client, cost)));
        const served = clients.map(() => 0);
        const left = clients.map((all) => all.length);
        for (;;) {
          const { client, cost } = line.take()!;
          served[client]! += cost;
          left[client]! -= 1;
          // Theorem 1 of the paper holds while all of them wait.
          if (left.some((count) => count === 0)) return;
          assert.ok(Math.max(...served) - Math.min(...served) <= 100, served.join());
        }
      }),
    );
  });

  it('forgets clients whose turn has passed, and who has left', () => {
    const line = new FairLine<string>();
    for (let index = 0; index < 5_000; index += 1) {
      line.add(`${index}`, { client: `c${index}`, priority: 0 }, 1);
      line.add('gone', { client: `d${index}`, priority: 0 }, 1);
      assert.ok(line.remove('gone'));
      assert.equal(line.take(), `${index}`);
    }
    assert.equal(line.remove('gone'), false);
    assert.deepEqual([line.length, line.first], [0, undefined]);
  });
});
