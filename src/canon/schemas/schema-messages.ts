/** What the server and its schema threads say to each other. */
import type { OnSlowPattern } from "./json-schema.ts";

export type SchemaRequest = {
  /** SHA-256 of `schema` in hexadecimal: what the thread remembers the compiled schema by. */
  readonly key: string;
  /** Canonical CBOR. */
  readonly schema: Uint8Array;
  readonly onSlowPattern: OnSlowPattern;
  /** Canonical CBOR of what the schema is to hold; null to compile alone. */
  readonly payload: Uint8Array | null;
};

/** Said once, when the program is loaded. */
export type SchemaReady = { readonly kind: "ready" };

export type SchemaAnswer =
  | { readonly kind: "sound" }
  /** The payload breaks the schema. */
  | { readonly kind: "refused"; readonly rule: string }
  /** The schema is none. */
  | { readonly kind: "badSchema"; readonly field: string; readonly rule: string }
  /** The thread failed; `rule` is for the log. */
  | { readonly kind: "failed"; readonly rule: string };
