/** `sigil principal suspend`, which needs one principal, and `lift`, which needs the quorum. */
import { ProposeRecordResponse, SuspendPrincipalResponse, type Principal } from "@sigil/client";
import { fromBase64Url, fromHex, parseThumbprint, type Thumbprint } from "@sigil/core/bytes";
import { principalPrefix, keySuspensionPrefix } from "@sigil/core/record";
import { keySuspensionId, principalSuspensionId } from "../../identity/suspension.ts";
import {
  countOf,
  exitCodes,
  jsonFlag,
  required,
  usage,
  type Arguments,
  type Command,
} from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { formatPrincipal, requirePrincipal } from "./principal.ts";
import { recordMeant } from "../call/principal-record.ts";
import { formatProposed, proposingFlags, readProposing } from "../proposal/proposing.ts";
import { orRefusal } from "../call/refusal.ts";
import { printable, type Terminal } from "../terminal/terminal.ts";

const thumbprintFlag = {
  thumbprint: {
    value: "KEY",
    about: "One key, by its thumbprint as sigil principal show prints it, or in hex.",
  },
} as const;

const hexShape = /^[0-9a-f]{64}$/i;
const base64UrlShape = /^[A-Za-z0-9_-]{43}$/;

/** @throws usage. */
const thumbprintOf = (given: Arguments): Thumbprint | undefined => {
  const text = given.text("thumbprint");
  if (text === undefined) return undefined;
  try {
    if (hexShape.test(text)) return parseThumbprint(fromHex(text.toLowerCase()));
    if (base64UrlShape.test(text)) return parseThumbprint(fromBase64Url(text));
  } catch {
    // Reported below.
  }
  return usage("--thumbprint must be a key's thumbprint; sigil principal show prints them");
};

const formatSuspended = (
  principal: Principal,
  { suspension, alreadySuspended, auditId }: SuspendPrincipalResponse,
  terminal: Terminal,
): string => {
  const said = alreadySuspended ? "It was suspended before; nothing was changed." : `Allowed by ${auditId}.`;
  const key = suspension?.recordId.startsWith(keySuspensionPrefix) === true;
  const lift = key
    ? `sigil principal lift --thumbprint ${suspension?.recordId.slice(keySuspensionPrefix.length)}`
    : `sigil principal lift ${printable(principal.id)}`;
  return [
    formatPrincipal(principal, terminal),
    "",
    said,
    "",
    "Next:",
    "  sigil proposals --state open   # what it proposed and is still open: witnesses should look again",
    `  ${lift} --reason TEXT   # when it may go on; takes the quorum`,
  ].join("\n");
};

export const principalSuspend: Command = {
  name: "principal suspend",
  about:
    "Stop a principal, or with --thumbprint one key wherever it is used, from the next call on. Root of tenant system suspends\n" +
    "anybody; a Mentor whoever is below Mentor in its own tenant. It is recorded with the reason, and only a quorum lifts it.\n" +
    "Who is suspended already stays so, and that is no error.",
  words: ["PRINCIPAL"],
  flags: {
    reason: { value: "TEXT", about: "Why; recorded, and readable by Observers of every tenant." },
    ...thumbprintFlag,
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    'sigil principal suspend mallory --reason "laptop stolen" --key root.pem --principal root',
    'sigil principal suspend deploy --thumbprint eTWTHiDz13f6sxr9FbrULRYx1xdU0ZyA6pGW8h2hqqM --reason "key in a public log" --key mentor.pem --principal mentor',
  ],
  exits: ["0  suspended", "1  refused", "2  usage error, not found, or no answer"],
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      const [principal = ""] = given.words;
      const [reason, thumbprint] = [required(given, "reason", "TEXT"), thumbprintOf(given)];
      const response = await withConnection(given, terminal, ({ principals }) =>
        principals.suspendPrincipal({
          principal,
          reason,
          ...(thumbprint === undefined ? {} : { keyThumbprint: Buffer.from(thumbprint) }),
        }),
      );
      terminal.print(
        given.has("json")
          ? JSON.stringify(SuspendPrincipalResponse.toJSON(response))
          : formatSuspended(requirePrincipal(response.principal), response, terminal),
      );
      return exitCodes.ok;
    }),
};

/** @throws usage. */
const liftedId = (given: Arguments): string => {
  const [principal] = given.words;
  const thumbprint = thumbprintOf(given);
  if (thumbprint !== undefined) return keySuspensionId(thumbprint);
  if (principal !== undefined) return principalSuspensionId(recordMeant(principalPrefix + principal).id);
  return usage("sigil principal lift needs PRINCIPAL or --thumbprint KEY; see: sigil principal lift --help");
};

export const principalLift: Command = {
  name: "principal lift",
  about:
    "Propose to lift the suspension of a principal, or with --thumbprint that of a key for all who have it. It is lifted when\n" +
    "enough witnesses have attested it. Takes level Mentor.",
  words: ["[PRINCIPAL]"],
  flags: {
    ...thumbprintFlag,
    expect: { value: "N", about: "Only when the suspension is at version N." },
    ...proposingFlags,
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    'sigil principal lift mallory --reason "the laptop was found" --key mentor.pem --principal mentor',
    'sigil principal lift --thumbprint eTWTHiDz13f6sxr9FbrULRYx1xdU0ZyA6pGW8h2hqqM --reason "false alarm" --lifetime 12h',
  ],
  exits: ["0  proposed", "1  refused", "2  usage error, not found, or no answer"],
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      const [proposing, expectedVersion] = [readProposing(given), countOf(given, "expect", 1n)];
      const id = liftedId(given);
      const response = await withConnection(given, terminal, ({ canon }) =>
        canon.proposeRecord({
          id,
          content: { $case: "tombstone", value: true },
          ...proposing,
          ...(expectedVersion === undefined ? {} : { expectedVersion }),
        }),
      );
      const { proposal, auditId } = response;
      if (proposal === undefined) return usage("the server answered without a proposal");
      terminal.print(
        given.has("json")
          ? JSON.stringify(ProposeRecordResponse.toJSON(response))
          : formatProposed(proposal, auditId, terminal),
      );
      return exitCodes.ok;
    }),
};
