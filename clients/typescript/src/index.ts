// The public interface of the package.
export { type EffectiveConfig, Engine } from "./engine.js";
export * from "./errors.js";
export type * from "./events.js";
export { Generation } from "./generation.js";
export type {
  CallOptions,
  ChatMessage,
  DetokenizeOptions,
  GenerateOptions,
  LoadModelOptions,
  StatisticsOptions,
  TokenizeOptions,
  UnloadModelOptions,
} from "./params.js";
export type {
  GenerateChunk,
  GenerateResult,
  GradedMetric,
  Health,
  LoadProgress,
  Model,
  SetConfigResult,
  Statistics,
  TokenizeResult,
} from "./protocol.js";
export {
  parseSettings,
  settingFields,
  type SettingPath,
  type Settings,
  settingsSchema,
  type SettingsInput,
  type SettingValue,
} from "./settings.js";
export type { EngineOptions, EngineState, StopOptions } from "./supervisor.js";
