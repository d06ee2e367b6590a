/**
 * What is stored, read back exactly as it was written: for digests and for the comparison with the ledger. Reads alone.
 * There is no snapshot: what is below the cursor changes by an erasure and by nothing else, and what is above it counts
 * only where no consumer is writing.
 */
import type { Collection, MongoClient } from "mongodb";
import { equalBytes } from "@sigil/core/bytes";
import { failProjection } from "../fault.ts";
import type { StoredRows, Difference } from "../compare.ts";
import { canonicalRow, type Digests } from "../digest.ts";
import { formatPeaks } from "../peaks.ts";
import { heads, type Row } from "../tables.ts";
import { withheldBy } from "../withheld.ts";
import { guarded } from "./connect.ts";
import { headRow, rowsOfDocuments } from "./document.ts";
import { placeId } from "../place-documents.ts";
import { MongoPlace, type CursorDocument, type TextDocument } from "./names.ts";
import { erasuresOf } from "./withheld.ts";
import { hasWriter } from "./writer.ts";

type Stored = {
  readonly place: MongoPlace;
  readonly versions: Collection<TextDocument>;
  readonly heads: Collection<TextDocument>;
  readonly cursor: CursorDocument;
};

/** Sorts as the database does: by the bytes of UTF-8. */
const compareText = (one: unknown, two: unknown): number =>
  Buffer.compare(Buffer.from(String(one)), Buffer.from(String(two)));

const compareHeads = (one: Row, two: Row): number =>
  heads.key.reduce((order, name) => (order === 0 ? compareText(one[name], two[name]) : order), 0);

/** Newest versions as the places give them, in the order of their keys. */
async function* expectedHeads({ versions, cursor }: Stored): AsyncGenerator<Row> {
  const found = versions
    .find(
      { _id: { $lt: placeId(cursor.next) }, erased: false, kind: { $ne: "frozen_chain" } },
      { projection: { tenant: 1, space: 1, id: 1, kind: 1, position: 1, hash: 1, at: 1 } },
    )
    .sort({ tenant: 1, space: 1, id: 1, position: 1 });
  let head: Row | undefined;
  for await (const document of found) {
    const version = headRow({
      ...document,
      versions: 1n,
      is_ended: document["kind"] === "tombstone",
      first_at: document["at"] as unknown,
      last_at: document["at"] as unknown,
    });
    const isSame = head !== undefined && compareHeads(head, version) === 0;
    if (head !== undefined && !isSame) yield head;
    head = isSame
      ? { ...version, versions: Number(head?.["versions"]) + 1, first_at: head?.["first_at"] ?? null }
      : version;
  }
  if (head !== undefined) yield head;
}

const isEqual = (one: Row, two: Row): boolean => {
  const [ours, theirs] = [canonicalRow(heads, one), canonicalRow(heads, two)];
  return ours.every((cell, at) => {
    const other = theirs[at];
    return cell instanceof Uint8Array && other instanceof Uint8Array
      ? equalBytes(cell, other)
      : cell === other;
  });
};

const otherHead = (row: Row | undefined): Difference => {
  const position = row?.["position"];
  const rule = "the newest version is another one";
  return { table: "records", position: typeof position === "bigint" ? position : undefined, rule };
};

/** Both sides in the order of their keys. @param isWritten by a consumer now: what is above the cursor is its own. */
const headDifference = async (stored: Stored, isWritten: boolean): Promise<Difference | undefined> => {
  const expected = expectedHeads(stored);
  const sorted = stored.heads.find().sort({ tenant: 1, space: 1, id: 1 });
  let wanted = await expected.next();
  const next = async (): Promise<void> => {
    wanted = await expected.next();
  };
  for await (const document of sorted) {
    const row = headRow(document);
    const position = row["position"];
    const isAbove = isWritten && typeof position === "bigint" && position >= stored.cursor.next;
    const order = wanted.done === true ? 1 : compareHeads(wanted.value, row);
    if (order < 0) return otherHead(wanted.done === true ? undefined : wanted.value);
    if (order === 0) {
      if (!isAbove && wanted.done !== true && !isEqual(wanted.value, row)) return otherHead(wanted.value);
      await next();
    } else if (!isAbove) return otherHead(row);
  }
  return wanted.done === true ? undefined : otherHead(wanted.value);
};

const inspect = async (stored: Stored, digests: Digests): Promise<Difference | undefined> => {
  const { place, versions, cursor } = stored;
  if (!equalBytes(cursor.peaks, formatPeaks(digests.frontier))) {
    return { table: "cursor", position: undefined, rule: "its tree is not that of the places stored" };
  }
  const isWritten = await hasWriter(place);
  const above = await versions.findOne(
    { $nor: [{ _id: { $gte: placeId(0n), $lt: placeId(cursor.next) } }] },
    { projection: { _id: 1 } },
  );
  if (above !== null && !isWritten) {
    const rule =
      "there is a row above the cursor: a consumer was killed here and takes it away when it is started, or somebody added it";
    return { table: "record_versions", position: undefined, rule };
  }
  const withheld = withheldBy(await erasuresOf(versions, placeId(cursor.next)));
  if (withheld !== undefined) {
    const rule = `${withheld.erased} places are erased, and the ledger's erasures account for ${withheld.reported}`;
    return { table: "record_versions", position: undefined, rule };
  }
  return headDifference(stored, isWritten);
};

const open = async (client: MongoClient, database: string, name: string): Promise<Stored> => {
  const place = new MongoPlace(client.db(database), name);
  const { filling } = await place.builds();
  const cursor = filling === undefined ? null : await place.cursors.findOne({ _id: place.cursorId(filling) });
  if (filling === undefined || cursor === null) {
    const rule = `there is no projection ${name} here`;
    return failProjection({ kind: "databaseFailed", code: "no projection", rule });
  }
  return { place, versions: place.versions(filling), heads: place.heads(filling), cursor };
};

/** @throws ProjectionFault: databaseFailed; what `work` throws. */
export const withStoredDocuments = async <T>(
  client: MongoClient,
  { database, name }: { readonly database: string; readonly name: string },
  work: (stored: StoredRows) => Promise<T>,
): Promise<T> => {
  const stored = await guarded(() => open(client, database, name));
  return work({
    next: stored.cursor.next,
    read: (from, to) =>
      guarded(async () => {
        const range = { _id: { $gte: placeId(from), $lt: placeId(to) } };
        return rowsOfDocuments(await stored.versions.find(range).sort({ _id: 1 }).toArray());
      }),
    inspect: (digests) => guarded(() => inspect(stored, digests)),
  });
};
