/**
 * `properties` and `context`, which no model reads: what is recorded of them is the SHA-256 of their canonical CBOR.
 * Source: docs/operating/authzen.md, "What is not evaluated".
 */
import type { JsonObject } from "@bufbuild/protobuf";
import { toHex } from "@sigil/core/bytes";
import { cborEncode } from "@sigil/core/cbor";
import { sha256 } from "@sigil/core/hash";
import { invalidField, SigilFault } from "../../errors.ts";

/** The members of one evaluation that are digested: the properties of each entity, and the context. */
export const unreadParts = ["subject", "action", "resource", "context"] as const;

export type UnreadPart = (typeof unreadParts)[number];
export type Unread = { readonly [Part in UnreadPart]?: JsonObject };

/** The path of a part in an evaluation. */
export const pathOf = (part: UnreadPart): string => (part === "context" ? part : `${part}.properties`);

/** @throws invalidField for what has no canonical encoding. */
const encode = (unread: Unread): Uint8Array => {
  try {
    return cborEncode(unread);
  } catch (error) {
    if (!(error instanceof SigilFault) || error.error.kind !== "unencodableValue") throw error;
    const { path, rule } = error.error;
    const part = unreadParts.find((each) => path === `/${each}` || path.startsWith(`/${each}/`));
    return invalidField(part === undefined ? "context" : pathOf(part), rule);
  }
};

const isSame = (a: Unread, b: Unread): boolean => unreadParts.every((part) => a[part] === b[part]);

/**
 * Of one request, whose evaluations share defaults: what they repeat is read as if it was written out, and so is its
 * length.
 */
export class Digests {
  readonly #bytesMax: number;
  #bytes = 0;
  #last: { readonly unread: Unread; readonly digest: string } | undefined;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** @returns in hexadecimal, undefined when there is nothing to digest. @throws invalidField. */
  of(unread: Unread): string | undefined {
    if (unreadParts.every((part) => unread[part] === undefined)) return undefined;
    if (this.#last !== undefined && isSame(this.#last.unread, unread)) return this.#last.digest;
    const bytes = encode(unread);
    this.#bytes += bytes.length;
    if (this.#bytes > this.#bytesMax)
      invalidField(
        "context",
        `properties and contexts, written out, must be at most ${this.#bytesMax} bytes`,
      );
    const digest = toHex(sha256(bytes));
    this.#last = { unread, digest };
    return digest;
  }
}
