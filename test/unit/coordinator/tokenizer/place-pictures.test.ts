// Pictures in a client's token ids: one picture token each, or all of them; everything else is refused by name.
import assert from 'node:assert/strict';

import { knownPictureTokenId } from '../../../../coordinator/checkpoint/known-models.js';
import { placePictures } from '../../../../coordinator/tokenizer/place-pictures.js';

const PICTURE = 9;
const PLACES = { pictureTokenId: PICTURE, tokensPerTile: 2 };

function place(ids: readonly number[], numTiles: readonly number[], places = PLACES) {
  const { tokenIds, pictures } = placePictures(Uint32Array.from(ids), numTiles, places);
  return { ids: [...tokenIds], pictures };
}

describe('pictures in token ids', () => {
  it('stand where the picture token is, with all their tokens', () => {
    assert.deepEqual(place([1, PICTURE, 2, PICTURE], [2, 1]), {
      ids: [1, PICTURE, PICTURE, PICTURE, PICTURE, 2, PICTURE, PICTURE],
      pictures: [
        { firstPosition: 1, numTokens: 4 },
        { firstPosition: 6, numTokens: 2 },
      ],
    });
  });

  it('may come with all their tokens', () => {
    const ids = [PICTURE, PICTURE, 3, PICTURE];
    assert.deepEqual(place(ids, [1, 1]), {
      ids: [PICTURE, PICTURE, 3, PICTURE, PICTURE],
      pictures: [
        { firstPosition: 0, numTokens: 2 },
        { firstPosition: 3, numTokens: 2 },
      ],
    });
  });

  it('that are none leave the ids as they are', () => {
    assert.deepEqual(place([1, PICTURE, PICTURE, PICTURE], []), {
      ids: [1, PICTURE, PICTURE, PICTURE],
      pictures: [],
    });
  });

  const refusals: [string, () => unknown, RegExp][] = [
    ['no place', () => place([1, 2], [1]), /0 runs of the picture token 9 for 1 pictures/],
    ['a place too many', () => place([PICTURE, 1, PICTURE], [1]), /2 runs .* for 1 pictures/],
    [
      'some of the tokens',
      () => place([PICTURE, PICTURE, 1], [2]),
      /2 picture tokens for picture 0, .* has 4/,
    ],
    [
      'a text model',
      () => placePictures(Uint32Array.of(1), [1], { pictureTokenId: null, tokensPerTile: null }),
      /takes text only/,
    ],
  ];
  for (const [what, call, message] of refusals) {
    it(`are refused with ${what}`, () => {
      assert.throws(call, { code: 'INVALID_REQUEST', message });
    });
  }

  it('have a token in every known model with a vision tower', () => {
    assert.equal(knownPictureTokenId('skywork-r1v3-38b-awq'), 151667);
    assert.equal(knownPictureTokenId('skywork-r1v2-38b'), 151671);
    assert.equal(knownPictureTokenId('qwen2.5-7b'), null);
    assert.equal(knownPictureTokenId('another'), null);
  });
});
