// Every limit in one place: nothing in Skein is unbounded. Units are in the names. What a user or a peer can meet is
// here: what is refused, cut, or waited for at most, and the defaults that follow from it. Numbers that only tune
// (windows, caches, how often something is looked at), that follow from a file format or from how something is packed,
// and the bounds of a single flag (docs/settings.md) stay where they are used.

export const PROTOCOL_VERSION = 4;

// ---- Messages between processes ----

/** Largest gRPC message between processes; pixels and plans stay below it by chunking. */
export const MAX_GRPC_MESSAGE_BYTES = 16 * 1024 * 1024;
/** What the admissions of one plan may take of its message: those beyond it go into the next plan. */
export const MAX_PLAN_BYTES = 4 * 1024 * 1024;
/** What the masks of one plan may take; sequences beyond it are sampled by the next one. */
export const MAX_PLAN_MASK_BYTES = 8 * 1024 * 1024;

// ---- Grammars ----

/** Of a JSON schema, as JSON. */
export const MAX_SCHEMA_CHARS = 128 * 1024;
/** How deep schemas may stand in one another, along references too. */
export const MAX_SCHEMA_DEPTH = 64;
/** What takes longer is refused: until then, those that the same thread serves wait. */
export const GRAMMAR_COMPILE_TIMEOUT_MS = 10_000;
/** A grammar thread has then read the tokenizer. */
export const GRAMMAR_START_TIMEOUT_MS = 60_000;
/** Threads that compile grammars and make masks; each holds the vocabulary once more. */
export const MAX_GRAMMAR_THREADS = 4;
/** Parts of a grammar, with what is repeated counted as often as it may be. */
export const MAX_GRAMMAR_PARTS = 20_000;
/** Characters of a string that a grammar counts itself; what is longer is counted beside it, at no cost a character. */
export const MAX_LENGTH_IN_GRAMMAR = 16;
/** What a grammar must count itself, from minLength to maxLength: a character takes 50 to 70 ms to compile. */
export const MAX_LENGTH_RANGE_IN_GRAMMAR = 128;
/** Places in answers that are told apart to count strings; where there are more, the grammar holds all bounds. */
export const MAX_BOUNDED_PLACES = 2000;
/** Of a part of a schema's pattern. */
export const MAX_PATTERN_REPEATS = 1000;
export const MAX_TOOLS = 128;
/** Of all tools of a request, as JSON. */
export const MAX_TOOLS_CHARS = 256 * 1024;
export const MAX_TOOL_NAME_CHARS = 64;
export const MAX_TOOL_DESCRIPTION_CHARS = 16 * 1024;
/** Compiled grammars that a thread keeps while nobody uses them. */
export const MAX_KEPT_GRAMMARS = 64;

// ---- Requests, pictures and encoding ----

/** A request with pictures from a client. */
export const MAX_CLIENT_MESSAGE_BYTES = 64 * 1024 * 1024;
/** Connections of HTTP clients at once; more are closed as they come. */
export const MAX_HTTP_CONNECTIONS = 4096;
/** A request over HTTP, its body included, must have arrived by then, and a large message over gRPC. */
export const RECEIVE_TIMEOUT_MS = 300_000;
/** Of a data URL, before its comma: the type and its parameters. */
export const MAX_DATA_URL_HEADER_CHARS = 256;
export const MAX_MEDIA_URL_CHARS = 8192;
export const MAX_MEDIA_REDIRECTS = 5;
/** Of fetching one picture from a URL, redirects included. */
export const MEDIA_TIMEOUT_MS = 10_000;
/** Pictures that are fetched at once; more wait, within their time. */
export const MAX_MEDIA_FETCHES = 64;
/** Answers to one call over HTTP, over all its prompts. */
export const MAX_CHOICES = 128;
/**
 * What a slow reader has not taken goes out in messages of about this size: clients accept 4 MiB unless they say
 * otherwise.
 */
export const MAX_DELTA_BYTES = 1024 * 1024;
/**
 * What waits for the reader of a stream, beyond what its connection has taken: with more, its request is paused until
 * less than half is left. A token of plain text counts for some 17 bytes, with 20 alternatives for 500.
 */
export const MAX_UNREAD_BYTES = 64 * 1024;
export const PIXEL_CHUNK_BYTES = 1024 * 1024;
/** Of the pixels that lie in memory for ranks of the same host to read; those beyond it travel as messages. */
export const MAX_PIXEL_FILE_BYTES = 32 * 1024 * 1024;
/** Of the memory that a worker keeps for the pixels of the pictures that come next. */
export const MAX_SPARE_PIXEL_BYTES = 16 * 1024 * 1024;

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
/** Encoded pictures that are known again when they come again: their hashes, some hundred bytes each. */
export const MAX_KNOWN_PICTURES = 4096;

// ---- Sampling fields (their ranges: sampling.ts) ----

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

// ---- Prompts, tokenizers, logs, weights ----

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

// ---- Repeated calls ----

export const MAX_IDEMPOTENCY_KEY_CHARS = 256;
/** Finished answers that a repeated call can still join: as many, and as many bytes. */
export const MAX_KEPT_ANSWERS = 1024;
export const MAX_KEPT_ANSWER_BYTES = 64 * 1024 * 1024;
/** How long they are kept; --idempotency-window. */
export const DEFAULT_IDEMPOTENCY_WINDOW_MS = 600_000;
/** How long a request with a key goes on when nobody reads it any more; --reconnect-grace. */
export const DEFAULT_RECONNECT_GRACE_MS = 5_000;

/** What GET /cluster tells of the past: of steps, and of states, epochs and recoveries. */
export const MAX_HISTORY_SECONDS = 300;
export const MAX_HISTORY_EVENTS = 100;

// ---- Steps, ranks and signs of life ----

/** How many plans may be in flight: the engine's queue is so deep (native/addon/engine_thread.h). */
export const MAX_PLANS_IN_FLIGHT = 8;
/** Of these, those that are where ranks never wait for one. */
export const MIN_PLANS_IN_FLIGHT = 2;
/** What plans in flight beyond those may take to compute. */
export const MAX_WORK_AHEAD_MS = 40;

export const MAX_WORLD_SIZE = 64;

/** Sequences that run at once, and tokens computed in one step; native/model/plan_limits.cc has the same. */
export const MAX_NUM_SEQUENCES = 4096;
export const MAX_STEP_TOKENS = 65_536;
/** How often each end of a step stream shows that it is there, where nothing else travels. */
export const SIGN_OF_LIFE_INTERVAL_MS = 1_000;
/** A rank that says nothing, or does nothing, for so long hangs: its epoch ends; --hang-timeout. */
export const DEFAULT_HANG_TIMEOUT_MS = 3_000;
/** A device takes no processor time while it computes: its longest kernel is given so many times as long. */
export const DEVICE_HANG_FACTOR = 10;
/** Who starts, reads and packs weights speaks when it gets to it: it is given so many times as long. */
export const FORMING_HANG_FACTOR = 3;
/** A step that takes longer ends its epoch; --step-timeout. */
export const DEFAULT_STEP_TIMEOUT_MS = 300_000;
/** Where first tokens are waited for longer, --max-decode-slowdown grows in proportion; --prefill-patience. */
export const DEFAULT_PREFILL_PATIENCE_MS = 250;
/** A worker that registered and says nothing for so long is lost; --worker-silence. */
export const WORKER_SILENCE_MS = 10_000;
/**
 * A coordinator may stand still for longer before its workers give it up: with it, everything would end;
 * --coordinator-silence.
 */
export const COORDINATOR_SILENCE_MS = 30_000;
/** Of both settings: some signs of life must fit in. */
export const MIN_SILENCE_MS = 3 * SIGN_OF_LIFE_INTERVAL_MS;
export const MAX_SILENCE_MS = 3_600_000;
/** An owner that lives is heard every SIGN_OF_LIFE_INTERVAL_MS, give or take; after so long another is told to wait. */
export const SUSPICIOUS_SILENCE_MS = 3 * SIGN_OF_LIFE_INTERVAL_MS;

// ---- Processes and their connections ----

/** --settings. */
export const MAX_SETTINGS_FILE_BYTES = 1024 * 1024;
/** Smaller messages are not counted: calls that are short, health checks among them, get through however full it is. */
export const SMALL_MESSAGE_BYTES = 64 * 1024;
/** Trailers share a header budget of 8 KiB with most proxies; messages and details are cut to fit. */
export const MAX_ERROR_MESSAGE_CHARS = 2048;
export const MAX_ERROR_DETAILS_BYTES = 2048;
export const MAX_STATUS_DETAILS_BYTES = 2048;
/** A client that takes nothing of its answer for so long, and stays connected, is cut off. */
export const STALLED_READER_MS = 120_000;
/** Calls at once on one connection: of a client, of a coordinator to a worker, of a worker to its coordinator. */
export const MAX_CLIENT_STREAMS = 1024;
export const MAX_WORKER_STREAMS = 64;
export const MAX_CLUSTER_STREAMS = 256;
/** A connection over which nothing came for so long is asked, and closed when it does not answer in time. */
export const KEEPALIVE_INTERVAL_MS = 30_000;
export const KEEPALIVE_TIMEOUT_MS = 10_000;
/** Calls that have their error by now get so long to hear it, when the service or a worker ends. */
export const GATEWAY_STOP_GRACE_MS = 1_000;
export const CLUSTER_STOP_GRACE_MS = 200;
/** Traces that have not been sent when the service ends. */
export const TRACES_STOP_TIMEOUT_MS = 3_000;
export const WORKER_STOP_GRACE_MS = 300;
/** Requests that run when a signal comes get so long to end; --drain-timeout. */
export const DEFAULT_DRAIN_TIMEOUT_MS = 30_000;
/** An engine that hangs in a device call must not keep an orphan alive. */
export const ORPHAN_STOP_TIMEOUT_MS = 2_000;
/** A worker of this host that was let go of and does not end is killed. */
export const LOCAL_WORKER_STOP_TIMEOUT_MS = 3_000;
/** Ends of a worker's stderr that are kept, to say why it ended. */
export const MAX_WORKER_STDERR_CHARS = 8_192;
/** Programs that are asked about the machine: nvidia-smi at a start, and what skein doctor runs. */
export const NVIDIA_SMI_TIMEOUT_MS = 10_000;
export const PROBE_TIMEOUT_MS = 20_000;
/** `skein health`; its --timeout. */
export const DEFAULT_HEALTH_TIMEOUT_MS = 3_000;

// ---- Members and epochs ----

/** A worker that no group uses says so often that it is there; leases are judged by --worker-silence. */
export const LEASE_RENEW_INTERVAL_MS = 1_000;
/** A coordinator that stood still for longer cannot tell whose lease ran out meanwhile: all get theirs anew. */
export const MAX_TICK_GAP_MS = 2_000;
/** Of a lease, until the coordinator has told its own. */
export const INITIAL_LEASE_TTL_MS = 15_000;
/** Calls of a worker to its coordinator; the last of them is not waited for as long. */
export const CLUSTER_CALL_TIMEOUT_MS = 5_000;
export const DEREGISTER_TIMEOUT_MS = 500;
/** Of a worker's name, host and last words. */
export const MAX_WORKER_ID_CHARS = 256;
/** Workers of this host: from their start until they have registered. */
export const LOCAL_START_TIMEOUT_MS = 30_000;
/** How long a lost worker is waited for; --rejoin-timeout. */
export const DEFAULT_REJOIN_TIMEOUT_MS = 600_000;
/** How long those that hold weights may take to register once others have. */
export const HOLDERS_WAIT_MS = 1_500;
/** A worker that was blamed and needs longer is no worker to wait for: another epoch would wait for it too. */
export const WORKER_PROBE_TIMEOUT_MS = 1_000;
/** A worker that lost its coordinator waits so long for the next one, its weights kept; --orphan-policy. */
export const DEFAULT_ORPHAN_WAIT_MS = 600_000;
/** Some 23 days: timers of the platform count milliseconds in 31 bits, and end at once beyond that. */
export const MAX_ORPHAN_WAIT_MS = 2_000_000_000;
/** Without a lease: a failed epoch is followed by the next within this, unless the coordinator is gone. */
export const RELEASE_GRACE_MS = 15_000;
/** A load balancer does not send requests elsewhere any sooner, and those that come while a group is lost wait. */
export const READY_GRACE_MS = 10_000;
/**
 * Attempts to form a group that lead to nothing are given up after some 40 s, each of them counted in addition; the
 * first group at once.
 */
export const RESTARTS = {
  minBackoffMs: 250,
  maxBackoffMs: 10_000,
  healthyAfterMs: 2_000,
  maxAttempts: 10,
  maxFirstAttempts: 1,
};

// ---- Calls to a worker ----

/** Workers that start a little later than their coordinator; who does not listen is logged within a second. */
export const WORKER_CONNECT_TIMEOUT_MS = 10_000;
export const WORKER_CALL_TIMEOUT_MS = 10_000;
/** As KEEPALIVE_INTERVAL_MS and KEEPALIVE_TIMEOUT_MS, of a coordinator to its workers. */
export const WORKER_KEEPALIVE_INTERVAL_MS = 5_000;
export const WORKER_KEEPALIVE_TIMEOUT_MS = 5_000;
/** The worker answers when its engine has let go of the epoch before, which a load may hold up. */
export const STEPS_OPEN_TIMEOUT_MS = 60_000;
export const PUT_PIXELS_TIMEOUT_MS = 60_000;
export const PREPARE_GROUP_TIMEOUT_MS = 30_000;
/** Beyond what the worker itself allows for joining. */
export const JOIN_GROUP_SLACK_MS = 10_000;
/** Loading has no deadline, for weights may be large; but while it reads it says so several times a second. */
export const LOAD_SILENCE_MS = 120_000;
export const ABORT_TIMEOUT_MS = 2_000;

// ---- Groups ----

/** Ranks of a group: until all have reached each other. */
export const RANKS_CONNECT_TIMEOUT_MS = 30_000;
/** GPUs warm up before they have joined; where ranks share one and take turns, that is a minute. */
export const GPU_WARM_UP_MS = 300_000;
/** A lost peer shows as a failed collective on the others first: so long is waited for the cause. */
export const CAUSE_GRACE_MS = 300;
/** A rank that is in the middle of a step when the others leave it would see that as a fault. */
export const STEPS_STOP_TIMEOUT_MS = 1_000;
/** Of a rank on CPUs, where --kv-cache-memory says nothing. */
export const DEFAULT_CPU_KV_BYTES = 512 * 1024 * 1024;

// ---- Requests and their prompts ----

/** Chosen by the client. */
export const MAX_REQUEST_ID_CHARS = 256;
/** A call that says more of its trace has none. */
export const MAX_TRACEPARENT_CHARS = 256;
/** What W3C asks everybody to carry at least. */
export const MAX_TRACESTATE_CHARS = 512;
/** Tokens of prompt and answer, where --max-model-length says nothing and the model was trained for more. */
export const DEFAULT_MAX_MODEL_LENGTH = 32_768;
/** In one Detokenize or /detokenize, which is answered where it arrives: more than any context has. */
export const MAX_DETOKENIZED_TOKENS = 131_072;
/** A request in whose prefill, it alone, so many epochs ended is not tried again. */
export const MAX_EPOCHS_ENDED_ALONE = 2;
/** When a client that is refused is told to come back, by the measured rate: so long at least, and at most. */
export const MIN_RETRY_AFTER_MS = 100;
export const MAX_RETRY_AFTER_MS = 60_000;
/** Of a request, smaller goes first: from minus this to this. */
export const MAX_PRIORITY = 100;
/** Who waits so long goes as if its priority were better by 1; --priority-ageing. */
export const DEFAULT_PRIORITY_AGEING_MS = 30_000;
/** Beyond those that run. */
export const MAX_WAITING_REQUESTS = 1024;
/** Of their prompts; --max-waiting-tokens. */
export const DEFAULT_MAX_WAITING_TOKENS = 4_194_304;
/** Tiles that the ranks hold at once, and so of one request. */
export const MAX_TILE_SLOTS = 128;
/** White space before a start tag is waited out this long; longer white space is an answer. */
export const MAX_LEADING_WHITE_SPACE_CHARS = 64;
/** A large tokenizer takes 200 MiB while it is read, and 4 MiB of text as much; pixels live outside of this heap. */
export const MAX_ENCODING_THREAD_HEAP_MB = 768;
/** Of text in a PNG and of XMP; writers stay far below. */
export const MAX_PICTURE_TEXT_BYTES = 1024 * 1024;

// ---- Chat templates ----

/** Escaping and role markers may make a prompt longer than its text. */
export const MAX_RENDERED_CHARS = 4 * MAX_PROMPT_CHARS;
/** Of the template's text; of a value that is written out; of macros that call each other. */
export const MAX_TEMPLATE_NESTING = 200;
export const MAX_TEMPLATE_VALUE_DEPTH = 200;
export const MAX_TEMPLATE_CALL_DEPTH = 200;
/** What a template may make: an integer, a range, digits behind the point. */
export const MAX_TEMPLATE_INTEGER_BITS = 100_000;
export const MAX_TEMPLATE_RANGE_LENGTH = 100_000;
export const MAX_TEMPLATE_PRECISION = 100;

// ---- Files of a checkpoint ----

export const MAX_CONFIG_BYTES = 16 * 1024 * 1024;
/** Above this no dimension is believed: products of three dimensions stay exact in a double. */
export const MAX_DIMENSION = 2 ** 24;
/** Of the decoder, and of the vision tower. */
export const MAX_LAYERS = 1024;
export const MAX_TILES_PER_PICTURE = 256;
export const MAX_WEIGHT_FILES = 4096;
export const MAX_TENSOR_NAME_CHARS = 512;
export const MAX_TENSOR_DIMENSIONS = 8;
/** Views of one storage are written out one by one; more than this times the file is an attack, not a model. */
export const MAX_CONVERTED_GROWTH = 4;
/** A small file beside the weights; larger ones stay behind. */
export const MAX_COPIED_FILE_BYTES = 256 * 1024 * 1024;
export const MAX_ZIP_ENTRIES = 1_000_000;
export const MAX_ZIP_DIRECTORY_BYTES = 256 * 1024 * 1024;
export const MAX_PICKLE_BYTES = 256 * 1024 * 1024;
/** A state dict of 10,000 tensors takes about 300,000 opcodes, 100,000 memo entries and a stack of 2,000. */
export const MAX_PICKLE_OPCODES = 16_000_000;
export const MAX_PICKLE_STACK = 1_000_000;
export const MAX_PICKLE_MEMO = 1_000_000;
export const MAX_PICKLE_LINE_BYTES = 1024;
/** A transposed or sliced view is gathered from its span in memory. */
export const MAX_STRIDED_SPAN_BYTES = 2 * 1024 ** 3;

// ---- skein bench serve ----

/** Conversations of one rate, and lines of a trace. */
export const MAX_BENCH_REQUESTS = 100_000;
/** Tokens of prompts and answers of one rate: prompts are made before the first is sent, and each token's time kept. */
export const MAX_BENCH_TOKENS = 100_000_000;
/** Encoded pictures of one rate. */
export const MAX_BENCH_PICTURE_BYTES = 1024 ** 3;
export const MAX_BENCH_TRACE_BYTES = 512 * 1024 * 1024;
/** Of what a server says: one event of a stream, the text of an error, a list of models or ids. */
export const MAX_BENCH_EVENT_CHARS = 16 * 1024 * 1024;
export const MAX_BENCH_ERROR_BYTES = 64 * 1024;
export const MAX_BENCH_REPLY_BYTES = 64 * 1024 * 1024;
