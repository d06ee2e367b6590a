/** The rules of a watch's fields, as the proto comments state them. */
import type { WatchRequest } from "@sigil/proto/sigil/canon/v1/canon";
import { Space, type Verdict } from "@sigil/proto/sigil/type/v1/type";
import { kindBytesMax } from "@sigil/core/limits";
import { allMark, tenantFault, type FrozenVerdict, type Space as SpaceName } from "@sigil/core/record";
import type { RecordFilter, WatchQuery, WatchSelection } from "../../canon/domain.ts";
import { invalidField } from "../../errors.ts";
import { heartbeatMsDefault, heartbeatMsMax, watchListMax } from "../../limits.ts";
import { readFilter, readPresentation, readSpace } from "./fields.ts";
import { readRecordProof } from "../message/recorded-proof.ts";
import { readPrincipal, readText, readVerdict } from "../message/fields.ts";

const heartbeatSecondsMax = heartbeatMsMax / 1000;

/** @param alone whether the filter's field of that name is left empty. */
const readList = <Item, Read>(
  items: readonly Item[],
  field: string,
  alone: boolean,
  read: (item: Item, field: string) => Read,
): readonly Read[] => {
  if (items.length > watchListMax) invalidField(field, `must be at most ${watchListMax}`);
  if (items.length > 0 && !alone) invalidField(field, "must be empty: the filter has it");
  return items.map((item, index) => read(item, `${field}[${index}]`));
};

const readTenants = (tenants: readonly string[], tenant: string): WatchSelection["tenants"] => {
  if (tenants.length === 1 && tenants[0] === allMark && tenant === "") return "all";
  const named = readList(tenants, "tenants", tenant === "", (each, field) => {
    const fault = each === allMark ? "must stand alone" : tenantFault(each);
    return fault === null ? each : invalidField(field, fault);
  });
  return named.length > 0 || tenant === "" ? named : [tenant];
};

const readKind = (kind: string, field: string): string =>
  kind === "" ? invalidField(field, "must not be empty") : readText(kind, field, kindBytesMax);

const readKinds = (
  { kinds, allKinds }: Pick<WatchRequest, "kinds" | "allKinds">,
  kind: string,
): WatchSelection["kinds"] => {
  const named = readList(kinds, "kinds", kind === "", readKind);
  if (allKinds) {
    return named.length === 0 && kind === ""
      ? "all"
      : invalidField("all_kinds", "must not be set where kinds are named");
  }
  if (named.length > 0) return named;
  if (kind === "") return "listed";
  // The filter has never reached decisions.
  return kind === "frozen_chain" ? [] : [kind];
};

const readSpaces = (spaces: readonly Space[], space: Space, filtered: SpaceName): readonly SpaceName[] => {
  const isAlone = space === Space.SPACE_UNSPECIFIED;
  const named = readList(spaces, "spaces", isAlone, (each, field) =>
    each === Space.SPACE_UNSPECIFIED
      ? invalidField(field, "must be a space this server knows")
      : readSpace(each, field),
  );
  return named.length === 0 ? [filtered] : named;
};

const readSomebody = (id: string, field: string, trustDomain: string): string =>
  id === "" ? invalidField(field, "must not be empty") : readPrincipal(id, field, trustDomain);

const readVerdicts = (
  verdicts: readonly Verdict[],
  kinds: WatchSelection["kinds"],
): readonly FrozenVerdict[] => {
  const named = readList(
    verdicts,
    "verdicts",
    true,
    (each, field) => readVerdict(each, field) ?? invalidField(field, "must be a verdict"),
  );
  const hasDecisions = kinds === "all" || (kinds !== "listed" && kinds.includes("frozen_chain"));
  if (named.length > 0 && !hasDecisions) {
    invalidField("verdicts", "needs all_kinds, or frozen_chain among kinds: only decisions have a verdict");
  }
  return named;
};

const readSelection = (
  request: WatchRequest,
  { tenant, kind, space, ...filter }: RecordFilter,
  trustDomain: string,
): WatchSelection => {
  const kinds = readKinds(request, kind);
  return {
    tenants: readTenants(request.tenants, tenant),
    kinds,
    spaces: readSpaces(request.spaces, request.filter?.space ?? Space.SPACE_UNSPECIFIED, space),
    principals: readList(request.principals, "principals", true, (id, field) =>
      readSomebody(id, field, trustDomain),
    ),
    verdicts: readVerdicts(request.verdicts, kinds),
    idPrefix: filter.idPrefix,
    linkTarget: filter.linkTarget,
    fromMs: filter.fromMs,
    untilMs: filter.untilMs,
  };
};

const readProof = ({ proof, view, knownSize }: WatchRequest): Pick<WatchQuery, "proof" | "knownSize"> => {
  const read = readRecordProof(proof);
  if (read !== "none" && readPresentation(view).view !== "full") {
    invalidField("proof", "needs view full: a proof is about the whole record");
  }
  if (read === "none" && knownSize !== undefined) {
    invalidField("known_size", "must be left out where no proof is asked for");
  }
  return { proof: read, knownSize };
};

const readDisclosing = ({ disclosures, view }: WatchRequest): WatchQuery["disclosing"] => {
  if (!disclosures) return "withheld";
  if (readPresentation(view).view !== "full") {
    invalidField("disclosures", "needs view full: what it opens is in the payload");
  }
  return "included";
};

/** @throws invalidField. */
export const readWatch = (request: WatchRequest, trustDomain: string): WatchQuery => {
  const { filter, fromPosition, heartbeatSeconds } = request;
  if (heartbeatSeconds > heartbeatSecondsMax) {
    invalidField("heartbeat_seconds", `must be at most ${heartbeatSecondsMax}`);
  }
  return {
    selection: readSelection(request, readFilter(filter), trustDomain),
    from: fromPosition,
    heartbeatMs: heartbeatSeconds === 0 ? heartbeatMsDefault : heartbeatSeconds * 1000,
    ...readProof(request),
    disclosing: readDisclosing(request),
  };
};
