/**
 * What a relay publishes as a message of a lane: the attributes of a CloudEvent and its data. Source:
 * docs/spec/event.md.
 */
import { fromBase64, fromHex } from "@sigil/core/bytes";
import { cborEncode } from "@sigil/core/cbor";
import { Fault } from "@sigil/core/errors";
import { decodeDisclosed } from "@sigil/core/record";
import type { LaneMessage } from "../../projections/message.ts";
import { disclosedMediaType, envelopeMediaType } from "../../relay/event.ts";
import { usage } from "../terminal/command.ts";

const positionOf = (value: unknown): bigint | undefined =>
  typeof value === "string" && /^\d{1,20}$/.test(value) ? BigInt(value) : undefined;

/** What is no note is refused where its signature is verified. @throws Fault unless it is base64. */
const checkpointOf = (value: unknown): Pick<LaneMessage, "checkpoint"> =>
  typeof value === "string" ? { checkpoint: new TextDecoder().decode(fromBase64(value)) } : {};

/** @throws Fault. @returns undefined if there is no envelope in it. */
const recordIn = (
  data: Uint8Array | undefined,
  mediaType: unknown,
): Pick<LaneMessage, "envelope" | "disclosures"> | undefined => {
  if (data === undefined) return undefined;
  if (mediaType === disclosedMediaType) {
    const { envelope, disclosures } = decodeDisclosed(data);
    return { envelope, disclosures: cborEncode(disclosures) };
  }
  return mediaType === envelopeMediaType ? { envelope: data } : undefined;
};

/**
 * @param at where it stands, for a person.
 * @throws usage for an event that no relay wrote, or one whose record cannot be verified.
 */
export const readMessage = (
  lane: string,
  attributes: Readonly<Record<string, unknown>>,
  data: Uint8Array | undefined,
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
    const record = recordIn(data, datacontenttype);
    if (record !== undefined) return { ...message, ...record };
    if (typeof dataref === "string") return { ...message, isReference: true };
    if (type.endsWith(".erased.v1")) return message;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return refuse("is no event of a relay");
  }
  return refuse("holds no envelope: let the relay write them in full, with the format envelope");
};

const parseObject = (text: string, at: string): Readonly<Record<string, unknown>> => {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value as Readonly<Record<string, unknown>>;
  } catch {
    // Said below.
  }
  return usage(`${at}: is no JSON object`);
};

const bytesIn = (data: unknown, at: string): Uint8Array | undefined => {
  if (typeof data !== "string") return undefined;
  try {
    return fromBase64(data);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return usage(`${at}: its data is no base64`);
  }
};

/** As `readMessage`, of an event in structured mode: JSON, with its data in base64. */
export const parseEvent = (
  lane: string,
  text: string,
  at: string,
): { readonly message: LaneMessage; readonly attributes: Readonly<Record<string, unknown>> } => {
  const attributes = parseObject(text, at);
  const data = bytesIn(attributes["data_base64"], at);
  return { message: readMessage(lane, attributes, data, at), attributes };
};
