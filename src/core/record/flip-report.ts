/**
 * The flip report of a proposed model, which the proposed body names, so that its hash is in what witnesses sign. Pure.
 * Source: docs/spec/quorum.md §2.
 */
import { equalBytes, type Hash } from "../bytes.ts";
import { cborEncode, type CborValue } from "../cbor/cbor.ts";
import { sha256 } from "../hash.ts";
import { parseFlipReport, type FlipReportPayload } from "./kinds/flip-report.ts";
import { linkTo, type RecordBody } from "./record.ts";
import { flipReportPrefix, proposalPrefix } from "./system.ts";
import { systemTenant } from "./names.ts";

const flipReportLabel = "flip_report";

/** The id of a proposal's report. */
export const flipReportId = (proposal: string): string =>
  flipReportPrefix + proposal.slice(proposalPrefix.length);

/** What a report says of the model that it is about. */
export const modelDigest = (payload: CborValue): Hash => sha256(cborEncode(payload));

export const flipReportLink = (target: Hash): RecordBody["links"][number] => ({
  label: flipReportLabel,
  target,
});

/** Hash of the report that a proposed body names; undefined if it names none, as bodies before there were reports. */
export const flipReportOf = (body: Pick<RecordBody, "kind" | "links">): Hash | undefined =>
  body.kind === "trust_model" ? linkTo(body, flipReportLabel) : undefined;

/** A report as read, and why it is not the report of the proposal. */
export type ReadFlipReport =
  | { readonly kind: "sound"; readonly report: FlipReportPayload }
  | { readonly kind: "refused"; readonly rule: string };

/** @param proposal id. @param proposed the body that names the report. @throws malformedRecord. */
export const readFlipReport = (
  { body, hash }: { readonly body: RecordBody; readonly hash: Hash },
  proposal: string,
  proposed: RecordBody,
): ReadFlipReport => {
  const refused = (rule: string): ReadFlipReport => ({ kind: "refused", rule: `the flip report ${rule}` });
  const named = proposed.links.filter(({ label }) => label === flipReportLabel);
  if (named.length !== 1 || !named.every(({ target }) => equalBytes(target, hash))) {
    return refused("is not the one that the proposed body links to");
  }
  const isOne = body.kind === "flip_report" && body.tenant === systemTenant && body.space === "user";
  if (!isOne || body.id !== flipReportId(proposal)) return refused(`is not at ${flipReportId(proposal)}`);
  const report = parseFlipReport(body.payload);
  if (report.proposal !== proposal) return refused(`is of ${report.proposal}`);
  if (!equalBytes(report.model, modelDigest(proposed.payload))) return refused("is of another model");
  return { kind: "sound", report };
};
