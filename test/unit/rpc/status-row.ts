/** What a caller sees of an error, as a row of a table. */
import { status as Code } from "@grpc/grpc-js";
import type { SigilError } from "../../../src/errors.ts";

type More = {
  readonly violation?: { readonly field: string; readonly description: string };
  readonly retryMs?: number;
};

/** What a caller sees, with facts in the order in which they are sent. */
export type Shown = More & {
  readonly code: Code;
  readonly reason: string;
  readonly message: string;
  readonly facts: Readonly<Record<string, string>>;
};

export type Row<Kind extends SigilError["kind"]> = readonly [
  error: Extract<SigilError, { readonly kind: Kind }>,
  shown: Shown,
];

export const shown = (
  code: Code,
  reason: string,
  message: string,
  facts: Shown["facts"],
  more: More = {},
): Shown => ({ code, reason, message, facts, ...more });

/** More than one for a kind whose facts may be absent. */
export type Rows<Kind extends SigilError["kind"]> = { readonly [Each in Kind]: readonly Row<Each>[] };
