/** A golden ledger as the files of a relay: CloudEvents, one a line, in ended files and in one that grows. */
import { appendFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { toBase64, toHex } from "../../src/core/bytes.ts";
import type { LaneMessage } from "../../src/projections/message.ts";
import type { GoldenLedger } from "./golden-ledger.ts";
import { messagesOf } from "./golden-source.ts";

const digits = (position: bigint): string => String(position).padStart(20, "0");

const eventLine = ({ places }: GoldenLedger, message: LaneMessage): string => {
  const { position, prev, leaf, envelope } = message;
  const place = places[Number(position)];
  const kind = encodeURIComponent(place?.body.kind ?? "");
  return JSON.stringify({
    specversion: "1.0",
    source: "golden.test",
    id: toHex(envelope === undefined ? leaf : (place?.hash ?? leaf)),
    type: envelope === undefined ? "sigil.erased.v1" : `sigil.record.${kind}.v1`,
    sequence: digits(position),
    sigilposition: String(position),
    ...(prev === null ? {} : { sigilprev: String(prev) }),
    sigilleaf: toHex(leaf),
    sigilgeneration: "1",
    ...(envelope === undefined
      ? {}
      : {
          datacontenttype: "application/vnd.sigil.envelope.v1+cbor",
          data_base64: toBase64(envelope),
        }),
  });
};

/** Adds what stands at positions [from, to) to the file that grows. */
export const appendEvents = async (
  directory: string,
  ledger: GoldenLedger,
  [from, to]: readonly [number, number],
): Promise<void> => {
  const messages = messagesOf(ledger, { size: BigInt(ledger.places.length) }).slice(from, to);
  const lines = messages.map((message) => `${eventLine(ledger, message)}\n`).join("");
  await appendFile(join(directory, "events.jsonl"), lines);
};

/** Ends the file that grows, which has what stands at positions [from, to). */
export const rotateEvents = async (
  directory: string,
  [from, to]: readonly [number, number],
): Promise<void> => {
  const name = `events-000000001-${digits(BigInt(from))}-${digits(BigInt(to - 1))}.jsonl`;
  await rename(join(directory, "events.jsonl"), join(directory, name));
  await writeFile(join(directory, "events.jsonl"), "");
};
