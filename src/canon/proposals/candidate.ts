/**
 * Validates proposed records: everything detectably wrong is refused before a witness sees it, so that no quorum can be
 * led to commit a record that breaks the deployment. Source: docs/spec/canon.md §5.
 */
import type { CborValue } from "@sigil/core/cbor";
import {
  enrolmentFault,
  formatTombstone,
  knownKinds,
  parseErasure,
  parseFeedGrant,
  parseModule,
  parsePrincipal,
  parseSchema,
  parseWitness,
  principalVersion,
  type RecordBody,
  witnessPrefix,
} from "@sigil/core/record";
import { fail, invalidField } from "../../errors.ts";
import { proposalReasonBytesMax } from "../../limits.ts";
import { checkPublicKey } from "@sigil/core/keys";
import type { Content } from "../domain.ts";
import { checkSchemaSize } from "../schemas/json-schema.ts";

/** The part of an id after its first "/". */
const nameIn = (id: string): string => id.slice(id.indexOf("/") + 1);

const checkPrincipal = (id: string, payload: CborValue, trustDomain: string): void => {
  const principal = parsePrincipal(payload, principalVersion(payload));
  for (const key of principal.publicKeys) checkPublicKey(key);
  const fault = enrolmentFault(id, principal, { place: "", trustDomain });
  if (fault !== null) invalidField(fault.field, fault.rule);
  const name = principal.id ?? nameIn(id);
  // Reserved for witnesses, which call with the key in their own record.
  if (name.startsWith(witnessPrefix))
    invalidField("id", `must not name a principal that begins with "${witnessPrefix}"`);
};

const checkErasure = (id: string, payload: CborValue): void => {
  const { tenant, reason } = parseErasure(payload);
  if (tenant !== nameIn(id)) invalidField("id", "must be erasure/ and the tenant in the payload");
  if (Buffer.byteLength(reason) > proposalReasonBytesMax) {
    invalidField("payload.reason", `must be at most ${proposalReasonBytesMax} bytes`);
  }
};

const checkSchema = (id: string, payload: CborValue): void => {
  const { kind, schema } = parseSchema(payload);
  if (kind !== nameIn(id)) invalidField("id", "must be schema/ and the kind in the payload");
  if (knownKinds.includes(kind))
    invalidField("id", "must name a kind of user data: the server's own have schemas");
  // Compiled only after the proposer was authorized, since it may take seconds.
  checkSchemaSize(schema);
};

/** @throws invalidField, malformedRecord, malformedKey. */
const checkPayload = (kind: string, id: string, payload: CborValue, trustDomain: string): void => {
  switch (kind) {
    case "principal":
      return checkPrincipal(id, payload, trustDomain);
    case "schema":
      return checkSchema(id, payload);
    case "module":
      parseModule(payload);
      return;
    case "erasure":
      return checkErasure(id, payload);
    case "feed_grant":
      parseFeedGrant(payload);
      return;
    case "suspension":
      return invalidField(
        "id",
        "is written by PrincipalService.SuspendPrincipal; propose a tombstone to lift one",
      );
    default:
      return invalidField("id", "names no kind that may be proposed");
  }
};

/** What the rules need from the deployment. */
export type CandidateRules = {
  /** Canonicalizes a model's payload. @throws malformedModel. */
  readonly spellModel: (payload: CborValue) => CborValue;
  /** The deployment's origin. */
  readonly trustDomain: string;
};

/** Kind, version and payload of the proposed record. @throws malformedModel, and as above. */
export const candidateOf = (
  kind: string,
  id: string,
  content: Content,
  { spellModel, trustDomain }: CandidateRules,
): Pick<RecordBody, "kind" | "schemaVersion" | "payload"> => {
  if (content.kind === "payload") {
    if (kind === "trust_model") return { kind, schemaVersion: 1, payload: spellModel(content.payload) };
    checkPayload(kind, id, content.payload, trustDomain);
    const schemaVersion = kind === "principal" ? principalVersion(content.payload) : 1;
    return { kind, schemaVersion, payload: content.payload };
  }
  if (kind === "trust_model")
    invalidField("tombstone", "must not end the trust model: without one everything denies");
  if (kind === "erasure") invalidField("tombstone", "must not end an erasure: what is erased stays so");
  return { kind: "tombstone", schemaVersion: 1, payload: formatTombstone({ kind }) };
};

/** Checks the key of a new or re-keyed witness, which must not be one of the deployment's own. @throws malformedKey. */
export const checkWitnessKey = (payload: CborValue, ownKeys: readonly Uint8Array[]): void => {
  const publicKey = checkPublicKey(parseWitness(payload).publicKey);
  const isOwn = ownKeys.some((own) => own.every((byte, index) => byte === publicKey[index]));
  if (isOwn) fail({ kind: "malformedKey", rule: "must not be a key the deployment signs with" });
};
