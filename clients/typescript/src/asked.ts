/**
 * What of a question is kept until its answer comes, to notice the answer to another one. A few hundred bytes each,
 * however long the input was. Pure.
 */
import { equalBytes } from "@sigil/core/bytes";
import { sha256 } from "@sigil/core/hash";
import { canonicalSubject } from "@sigil/core/record";
import type { CheckRequest, CheckResponse } from "@sigil/proto/sigil/trust/v1/trust";

export type Asked = {
  readonly action: string;
  readonly target: string;
  /** Empty for the caller itself. */
  readonly subject: string;
  readonly inputBytes: number;
  /** SHA-256, 32 bytes. */
  readonly inputDigest: Uint8Array;
};

const emptyDigest = sha256(new Uint8Array(0));

export const askedOf = ({ action, target, subject, input }: CheckRequest): Asked => ({
  action,
  target,
  subject,
  inputBytes: input.length,
  inputDigest: input.length === 0 ? emptyDigest : sha256(input),
});

/** Which deployment's names they are is not known here, so a subject by its SPIFFE id is not compared. */
const isOtherSubject = (asked: string, answered: string): boolean => {
  if (asked === "" || asked === answered) return false;
  const spelling = canonicalSubject(asked, "");
  return spelling.kind === "canonical" && !spelling.text.startsWith("spiffe:") && spelling.text !== answered;
};

/** Why an answer is not one to this question; undefined if it may be. */
export const questionFault = (asked: Asked, answer: CheckResponse): string | undefined => {
  if (isOtherSubject(asked.subject, answer.subject)) return "it is about another subject";
  const { inputDigest } = answer;
  const isOtherInput = inputDigest.length > 0 && !equalBytes(inputDigest, asked.inputDigest);
  return isOtherInput ? "it is about another input" : undefined;
};
