// Original file: proto/skein/inference/v1/inference.proto


export interface TokenLogprob {
  'id'?: (number);
  'logprob'?: (number | string);
}

export interface TokenLogprob__Output {
  'id': (number);
  'logprob': (number);
}
