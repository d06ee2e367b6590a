/**
 * Tracks the size of a page, so that no reply exceeds what clients accept, which would block a walk. Counts envelopes
 * and the JSON views of payloads, which may be several times as large. Pure.
 */
import { type CborValue, jsonView } from "@sigil/core/cbor";
import { pageEnvelopeBytesMax, replyJsonCharactersMax } from "../../limits.ts";
import type { StoredRecord } from "@sigil/core/record";
import type { Presentation } from "../domain.ts";

/** The parts of a record that count. */
type RoomedRecord = { readonly record: Pick<StoredRecord, "envelope" | "body"> };

/** Maximum JSON characters per byte of CBOR: for half-precision floats and control characters. */
const jsonGrowthMax = 8;

/** A longer view is omitted from the reply. */
const jsonCharactersOf = (payload: CborValue): number =>
  Math.min(JSON.stringify(jsonView(payload)).length, replyJsonCharactersMax);

export class RecordRoom {
  readonly #recordsMax: number;
  readonly #hasPayloads: boolean;
  #records = 0;
  #envelopeBytes = 0;
  /** Upper bound of the views' size: counted ones, and estimates for the others. */
  #jsonCharacters = 0;
  #uncounted: { readonly payload: CborValue; readonly most: number }[] = [];

  constructor(recordsMax: number, { view }: Pick<Presentation, "view">) {
    this.#recordsMax = recordsMax;
    this.#hasPayloads = view === "full";
  }

  /** Upper bound on further records, plus one that shows whether the page is full; at least one. */
  get recordsLeft(): number {
    const records = this.#recordsMax - this.#records;
    if (this.#records === 0) return records + 1;
    const each = Math.max(1, this.#envelopeBytes / this.#records);
    return Math.min(records, Math.floor((pageEnvelopeBytesMax - this.#envelopeBytes) / each)) + 1;
  }

  /** Adds a record if it fits. The first always fits. */
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

  /** Counts exactly only near the limit; most pages are far from it. */
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
