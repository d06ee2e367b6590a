/** Verified records as protobuf, whole or in part. */
import type { VersionedRecord as VersionedMessage } from "@sigil/proto/sigil/canon/v1/canon";
import { Space, type CanonicalRecord } from "@sigil/proto/sigil/type/v1/type";
import type { Presentation, VersionedRecord } from "../../canon/domain.ts";
import { cborEncode, type CborMap, type CborValue } from "@sigil/core/cbor";
import { replyJsonCharactersMax } from "../../limits.ts";
import { formatDisclosures, type Space as SpaceName, type StoredRecord } from "@sigil/core/record";
import { jsonOf } from "../message/json.ts";
import { formatTime } from "../message/vocabulary.ts";

const SPACES = { user: Space.SPACE_USER, system: Space.SPACE_SYSTEM } satisfies Record<SpaceName, Space>;

const nothing = new Uint8Array(0);

/** Everything but the payload and the envelope that holds it. */
const formatMetadata = (record: StoredRecord): CanonicalRecord => {
  const { body } = record;
  return {
    envelope: nothing,
    kind: body.kind,
    schemaVersion: body.schemaVersion,
    id: body.id,
    tenant: body.tenant,
    time: formatTime(body.ts),
    space: SPACES[body.space],
    payloadJson: "",
    payloadCbor: nothing,
    links: body.links.map(({ label, target }) => ({ label, target })),
    prev: body.prev ?? nothing,
    hash: record.hash,
    signature: record.statement.signature,
    publicKey: record.signedBy.publicKey,
    attestations: [...record.attestations],
    position: record.position,
    disclosures: nothing,
  };
};

/** Some payloads are several times as long in JSON; such a reply would pass no client's limit. */
const boundedJson = (payload: CborValue, charactersMax = replyJsonCharactersMax): string => {
  const json = jsonOf(payload);
  return json.length > charactersMax ? "" : json;
};

const openingsOf = ({ disclosures }: StoredRecord): Uint8Array =>
  Object.keys(disclosures).length === 0 ? nothing : cborEncode(formatDisclosures(disclosures));

/** @param jsonCharactersMax what is left of the reply for its JSON view. */
export const formatRecord = (record: StoredRecord, jsonCharactersMax?: number): CanonicalRecord => ({
  ...formatMetadata(record),
  envelope: record.envelope,
  payloadJson: boundedJson(record.body.payload, jsonCharactersMax),
  payloadCbor: cborEncode(record.body.payload),
  disclosures: openingsOf(record),
});

/** What a mask keeps of a map: of each key all, or what a mask keeps of its value. */
type Mask = ReadonlyMap<string, Mask | "all">;

/** @param paths each split at its dots. */
const maskOf = (paths: readonly (readonly string[])[]): Mask => {
  const mask = new Map<string, Mask | "all">();
  for (const [key, group] of Map.groupBy(paths, ([first = ""]) => first)) {
    const isWhole = group.some((path) => path.length === 1);
    mask.set(key, isWhole ? "all" : maskOf(group.map((path) => path.slice(1))));
  }
  return mask;
};

const isMap = (value: CborValue | undefined): value is CborMap =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);

/** Undefined when nothing of the map matches. */
const maskedEntries = (map: CborMap, mask: Mask): CborMap | undefined => {
  const kept = Object.create(null) as Record<string, CborValue>;
  let isEmpty = true;
  for (const [key, part] of mask) {
    const value = Object.hasOwn(map, key) ? map[key] : undefined;
    const found = part === "all" ? value : isMap(value) ? maskedEntries(value, part) : undefined;
    if (found === undefined) continue;
    kept[key] = found;
    isEmpty = false;
  }
  return isEmpty ? undefined : kept;
};

/** The entries of a payload that dotted paths name; paths lead through maps only, and lists are kept whole. */
export const maskPayload = (payload: CborValue, paths: readonly string[]): CborMap =>
  (isMap(payload) ? maskedEntries(payload, maskOf(paths.map((path) => path.split(".")))) : undefined) ?? {};

const present = (record: StoredRecord, { view, payloadMask }: Presentation): CanonicalRecord => {
  if (view === "metadata") return formatMetadata(record);
  if (payloadMask.length === 0) return formatRecord(record);
  return {
    ...formatMetadata(record),
    payloadJson: boundedJson(maskPayload(record.body.payload, payloadMask)),
  };
};

const whole: Presentation = { view: "full", payloadMask: [] };

export const formatVersioned = (
  { record, version, tombstone }: VersionedRecord,
  presentation: Presentation = whole,
): VersionedMessage => ({ record: present(record, presentation), version, tombstone });
