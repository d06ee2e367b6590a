/**
 * Payload of `feed_grant`: what a principal may read of the feed, and nothing else; which principal the record's id
 * says. Pure. Source: docs/spec/record.md §6.
 */
import type { CborMap, CborValue } from "../../cbor/cbor.ts";
import { feedGrantItemsMax, kindBytesMax } from "../../limits.ts";
import { utf8Encode } from "../../bytes.ts";
import { distinct, exactMap, listField, refuseField, textItem } from "../fields.ts";
import { spaces, tenantFault, type Space } from "../names.ts";

/** All there are, or those named; none when it is empty. */
export type Granted<Name extends string = string> = "all" | readonly Name[];

export interface FeedGrantPayload {
  /** Whose user spaces. */
  readonly tenants: Granted;
  readonly kinds: Granted;
  readonly spaces: Granted<Space>;
}

/** Stands alone in a list, for everything. */
export const allMark = "*";

const path = "payload";

const kindRule = (kind: string): string | null =>
  utf8Encode(kind).length <= kindBytesMax ? null : `must be at most ${kindBytesMax} bytes`;

const spaceRule = (space: string): string | null =>
  spaces.some((known) => known === space) ? null : `must be one of ${spaces.join(", ")}`;

const grantedField = (map: CborMap, name: string, rule: (item: string) => string | null): Granted => {
  const items = listField(map, path, name, textItem, feedGrantItemsMax);
  distinct(items, `${path}.${name}`, "must be distinct");
  if (items.length === 1 && items[0] === allMark) return "all";
  for (const [index, item] of items.entries()) {
    const fault = item === allMark ? "must stand alone" : rule(item);
    if (fault !== null) refuseField(`${path}.${name}[${index}]`, "", fault);
  }
  return items;
};

/** @throws malformedRecord naming the field. */
export const parseFeedGrant = (payload: CborValue): FeedGrantPayload => {
  const map = exactMap(payload, path, ["tenants", "kinds", "spaces"]);
  return {
    tenants: grantedField(map, "tenants", tenantFault),
    kinds: grantedField(map, "kinds", kindRule),
    spaces: grantedField(map, "spaces", spaceRule) as Granted<Space>,
  };
};

/** As the record holds it. */
export const formatGranted = (granted: Granted): readonly string[] =>
  granted === "all" ? [allMark] : granted;

export const formatFeedGrant = ({ tenants, kinds, spaces }: FeedGrantPayload): CborMap => ({
  tenants: formatGranted(tenants),
  kinds: formatGranted(kinds),
  spaces: formatGranted(spaces),
});
