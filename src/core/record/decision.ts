/**
 * What a decision's record says, of whichever version, with what was disclosed of it. Pure. Source: docs/spec/record.md
 * §6 and §7.
 */
import { parseDigestValue, type Disclosures } from "./commitment.ts";
import { refuseField } from "./fields.ts";
import {
  parseFrozenChain,
  scoreOf,
  type FrozenChainPayload,
  type FrozenRequest,
} from "./kinds/frozen-chain.ts";
import { parseFrozenChain1 } from "./kinds/frozen-chain-1.ts";
import { linkTo, type RecordBody } from "./record.ts";

/** Labels of the links to the model that decided, to the subject's principal, and to what suspended it. */
export const modelLabel = "model";
export const principalLabel = "principal";
export const suspensionLabel = "suspension";

const readInput = (disclosures: Disclosures): Pick<FrozenRequest, "inputDigest" | "inputBytes" | "input"> => {
  const opening = disclosures["input"];
  if (opening === undefined) return { inputDigest: null, inputBytes: null, input: null };
  const { digest, bytes } = parseDigestValue(opening.value, "disclosures.input.value");
  return { inputDigest: digest, inputBytes: bytes, input: opening.raw ?? null };
};

type Reasoned = Pick<FrozenChainPayload, "verdict" | "reason"> & Pick<FrozenRequest, "loa">;

/** Prose that version 1 recorded, and version 2 leaves to its reader. */
export const reasoningSteps = ({ loa, verdict, reason }: Reasoned): FrozenChainPayload["steps"] => [
  { name: "identity", detail: `subject is a ${loa}` },
  { name: "verdict", detail: `${verdict}: ${reason}` },
];

const ofVersion2 = (body: RecordBody, disclosures: Disclosures): FrozenChainPayload => {
  const { request, model, z, threshold, review, ...chain } = parseFrozenChain(body.payload);
  const { session = "", input: _, ...asked } = request;
  const hash = linkTo(body, modelLabel) ?? null;
  if (chain.verdict === "allow" && hash === null) {
    refuseField("links", "", "must name the model of a decision that allows");
  }
  return {
    ...chain,
    request: { ...asked, session, tenant: body.tenant, ...readInput(disclosures) },
    model: { id: model, hash },
    z: z ?? null,
    score: z === undefined ? null : scoreOf(z),
    threshold: threshold ?? null,
    review: review ?? null,
    steps: reasoningSteps({ loa: request.loa, verdict: chain.verdict, reason: chain.reason }),
  };
};

/** @param disclosures already checked against the record. @throws malformedRecord. */
export const readDecision = (body: RecordBody, disclosures: Disclosures = {}): FrozenChainPayload =>
  body.schemaVersion === 1 ? parseFrozenChain1(body.payload) : ofVersion2(body, disclosures);
