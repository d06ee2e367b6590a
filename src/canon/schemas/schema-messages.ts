/** Messages between the server and its schema threads. */
import type { OnSlowPattern } from "./json-schema.ts";

export type SchemaRequest = {
  /** SHA-256 of `schema` in hexadecimal: the thread's cache key of the compiled schema. */
  readonly key: string;
  /** Canonical CBOR. */
  readonly schema: Uint8Array;
  readonly onSlowPattern: OnSlowPattern;
  /** Canonical CBOR of the payload to validate; null to only compile. */
  readonly payload: Uint8Array | null;
};

/** Sent once, when the program is loaded. */
export type SchemaReady = { readonly kind: "ready" };

export type SchemaAnswer =
  | { readonly kind: "sound" }
  /** The payload does not match the schema. */
  | { readonly kind: "refused"; readonly rule: string }
  /** The schema is invalid. */
  | { readonly kind: "badSchema"; readonly field: string; readonly rule: string }
  /** The thread failed; `rule` is for the log. */
  | { readonly kind: "failed"; readonly rule: string };
