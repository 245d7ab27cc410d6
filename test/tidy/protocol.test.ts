// The protocol files keep their rules, and what was accepted still means the same; the rules can fail.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { repoPath } from '../support/paths.js';
import { loadScript } from '../support/scripts.js';

interface Rules {
  describeProtocol: (files: Record<string, string>) => object;
  formProblems: (protocol: object) => string[];
  breakingChanges: (accepted: object, now: object) => string[];
}

const FILE = 'skein/test/v1/test.proto';
const GOOD = `syntax = "proto3"; package skein.test.v1;
service TestService { rpc Ask(AskRequest) returns (stream AskResponse); }
enum EndReason { END_REASON_UNSPECIFIED = 0; END_REASON_STOP = 1; }
message AskRequest {
  reserved 4, 8 to 9; reserved "old_name";
  string prompt_text = 1; optional float top_p = 2; repeated uint32 ids = 3;
  oneof source { bytes data = 5; string url = 6; } map<string, uint32> counts = 7;
}
message AskResponse { EndReason end_reason = 1; }`;

describe('the protocol', () => {
  let rules: Rules;

  before(async () => {
    rules = await loadScript<Rules>('proto-rules.mjs');
  });

  it('keeps its rules and what was accepted', () => {
    const { status, stderr } = spawnSync(process.execPath, [repoPath('scripts/check-proto.mjs')], {
      encoding: 'utf8',
    });
    assert.equal(stderr, '');
    assert.equal(status, 0);
  });

  const changed = (from: string, to: string): object => {
    assert.ok(GOOD.includes(from), from);
    return rules.describeProtocol({ [FILE]: GOOD.replace(from, to) });
  };

  it('of good form has no problems', () => {
    assert.deepEqual(rules.formProblems(rules.describeProtocol({ [FILE]: GOOD })), []);
  });

  const badForms: readonly (readonly [string, string, RegExp])[] = [
    ['package skein.test.v1', 'package skein.test', /ends in no version/],
    ['package skein.test.v1', 'package skein.other.v1', /folder is not its package/],
    ['TestService', 'Tester', /end in Service/],
    ['rpc Ask(', 'rpc ask(', /methods are PascalCase/],
    ['returns (stream AskResponse)', 'returns (stream AskRequest)', /not skein\.test\.v1\.AskRequest/],
    ['prompt_text', 'promptText', /fields are lower_snake_case/],
    ['oneof source', 'oneof Source', /oneofs are lower_snake_case/],
    ['END_REASON_UNSPECIFIED', 'END_REASON_NONE', /value 0 is END_REASON_UNSPECIFIED/],
    ['END_REASON_STOP', 'STOP', /values are END_REASON_UPPER_SNAKE_CASE/],
  ];
  for (const [from, to, problem] of badForms) {
    it(`is refused with ${to}`, () => {
      assert.match(rules.formProblems(changed(from, to)).join('\n'), problem);
    });
  }

  it('may grow', () => {
    const accepted = rules.describeProtocol({ [FILE]: GOOD });
    const grown = GOOD.replace('map<', 'bool more = 10; map<')
      .replace('END_REASON_STOP = 1;', 'END_REASON_STOP = 1; END_REASON_LENGTH = 2;')
      .replace('service TestService {', 'service TestService { rpc Tell(TellRequest) returns (TellResponse);')
      .concat('message TellRequest {} message TellResponse {}');
    assert.deepEqual(rules.breakingChanges(accepted, rules.describeProtocol({ [FILE]: grown })), []);
  });

  it('may lose a field that leaves its number and name reserved', () => {
    const accepted = rules.describeProtocol({ [FILE]: GOOD });
    const gone = changed('string prompt_text = 1;', 'reserved 1; reserved "prompt_text";');
    assert.deepEqual(rules.breakingChanges(accepted, gone), []);
  });

  const breaking: readonly (readonly [string, string, RegExp])[] = [
    ['prompt_text = 1', 'prompt_text = 11', /prompt_text: was string = 1, is string = 11/],
    ['string prompt_text', 'bytes prompt_text', /was string = 1, is bytes = 1/],
    ['optional float', 'float', /was optional float = 2, is float = 2/],
    ['repeated uint32', 'uint32', /was repeated uint32 = 3/],
    [
      'oneof source { bytes data = 5;',
      'bytes data = 5; oneof source {',
      /data: was bytes = 5 in oneof source/,
    ],
    ['map<string, uint32>', 'map<string, uint64>', /was map<string, uint32> = 7/],
    ['string prompt_text = 1;', '', /prompt_text: is gone; its number 1 and its name/],
    ['string prompt_text = 1;', 'reserved 1;', /prompt_text: is gone/],
    ['reserved 4, 8 to 9;', 'reserved 8 to 9;', /4 to 4 was reserved/],
    ['reserved "old_name";', '', /old_name was reserved/],
    ['END_REASON_STOP = 1', 'END_REASON_STOP = 2', /END_REASON_STOP: was 1, is 2/],
    ['END_REASON_STOP = 1;', '', /END_REASON_STOP: is gone/],
    ['(stream AskResponse)', '(AskResponse)', /TestService\.Ask: was .* is .*/],
    ['rpc Ask(AskRequest) returns (stream AskResponse);', '', /TestService\.Ask: is gone/],
    ['message AskResponse { EndReason end_reason = 1; }', 'message AskResponse {}', /end_reason: is gone/],
  ];
  for (const [from, to, problem] of breaking) {
    it(`breaks with ${to === '' ? `no ${from}` : to}`, () => {
      const accepted = rules.describeProtocol({ [FILE]: GOOD });
      assert.match(rules.breakingChanges(accepted, changed(from, to)).join('\n'), problem);
    });
  }
});
