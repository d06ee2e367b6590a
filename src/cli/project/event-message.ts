/**
 * What a relay publishes as a message of a lane: the attributes of a CloudEvent and its data. Source:
 * docs/spec/event.md.
 */
import { fromBase64, fromHex } from "@sigil/core/bytes";
import { Fault } from "@sigil/core/errors";
import type { LaneMessage } from "../../projections/message.ts";
import { usage } from "../terminal/command.ts";

const positionOf = (value: unknown): bigint | undefined =>
  typeof value === "string" && /^\d{1,20}$/.test(value) ? BigInt(value) : undefined;

/** What is no note is refused where its signature is verified. @throws Fault unless it is base64. */
const checkpointOf = (value: unknown): Pick<LaneMessage, "checkpoint"> =>
  typeof value === "string" ? { checkpoint: new TextDecoder().decode(fromBase64(value)) } : {};

/**
 * @param at where it stands, for a person.
 * @throws usage for an event that no relay wrote, or one whose record cannot be verified.
 */
export const readMessage = (
  lane: string,
  attributes: Readonly<Record<string, unknown>>,
  envelope: Uint8Array | undefined,
  at: string,
): LaneMessage => {
  const refuse = (rule: string): never => usage(`${at}: ${rule}`);
  const { sigilposition, sigilprev, sigilleaf, sigilcheckpoint, type, datacontenttype, dataref } = attributes;
  const position = positionOf(sigilposition);
  const prev = sigilprev === undefined ? null : positionOf(sigilprev);
  if (
    position === undefined ||
    prev === undefined ||
    typeof sigilleaf !== "string" ||
    typeof type !== "string"
  ) {
    return refuse("is no event of a relay");
  }
  try {
    const message = { lane, position, prev, leaf: fromHex(sigilleaf), ...checkpointOf(sigilcheckpoint) };
    const isEnvelope = datacontenttype === "application/vnd.sigil.envelope.v1+cbor";
    if (envelope !== undefined && isEnvelope) return { ...message, envelope };
    if (typeof dataref === "string") return { ...message, isReference: true };
    if (type.endsWith(".erased.v1")) return message;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return refuse("is no event of a relay");
  }
  return refuse("holds no envelope: let the relay write them in full, with the format envelope");
};
