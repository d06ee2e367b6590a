/** `sigil principal list` and `show`: principals, their keys and suspensions. */
import {
  Enrolment,
  GetPrincipalResponse,
  LevelOfAccess,
  Principal,
  type PrincipalKey,
  type Suspension,
} from "@sigil/client";
import { toBase64Url } from "@sigil/core/bytes";
import { levelNames } from "@sigil/core/record";
import { exitCodes, jsonFlag, usage, type Arguments, type Command } from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { levelName } from "../call/decision.ts";
import { limitFlag, limitOf, listAll, timeText } from "../call/listing.ts";
import { orRefusal } from "../call/refusal.ts";
import { formatPairs, formatTable, printable, type Cell, type Terminal } from "../terminal/terminal.ts";

const ENROLMENTS: ReadonlyMap<Enrolment, string> = new Map([
  [Enrolment.ENROLMENT_GOVERNED, "by the first commit or a quorum"],
  [Enrolment.ENROLMENT_TENANT, "by its tenant"],
  [Enrolment.ENROLMENT_WITNESS, "a witness, by the registry"],
]);

const suspendedKeysOf = ({ keys }: Principal): readonly PrincipalKey[] =>
  keys.filter(({ suspension }) => suspension !== undefined);

type State = { readonly text: string; readonly style: "green" | "yellow" | "red" };

const stateOf = (principal: Principal): State => {
  if (!principal.active) return { text: "revoked", style: "red" };
  if (principal.suspension !== undefined) return { text: "suspended", style: "red" };
  const { length } = suspendedKeysOf(principal);
  if (length === 0) return { text: "active", style: "green" };
  return { text: `active, ${length} of ${principal.keys.length} keys suspended`, style: "yellow" };
};

const formatPrincipals = (principals: readonly Principal[], { paint }: Terminal): string =>
  formatTable(
    [
      { title: "PRINCIPAL", widthMax: 48 },
      { title: "TENANT", widthMax: 24 },
      { title: "LEVEL" },
      { title: "STATE" },
      { title: "KEYS", align: "right" },
      { title: "REASON", widthMax: 48 },
    ],
    principals.map((principal) => {
      const state: Cell = { ...stateOf(principal), paint };
      const reason = principal.suspension?.reason ?? suspendedKeysOf(principal)[0]?.suspension?.reason ?? "";
      const { id, tenant, level, keys } = principal;
      return [id, tenant, levelName(level), state, String(keys.length), reason];
    }),
  );

/** For example "by root at position 12, …". */
const madeText = ({ by, ledgerPosition, time }: Suspension): string =>
  `by ${by} at position ${ledgerPosition}, ${timeText(time)}`;

const formatKeys = ({ keys }: Principal, { paint }: Terminal): string =>
  formatTable(
    [{ title: "KEY" }, { title: "STATE" }, { title: "SUSPENDED" }, { title: "REASON" }],
    keys.map(({ thumbprint, suspension }) => [
      toBase64Url(thumbprint),
      suspension === undefined ? "good" : { text: "suspended", style: "red", paint },
      suspension === undefined ? "–" : madeText(suspension),
      suspension?.reason ?? "–",
    ]),
  );

/** Formats one principal with all details. */
export const formatPrincipal = (principal: Principal, terminal: Terminal): string => {
  const { suspension } = principal;
  const { text, style } = stateOf(principal);
  const facts = formatPairs([
    ["tenant", principal.tenant],
    ["level", levelName(principal.level)],
    ["enrolled", `${ENROLMENTS.get(principal.enrolment) ?? "?"}, at position ${principal.ledgerPosition}`],
    ["suspended", suspension && madeText(suspension)],
    ["reason", suspension?.reason],
    ["record", suspension?.recordId],
  ]);
  const keys = principal.keys.length === 0 ? "It has no key." : formatKeys(principal, terminal);
  return `${terminal.paint(style, text.toUpperCase())}  ${printable(principal.id)}\n\n${facts}\n\n${keys}`;
};

export const requirePrincipal = (principal: Principal | undefined): Principal =>
  principal ?? usage("the server answered without a principal");

/** @throws usage. */
const levelOf = (given: Arguments): LevelOfAccess => {
  const text = given.text("level");
  if (text === undefined) return LevelOfAccess.LEVEL_OF_ACCESS_UNSPECIFIED;
  const rank = levelNames.findIndex((name) => name === text.toLowerCase());
  if (rank < 0) return usage(`--level must be one of ${levelNames.join(", ")}`);
  return (LevelOfAccess.LEVEL_OF_ACCESS_GUEST + rank) as LevelOfAccess;
};

const asRoot = "--key root.pem --principal root";

export const principalList: Command = {
  name: "principal list",
  about:
    "List principals: first those that a quorum enrolled, then those that tenants enrolled by themselves. Root of tenant\n" +
    "system sees everybody, a Mentor its own tenant, anybody else itself. Witnesses are listed by sigil witness list.",
  flags: {
    tenant: { value: "NAME", about: "Only those of this tenant." },
    level: { value: "LEVEL", about: `Only those of this level: ${levelNames.join(", ")}.` },
    suspended: { about: "Only those that are suspended, or of which a key is." },
    ...limitFlag,
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    `sigil principal list ${asRoot}`,
    `sigil principal list --suspended ${asRoot}`,
    `sigil principal list --tenant acme --level operator --json ${asRoot}`,
  ],
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      const limit = limitOf(given);
      const query = {
        tenant: given.text("tenant") ?? "",
        level: levelOf(given),
        suspendedOnly: given.has("suspended"),
      };
      const principals = await withConnection(given, terminal, (connection) =>
        listAll(limit, terminal, async (page) => {
          const { principals: items, nextPageToken } = await connection.principals.listPrincipals({
            ...query,
            ...page,
          });
          return { items, nextPageToken };
        }),
      );
      if (given.has("json"))
        for (const principal of principals) terminal.print(JSON.stringify(Principal.toJSON(principal)));
      else terminal.print(formatPrincipals(principals, terminal));
      return exitCodes.ok;
    }),
};

export const principalShow: Command = {
  name: "principal show",
  about:
    "Show one principal as it stands: tenant, level, keys by their thumbprints, and what is suspended, why, by whom and since\n" +
    "when. Without PRINCIPAL the caller itself; another takes level Mentor.",
  words: ["[PRINCIPAL]"],
  flags: { ...jsonFlag, ...connectionFlags },
  examples: [
    "sigil principal show --key .sigil/keys/operator.pem --principal operator",
    `sigil principal show acme/ann ${asRoot}`,
    `sigil principal show operator --json ${asRoot}`,
  ],
  exits: ["0  shown", "1  refused", "2  usage error, not found, or no answer"],
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      const [principal = ""] = given.words;
      const response = await withConnection(given, terminal, ({ principals }) =>
        principals.getPrincipal({ principal }),
      );
      terminal.print(
        given.has("json")
          ? JSON.stringify(GetPrincipalResponse.toJSON(response))
          : formatPrincipal(requirePrincipal(response.principal), terminal),
      );
      return exitCodes.ok;
    }),
};
