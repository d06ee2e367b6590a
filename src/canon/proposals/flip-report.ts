/**
 * Flip reports in the ledger: made with the proposal of a model, and verified before an approval of it is taken, before
 * it is committed, and whenever it is read. Source: docs/spec/quorum.md §2.
 */
import {
  encodeBody,
  flipReportId,
  flipReportLink,
  flipReportOf,
  formatFlipReport,
  hashRecord,
  readFlipReport,
  systemBody,
  type FlipReportPayload,
  type RecordBody,
  type RecordLink,
  type StoredRecord,
} from "@sigil/core/record";
import { fail } from "../../errors.ts";
import type { ReadingLedger } from "../records/reading.ts";
import type { KeptProposal } from "./kept-proposal.ts";

export const flipReportStep = "flip_report";

export const flipReportBody = (
  report: FlipReportPayload,
  links: readonly RecordLink[],
  ts: number,
): RecordBody =>
  systemBody({
    kind: "flip_report",
    space: "user",
    id: flipReportId(report.proposal),
    ts,
    payload: formatFlipReport(report),
    links,
  });

/** The link of the proposed body to its report. */
export const linkToReport = (report: RecordBody): RecordLink =>
  flipReportLink(hashRecord(encodeBody(report)));

/**
 * The report that the proposed body names; undefined if it names none: it is of no model, or from before there were
 * reports. @throws recordCorrupt if it is missing or not the proposal's.
 */
export const flipReportIn = async (
  ledger: Pick<ReadingLedger, "readHash">,
  { id, position, body }: KeptProposal,
): Promise<StoredRecord | undefined> => {
  const hash = flipReportOf(body);
  if (hash === undefined) return undefined;
  const corrupt = (rule: string): never =>
    fail({ kind: "recordCorrupt", position, step: flipReportStep, rule, id });
  const record = (await ledger.readHash(hash)) ?? corrupt("the flip report that its body names is missing");
  const read = readFlipReport(record, id, body);
  return read.kind === "sound" ? record : corrupt(read.rule);
};
