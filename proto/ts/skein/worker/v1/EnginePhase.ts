// Original file: proto/skein/worker/v1/worker.proto

/**
 * What the engine's thread is at.
 */
export const EnginePhase = {
  ENGINE_PHASE_UNSPECIFIED: 'ENGINE_PHASE_UNSPECIFIED',
  ENGINE_PHASE_IDLE: 'ENGINE_PHASE_IDLE',
  ENGINE_PHASE_LOAD: 'ENGINE_PHASE_LOAD',
  ENGINE_PHASE_JOIN: 'ENGINE_PHASE_JOIN',
  ENGINE_PHASE_VISION: 'ENGINE_PHASE_VISION',
  ENGINE_PHASE_DECODER: 'ENGINE_PHASE_DECODER',
  ENGINE_PHASE_SAMPLING: 'ENGINE_PHASE_SAMPLING',
} as const;

/**
 * What the engine's thread is at.
 */
export type EnginePhase =
  | 'ENGINE_PHASE_UNSPECIFIED'
  | 0
  | 'ENGINE_PHASE_IDLE'
  | 1
  | 'ENGINE_PHASE_LOAD'
  | 2
  | 'ENGINE_PHASE_JOIN'
  | 3
  | 'ENGINE_PHASE_VISION'
  | 4
  | 'ENGINE_PHASE_DECODER'
  | 5
  | 'ENGINE_PHASE_SAMPLING'
  | 6

/**
 * What the engine's thread is at.
 */
export type EnginePhase__Output = typeof EnginePhase[keyof typeof EnginePhase]
