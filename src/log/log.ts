/**
 * The server's log: pino, one JSON object per line; `pretty.ts` formats them for terminals. Fields are names, numbers
 * and codes; never payloads, tokens or keys. Error causes are the only foreign text: their messages are truncated and
 * everything that looks like a credential, a key or quoted input is redacted.
 */
import type { DestinationStream, Logger } from "pino";
import pino from "pino";
import { logMessageCharactersMax } from "../limits.ts";
import type { LogLevel } from "./levels.ts";

export type LogOptions = { readonly level: LogLevel; readonly stream: DestinationStream };

const struck = "[struck]";

/** Names of fields that are always redacted. */
const secretFields = [
  "authorization",
  "token",
  "input",
  "payload",
  "envelope",
  "key",
  "private_key",
  "passphrase",
];

/** Redacts foreign text: quoted snippets, tokens, headers, long runs of base64 or hexadecimal digits. */
export const strikeOut = (text: string): string =>
  text
    .replace(
      /\b(metadata entry \S+|authorization(?:-bin)?|cookie|passphrase|password)\s*[:=].*/gis,
      `$1: ${struck}`,
    )
    .replace(/\bbearer\s+\S+/gi, struck)
    .replace(/\beyJ[\w-]+(\.[\w-]*)*/g, struck)
    .replace(/"[^"]*(?:"|$)|`[^`]*(?:`|$)|(?<!\w)'[^']*(?:'|$)/g, struck)
    .replace(/[A-Za-z0-9+/_=-]{32,}/g, struck)
    .slice(0, logMessageCharactersMax);

const firstFrames = 12;

/** Stack frames without the message. */
const framesOf = (error: Error): readonly string[] =>
  (error.stack ?? "")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line.startsWith("at "))
    .slice(0, firstFrames);

const causesMax = 4;

/** An error with its causes, as logged. */
export const describeCause = (cause: unknown, depth = 0): object => {
  if (!(cause instanceof Error)) return { type: typeof cause };
  const code = "code" in cause && typeof cause.code === "string" ? { code: cause.code } : {};
  const deeper =
    cause.cause === undefined || depth === causesMax ? {} : { cause: describeCause(cause.cause, depth + 1) };
  const described = { type: cause.name, message: strikeOut(cause.message), ...code, stack: framesOf(cause) };
  return { ...described, ...deeper };
};

export const createLog = ({ level, stream }: LogOptions): Logger =>
  pino(
    {
      level,
      base: { service: "sigil" },
      serializers: { err: (cause: unknown) => describeCause(cause) },
      redact: { paths: secretFields.flatMap((name) => [name, `*.${name}`]), censor: struck },
      formatters: { level: (label: string) => ({ level: label }) },
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    stream,
  );
