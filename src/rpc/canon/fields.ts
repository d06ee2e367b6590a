/**
 * The rules of CanonService's fields about records, as the proto comments state them. Errors name the field as the
 * proto does.
 */
import {
  RecordView,
  type BatchWriteRecordsRequest,
  type GetRecordRequest,
  type ListHistoryRequest,
  type ListRecordsRequest,
  type RecordFilter as FilterMessage,
  type StreamRecordsRequest,
  type WriteRecordRequest,
} from "@sigil/proto/sigil/canon/v1/canon";
import { Space, type Link } from "@sigil/proto/sigil/type/v1/type";
import type {
  Export,
  HistoryQuery,
  Presentation,
  RecordAt,
  RecordFilter,
  RecordName,
  RecordQuery,
  Write,
} from "../../canon/domain.ts";
import { invalidField } from "../../errors.ts";
import { kindBytesMax, labelBytesMax, recordIdBytesMax, schemaVersionMax } from "@sigil/core/limits";
import { batchWritesMax, payloadMaskPathBytesMax, payloadMaskPathsMax, writeLinksMax } from "../../limits.ts";
import type { Space as SpaceName, RecordLink } from "@sigil/core/record";
import { readContent } from "../message/content.ts";
import { readRecordProof } from "../message/recorded-proof.ts";
import { readHash, readPageSize, readRecordId, readTenant, readText, readTimeMs } from "../message/fields.ts";

const SPACES: ReadonlyMap<number, SpaceName> = new Map([
  [Space.SPACE_UNSPECIFIED, "user"],
  [Space.SPACE_USER, "user"],
  [Space.SPACE_SYSTEM, "system"],
]);

export const readSpace = (space: Space, field: string): SpaceName =>
  SPACES.get(space) ?? invalidField(field, "must be a space this server knows");

const readLinks = (links: readonly Link[], path: string): readonly RecordLink[] => {
  if (links.length > writeLinksMax) invalidField(`${path}links`, `must be at most ${writeLinksMax}`);
  return links.map(({ label, target }, index) => {
    const here = `${path}links[${index}]`;
    if (label === "") invalidField(`${here}.label`, "must not be empty");
    return {
      label: readText(label, `${here}.label`, labelBytesMax),
      target: readHash(target, `${here}.target`),
    };
  });
};

const readSchemaVersion = (version: number, field: string): number =>
  version <= schemaVersionMax ? version || 1 : invalidField(field, `must be at most ${schemaVersionMax}`);

/** @param path stands before each field's name, for example "writes[3]."; empty at the top. @throws invalidField. */
export const readWrite = (request: WriteRecordRequest, path = ""): Write => {
  const kind = readText(request.kind, `${path}kind`, kindBytesMax);
  const content = readContent(request.content, kind, path);
  if (kind === "" && content.kind === "payload") invalidField(`${path}kind`, "must be given");
  return {
    id: readRecordId(request.id, `${path}id`),
    kind,
    schemaVersion: readSchemaVersion(request.schemaVersion, `${path}schema_version`),
    content,
    links: readLinks(request.links, path),
    expectedVersion: request.expectedVersion,
  };
};

/** @throws invalidField. */
export const readWrites = ({ writes }: BatchWriteRecordsRequest): readonly Write[] => {
  if (writes.length === 0 || writes.length > batchWritesMax) {
    invalidField("writes", `must be 1 to ${batchWritesMax}, got ${writes.length}`);
  }
  const ids = new Set<string>();
  return writes.map((write, index) => {
    const path = `writes[${index}].`;
    if (write.idempotencyKey !== "")
      invalidField(`${path}idempotency_key`, "must be empty; the batch has one");
    if (readRecordProof(write.proof, `${path}proof`) !== "none")
      invalidField(`${path}proof`, "must be none in a batch; AuditService.GetInclusionProof gives it");
    if (ids.has(write.id)) invalidField(`${path}id`, "is the id of another write of the batch");
    ids.add(write.id);
    return readWrite(write, path);
  });
};

const readAt = (at: GetRecordRequest["at"]): RecordAt => {
  switch (at?.$case) {
    case undefined:
      return { kind: "newest" };
    case "version":
      return at.value > 0n
        ? { kind: "version", version: at.value }
        : invalidField("version", "must be 1 or more");
    case "hash":
      return { kind: "hash", hash: readHash(at.value, "hash") };
    case "ledgerSize":
      return { kind: "size", size: at.value };
  }
};

/** @throws invalidField. */
export const readGet = ({
  id,
  space,
  tenant,
  at: message,
}: GetRecordRequest): { readonly name: RecordName; readonly at: RecordAt } => {
  const at = readAt(message);
  const mayBeEmpty = at.kind === "hash";
  const name = {
    id: id === "" && mayBeEmpty ? "" : readRecordId(id, "id"),
    space: readSpace(space, "space"),
    tenant: readTenant(tenant),
  };
  return { name, at };
};

const idPrefixShape = new RegExp(`^[A-Za-z0-9._~:/@-]{0,${recordIdBytesMax}}$`);

const everything: FilterMessage = {
  space: Space.SPACE_UNSPECIFIED,
  tenant: "",
  kind: "",
  idPrefix: "",
  linkTarget: new Uint8Array(0),
  fromTime: undefined,
  untilTime: undefined,
  includeTombstones: false,
};

/** @throws invalidField. */
export const readFilter = (filter: FilterMessage = everything): RecordFilter => ({
  space: readSpace(filter.space, "filter.space"),
  tenant: readTenant(filter.tenant, "filter.tenant"),
  kind: readText(filter.kind, "filter.kind", kindBytesMax),
  idPrefix: idPrefixShape.test(filter.idPrefix)
    ? filter.idPrefix
    : invalidField("filter.id_prefix", "must be how an id begins: letters, digits and . _ ~ : / @ -"),
  linkTarget: filter.linkTarget.length === 0 ? null : readHash(filter.linkTarget, "filter.link_target"),
  fromMs: readTimeMs(filter.fromTime, "filter.from_time"),
  untilMs: readTimeMs(filter.untilTime, "filter.until_time"),
  includeTombstones: filter.includeTombstones,
});

const VIEWS: ReadonlyMap<number, Presentation["view"]> = new Map([
  [RecordView.RECORD_VIEW_UNSPECIFIED, "full"],
  [RecordView.RECORD_VIEW_FULL, "full"],
  [RecordView.RECORD_VIEW_METADATA, "metadata"],
]);

const readView = (view: RecordView): Presentation["view"] =>
  VIEWS.get(view) ?? invalidField("view", "must be a view this server knows");

/** @throws invalidField. */
export const readPresentation = (view: RecordView, mask: readonly string[] = []): Presentation => {
  if (mask.length > payloadMaskPathsMax)
    invalidField("payload_mask", `must be at most ${payloadMaskPathsMax}`);
  const payloadMask = mask.map((path, index) => {
    const field = `payload_mask[${index}]`;
    if (path === "") invalidField(field, "must not be empty");
    return readText(path, field, payloadMaskPathBytesMax);
  });
  return { view: readView(view), payloadMask };
};

/** @throws invalidField. */
export const readRecordQuery = (request: ListRecordsRequest): RecordQuery => ({
  filter: readFilter(request.filter),
  presentation: readPresentation(request.view, request.payloadMask),
  pageSize: readPageSize(request.pageSize),
  pageToken: request.pageToken,
});

/** @throws invalidField. */
export const readExport = (request: StreamRecordsRequest): Export => ({
  filter: readFilter(request.filter),
  afterId: request.afterId === "" ? "" : readRecordId(request.afterId, "after_id"),
  size: request.ledgerSize,
});

/** @throws invalidField. */
export const readHistoryQuery = (request: ListHistoryRequest): HistoryQuery => ({
  name: {
    id: readRecordId(request.id, "id"),
    space: readSpace(request.space, "space"),
    tenant: readTenant(request.tenant),
  },
  presentation: readPresentation(request.view),
  oldestFirst: request.oldestFirst,
  pageSize: readPageSize(request.pageSize),
  pageToken: request.pageToken,
});
