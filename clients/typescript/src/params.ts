// Parameters of the calls. Names may be camelCase or the protocol's snake_case.
import type { LoadProgress } from "./protocol.js";
import type { SettingsInput } from "./settings.js";
import type { Spelled } from "./spelling.js";

/** What every call takes besides its parameters. */
export interface CallOptions {
  /** Ends the call with an AbortError; `AbortSignal.timeout(ms)` makes a time limit of it. */
  readonly signal?: AbortSignal | undefined;
}

/** A message of a chat, as in OpenAI's API. */
export interface ChatMessage {
  readonly role: "system" | "developer" | "user" | "assistant" | "tool";
  readonly content: string | readonly { readonly type: "text"; readonly text: string }[] | null;
  readonly name?: string;
  readonly tool_calls?: readonly unknown[];
  readonly tool_call_id?: string;
}

interface GenerateFields {
  /** Name of a loaded model; may be left out when exactly one is loaded. */
  model: string;
  /** Text to go on from, without a chat template. */
  prompt: string;
  /** The same as token ids. */
  prompt_tokens: readonly number[];
  /** A chat, through the model's template. */
  messages: readonly ChatMessage[];
  /** Tokens to generate at most; left out, `engine.default_max_tokens` decides. */
  max_tokens: number;
  /** 0..2; 0 is greedy. */
  temperature: number;
  /** Above 0, up to 1. */
  top_p: number;
  /** 0 or -1: all tokens. */
  top_k: number;
  /** 0 up to, without, 1. */
  min_p: number;
  /** Above 0, up to 2; 1 is none. */
  repetition_penalty: number;
  /** -2..2 */
  presence_penalty: number;
  /** -2..2 */
  frequency_penalty: number;
  /** The same seed gives the same text. A safe integer. */
  seed: number;
  /** Up to 16 strings that end the text and are not part of it. */
  stop: string | readonly string[];
  stop_token_ids: readonly number[];
  /** Token id to what is added to its logit, -100..100. */
  logit_bias: Readonly<Record<string, number>>;
  /** Goes on past the end-of-text token. */
  ignore_eos: boolean;
  /** false: no chunks, the result alone. Default: true. */
  stream: boolean;
  /** Variables for the chat template, such as `{enable_thinking: false}`. */
  chat_template_kwargs: Readonly<Record<string, unknown>>;
}

/** Parameters of {@link Engine.generate}: one of `prompt`, `promptTokens` and `messages`. */
export type GenerateOptions = Spelled<GenerateFields> &
  CallOptions & {
    /** Chunks that wait unread before further ones are joined with the last. Default: 256. */
    readonly maxBufferedChunks?: number | undefined;
  };

interface LoadFields {
  /** A directory, "tiny" or a Hugging Face id (owner/name[@revision]). */
  model: string;
  /** What calls name it by; left out, the directory's name or the id. */
  name: string;
}

/** Parameters of {@link Engine.loadModel} besides the model. */
export type LoadModelOptions = Spelled<Pick<LoadFields, "name">> &
  CallOptions & {
    /** Settings for this model alone. */
    readonly config?: SettingsInput | undefined;
    /** Called while it loads, besides the event. */
    readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  };

/** Parameters of {@link Engine.unloadModel}. */
export interface UnloadModelOptions extends CallOptions {
  readonly model?: string | undefined;
  /** true cancels what runs; otherwise it may end first. */
  readonly force?: boolean | undefined;
}

interface TokenizeFields {
  model: string;
  text: string;
  messages: readonly ChatMessage[];
  chat_template_kwargs: Readonly<Record<string, unknown>>;
  /** Left out: true for a text, false for messages, whose template has them. */
  add_special_tokens: boolean;
}
/** Parameters of {@link Engine.tokenize}: `text`, or `messages` through the chat template. */
export type TokenizeOptions = Spelled<TokenizeFields> & CallOptions;

interface DetokenizeFields {
  model: string;
  tokens: readonly number[];
  /** Default: true. */
  skip_special_tokens: boolean;
}
/** Parameters of {@link Engine.detokenize}. */
export type DetokenizeOptions = Spelled<DetokenizeFields> & CallOptions;

/** Parameters of {@link Engine.statistics}. */
export interface StatisticsOptions extends CallOptions {
  readonly model?: string | undefined;
  /** Resets the counters after reading. */
  readonly reset?: boolean | undefined;
}
