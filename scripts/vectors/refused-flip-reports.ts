/** Refused payloads of flip reports: a valid one with one change each. */
import type { CborMap } from "@sigil/core/cbor";
import { flipReport } from "./payloads.ts";
import type { PayloadCase } from "./refused-principals.ts";

const [flip = null, laterFlip = null] = flipReport["flips"] as readonly CborMap[];

export const flipReportCases: readonly PayloadCase[] = [
  [
    "a flip report of no proposal",
    "flip_report",
    { ...flipReport, proposal: "" },
    "payload.proposal",
    "must not be empty",
  ],
  [
    "a flip report of more decisions than one scores",
    "flip_report",
    { ...flipReport, scored: 1001 },
    "payload.scored",
    "must be an integer from 0 to 1000",
  ],
  [
    "a flip report with more flips than decisions",
    "flip_report",
    { ...flipReport, scored: 1 },
    "payload.flips",
    "must have at most 1 items",
  ],
  [
    "a flip report with a flip that is none",
    "flip_report",
    { ...flipReport, flips: [{ ...flip, to: "allow" }] },
    "payload.flips[0].to",
    "must differ from the recorded verdict",
  ],
  [
    "a flip report with a flip of a fourth verdict",
    "flip_report",
    { ...flipReport, flips: [{ ...flip, to: "maybe" }] },
    "payload.flips[0].to",
    "must be one of allow, deny, review",
  ],
  [
    "a flip report with a remark on a flip",
    "flip_report",
    { ...flipReport, flips: [{ ...flip, subject: "ann" }] },
    "payload.flips[0].subject",
    "is not a field of this kind",
  ],
  [
    "a flip report with a flip at its size",
    "flip_report",
    { ...flipReport, size: 11 },
    "payload.flips[0].position",
    "must be below the size and the position before",
  ],
  [
    "a flip report with its flips oldest first",
    "flip_report",
    { ...flipReport, flips: [laterFlip, flip] },
    "payload.flips[1].position",
    "must be below the size and the position before",
  ],
  [
    "a flip report with one flip twice",
    "flip_report",
    { ...flipReport, flips: [flip, flip] },
    "payload.flips[1].position",
    "must be below the size and the position before",
  ],
];
