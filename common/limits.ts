// Every limit in one place: nothing in Skein is unbounded. Units are in the names.

export const PROTOCOL_VERSION = 2;

/** Largest gRPC message between processes; pixels and plans stay below it by chunking. */
export const MAX_GRPC_MESSAGE_BYTES = 16 * 1024 * 1024;
/** What the admissions of one plan may take of its message: those beyond it go into the next plan. */
export const MAX_PLAN_BYTES = 4 * 1024 * 1024;
/** A request with pictures from a client. */
export const MAX_CLIENT_MESSAGE_BYTES = 64 * 1024 * 1024;
/**
 * What a slow reader has not taken goes out in messages of about this size: clients accept 4 MiB unless they say
 * otherwise.
 */
export const MAX_DELTA_BYTES = 1024 * 1024;
export const PIXEL_CHUNK_BYTES = 1024 * 1024;

export const MAX_PICTURE_BYTES = 32 * 1024 * 1024;
/** Width times height, checked in the header, before decoding. */
export const MAX_PICTURE_PIXELS = 64 * 1024 * 1024;
export const MAX_PICTURE_SIDE = 32_768;
export const MAX_PICTURES_PER_REQUEST = 20;
/** A progressive JPEG needs about ten; each costs a pass over all coefficients. */
export const MAX_JPEG_SCANS = 100;
/** Decoding and tiling of one picture; longer means a picture made to be slow. */
export const PICTURE_TIMEOUT_MS = 30_000;
/** Prompts and pictures that wait for a thread. Their bytes are bounded where they arrive. */
export const MAX_QUEUED_TASKS = 4096;
/** Encoding of one prompt or picture; beyond the decoder's own limit, for what that does not cover. */
export const ENCODE_TIMEOUT_MS = PICTURE_TIMEOUT_MS + 5_000;
/** Chats up to this are encoded where they arrive: the way to a thread and back takes longer. */
export const INLINE_PROMPT_CHARS = 2048;
/** Requests in the server, pictures as they came; --request-memory. */
export const DEFAULT_REQUEST_MEMORY_BYTES = 512 * 1024 * 1024;
/** Decoded pictures on their way to the ranks; --picture-memory. */
export const DEFAULT_PICTURE_MEMORY_BYTES = 512 * 1024 * 1024;

/** What fields of these types hold. */
export const MAX_UINT32 = 0xffff_ffff;
export const MAX_UINT64 = 0xffff_ffff_ffff_ffffn;

export const MAX_TEMPERATURE = 100;
export const MAX_REPETITION_PENALTY = 100;
/** Of presence_penalty and frequency_penalty, on either side of 0. */
export const MAX_PENALTY = 2;
/** On either side of 0. */
export const MAX_LOGIT_BIAS = 100;
export const MAX_TOP_LOGPROBS = 20;
export const MAX_STOP_STRINGS = 16;
export const MAX_STOP_STRING_CHARS = 256;
export const MAX_LOGIT_BIAS_ENTRIES = 1024;
export const MAX_STOP_TOKEN_IDS = 128;
export const MAX_PROMPT_CHARS = 4 * 1024 * 1024;
export const MAX_MESSAGES = 1024;
/** tokenizer.json of the largest vocabularies has about 20 MiB. */
export const MAX_TOKENIZER_FILE_BYTES = 64 * 1024 * 1024;
export const MAX_CHAT_TEMPLATE_CHARS = 256 * 1024;
export const CHAT_TEMPLATE_TIMEOUT_MS = 2_000;

/** Log lines that wait for whoever reads stderr; more are dropped. */
export const MAX_BUFFERED_STDERR_BYTES = 1024 * 1024;

/** Safetensors headers beyond this are refused before they are read. */
export const MAX_SAFETENSORS_HEADER_BYTES = 100 * 1024 * 1024;

export const MAX_IDEMPOTENCY_KEY_CHARS = 256;
/** Finished answers that a repeated call can still join: as many, and as many bytes. */
export const MAX_KEPT_ANSWERS = 1024;
export const MAX_KEPT_ANSWER_BYTES = 64 * 1024 * 1024;
/** How long they are kept; --idempotency-window. */
export const DEFAULT_IDEMPOTENCY_WINDOW_MS = 600_000;
/** How long a request with a key goes on when nobody reads it any more; --reconnect-grace. */
export const DEFAULT_RECONNECT_GRACE_MS = 5_000;

/** How deep the engine's queue of plans is. */
export const MAX_PLANS_IN_FLIGHT = 2;

export const MAX_WORLD_SIZE = 64;

/** Sequences that run at once, and tokens computed in one step; native/model/plan_limits.cc has the same. */
export const MAX_NUM_SEQUENCES = 4096;
export const MAX_STEP_TOKENS = 65_536;
/** How often each end of a step stream shows that it is there, where nothing else travels. */
export const SIGN_OF_LIFE_INTERVAL_MS = 1_000;
/** A worker that says nothing for so long is lost: its epoch ends, or its lease; --worker-silence. */
export const WORKER_SILENCE_MS = 10_000;
/**
 * A coordinator may stand still for longer before its workers give it up: with it, everything would end;
 * --coordinator-silence.
 */
export const COORDINATOR_SILENCE_MS = 30_000;
/** Of both settings: some signs of life must fit in. */
export const MIN_SILENCE_MS = 3 * SIGN_OF_LIFE_INTERVAL_MS;
export const MAX_SILENCE_MS = 3_600_000;
