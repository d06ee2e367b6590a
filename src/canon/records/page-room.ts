/**
 * How much of a page is taken: a reply that no client would take must never be made, or a walk could not get past it.
 * Counted are the envelopes and the JSON views of payloads, which may be several times as long as the envelope. Pure.
 */
import { type CborValue, jsonView } from "@sigil/core/cbor";
import { pageEnvelopeBytesMax, replyJsonCharactersMax } from "../../limits.ts";
import type { StoredRecord } from "@sigil/core/record";
import type { Presentation } from "../domain.ts";

/** What of a record takes room. */
type RoomedRecord = { readonly record: Pick<StoredRecord, "envelope" | "body"> };

/** JSON takes at most so many characters a byte of CBOR: a half-precision float or a control character. */
const jsonGrowthMax = 8;

/** A view that is longer is left out of the reply. */
const jsonCharactersOf = (payload: CborValue): number =>
  Math.min(JSON.stringify(jsonView(payload)).length, replyJsonCharactersMax);

export class RecordRoom {
  readonly #recordsMax: number;
  readonly #hasPayloads: boolean;
  #records = 0;
  #envelopeBytes = 0;
  /** At most so long are the views so far: those that are counted, and the bound of those that are not. */
  #jsonCharacters = 0;
  #uncounted: { readonly payload: CborValue; readonly most: number }[] = [];

  constructor(recordsMax: number, { view }: Pick<Presentation, "view">) {
    this.#recordsMax = recordsMax;
    this.#hasPayloads = view === "full";
  }

  /** How many more there may be room for, with one more that would show whether the page is full; at least that one. */
  get recordsLeft(): number {
    const records = this.#recordsMax - this.#records;
    if (this.#records === 0) return records + 1;
    const each = Math.max(1, this.#envelopeBytes / this.#records);
    return Math.min(records, Math.floor((pageEnvelopeBytesMax - this.#envelopeBytes) / each)) + 1;
  }

  /** Takes one more record, unless the page is full without it. One always fits. */
  take({ record: { envelope, body } }: RoomedRecord): boolean {
    if (this.#records === this.#recordsMax) return false;
    this.#envelopeBytes += envelope.length;
    if (this.#hasPayloads) this.#addJson(body.payload, envelope.length * jsonGrowthMax);
    const isFull =
      this.#envelopeBytes > pageEnvelopeBytesMax || this.#jsonCharacters > replyJsonCharactersMax;
    if (isFull && this.#records > 0) return false;
    this.#records += 1;
    return true;
  }

  /** Counts only where it could matter: most pages are far from the bound whatever is in them. */
  #addJson(payload: CborValue, most: number): void {
    this.#uncounted.push({ payload, most });
    this.#jsonCharacters += most;
    if (this.#jsonCharacters <= replyJsonCharactersMax) return;
    for (const { payload: each, most: bound } of this.#uncounted) {
      this.#jsonCharacters += jsonCharactersOf(each) - bound;
    }
    this.#uncounted = [];
  }
}
