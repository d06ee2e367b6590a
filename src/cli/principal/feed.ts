/** `sigil feed grant`, which takes the quorum, `withdraw`, which takes one, `list` and `show`. */
import {
  FeedGrant,
  ProposeRecordResponse,
  Space,
  VersionedRecord,
  WithdrawFeedGrantResponse,
  type CanonicalRecord,
} from "@sigil/client";
import { cborDecode } from "@sigil/core/cbor";
import { allMark, feedGrantPrefix, formatGranted, parseFeedGrant, principalPrefix } from "@sigil/core/record";
import { exitCodes, jsonFlag, usage, type Arguments, type Command } from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { limitFlag, limitOf, listAll, timeText } from "../call/listing.ts";
import { recordMeant } from "../call/principal-record.ts";
import { orRefusal } from "../call/refusal.ts";
import { formatProposed, proposingFlags, readProposing } from "../proposal/proposing.ts";
import { formatPairs, formatTable, printable, type Terminal } from "../terminal/terminal.ts";
import { requirePrincipal } from "./principal.ts";

const asRoot = "--key root.pem --principal root";

/** @throws usage. */
const grantId = (principal: string): string =>
  feedGrantPrefix + recordMeant(principalPrefix + principal).id.slice(principalPrefix.length);

/** @throws usage. */
const grantOf = (given: Arguments) => {
  const [tenants, kinds, spaces] = [given.texts("tenant"), given.texts("kind"), given.texts("space")];
  if (kinds.length === 0)
    usage(`--kind KIND is needed, as often as there are kinds; --kind '${allMark}' is all`);
  if (tenants.length === 0 && spaces.length === 0) {
    usage(`--tenant NAME is needed, or --space system; --tenant '${allMark}' is all`);
  }
  return { tenants, kinds, spaces: spaces.length > 0 ? spaces : ["user"] };
};

const listText = (names: readonly string[]): string => {
  if (names.length === 0) return "–";
  return names[0] === allMark ? "all" : names.join(", ");
};

export const feedGrant: Command = {
  name: "feed grant",
  about:
    "Propose that a principal may read the feed (sigil canon watch) and nothing else: records of these kinds in these spaces of\n" +
    "these tenants. It must be an Observer that a quorum enrolled; take one made for it, for it becomes a Guest in everything\n" +
    "else, for good. Takes the place of an earlier grant. Takes level Mentor.",
  words: ["PRINCIPAL"],
  flags: {
    tenant: {
      value: "NAME",
      multiple: true,
      about: "A tenant whose user space it may read; '*' is every one, those to come too.",
    },
    kind: { value: "KIND", multiple: true, about: "A kind; frozen_chain is decisions, '*' is every one." },
    space: { value: "SPACE", multiple: true, about: "user, system or '*'; default user." },
    ...proposingFlags,
    ...jsonFlag,
    ...connectionFlags,
  },
  examples: [
    "sigil feed grant relay --tenant '*' --kind '*' --space '*' --reason \"the SIEM\" --key mentor.pem --principal mentor",
    'sigil feed grant billing-feed --tenant acme --kind invoice --kind frozen_chain --reason "billing lives from it"',
  ],
  exits: ["0  proposed", "1  refused", "2  usage error, not found, or no answer"],
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      const [principal = ""] = given.words;
      const [id, value, proposing] = [
        grantId(principal),
        JSON.stringify(grantOf(given)),
        readProposing(given),
      ];
      const response = await withConnection(given, terminal, ({ canon }) =>
        canon.proposeRecord({ id, content: { $case: "payloadJson", value }, ...proposing }),
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

const formatWithdrawn = (
  principal: string,
  { alreadyWithdrawn, auditId, ledgerPosition }: WithdrawFeedGrantResponse,
  { paint }: Terminal,
): string => {
  const said = alreadyWithdrawn ? "It was withdrawn before; nothing was changed." : `Allowed by ${auditId}.`;
  return [
    `${paint("red", "WITHDRAWN")}  ${printable(principal)}, at position ${ledgerPosition}`,
    "",
    said,
  ].join("\n");
};

export const feedWithdraw: Command = {
  name: "feed withdraw",
  about:
    "Withdraw a principal's feed grant from the next call on; its watches end at their next message. It stays a Guest until a\n" +
    "quorum grants again. Withdrawn already is no error. Takes Root of tenant system.",
  words: ["PRINCIPAL"],
  flags: { ...jsonFlag, ...connectionFlags },
  examples: [`sigil feed withdraw relay ${asRoot}`],
  exits: ["0  withdrawn", "1  refused", "2  usage error, not found, or no answer"],
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      const [principal = ""] = given.words;
      const response = await withConnection(given, terminal, ({ principals }) =>
        principals.withdrawFeedGrant({ principal }),
      );
      terminal.print(
        given.has("json")
          ? JSON.stringify(WithdrawFeedGrantResponse.toJSON(response))
          : formatWithdrawn(principal, response, terminal),
      );
      return exitCodes.ok;
    }),
};

const grantIn = ({ payloadCbor }: CanonicalRecord) => parseFeedGrant(cborDecode(payloadCbor));

const formatGrants = (records: readonly VersionedRecord[]): string =>
  formatTable(
    [
      { title: "PRINCIPAL", widthMax: 48 },
      { title: "TENANTS", widthMax: 40 },
      { title: "KINDS", widthMax: 40 },
      { title: "SPACES" },
      { title: "POSITION", align: "right" },
      { title: "TIME" },
    ],
    records.flatMap(({ record }) => {
      if (record === undefined) return [];
      const { tenants, kinds, spaces } = grantIn(record);
      const lists = [tenants, kinds, spaces].map((granted) => listText(formatGranted(granted)));
      return [
        [record.id.slice(feedGrantPrefix.length), ...lists, String(record.position), timeText(record.time)],
      ];
    }),
  );

export const feedList: Command = {
  name: "feed list",
  about: "List the feed grants that stand. Takes level Observer.",
  flags: { ...limitFlag, ...jsonFlag, ...connectionFlags },
  examples: ["sigil feed list --key .sigil/keys/observer.pem --principal observer"],
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      const limit = limitOf(given);
      const records = await withConnection(given, terminal, ({ canon }) =>
        listAll(limit, terminal, async (page) => {
          const filter = { space: Space.SPACE_SYSTEM, kind: "feed_grant" };
          const { records: items, nextPageToken } = await canon.listRecords({ filter, ...page });
          return { items, nextPageToken };
        }),
      );
      if (given.has("json"))
        for (const record of records) terminal.print(JSON.stringify(VersionedRecord.toJSON(record)));
      else terminal.print(formatGrants(records));
      return exitCodes.ok;
    }),
};

const formatFeedGrant = (principal: string, grant: FeedGrant, { paint }: Terminal): string => {
  const state = grant.withdrawn ? paint("red", "WITHDRAWN") : paint("green", "GRANTED");
  const facts = formatPairs([
    ["tenants", listText(grant.tenants)],
    ["kinds", listText(grant.kinds)],
    ["spaces", listText(grant.spaces)],
    ["record", grant.recordId],
    ["position", String(grant.ledgerPosition)],
  ]);
  return `${state}  ${printable(principal)}\n\n${facts}`;
};

export const feedShow: Command = {
  name: "feed show",
  about:
    "Show what a principal may read of the feed. Without PRINCIPAL the caller itself; another takes level Mentor.",
  words: ["[PRINCIPAL]"],
  flags: { ...jsonFlag, ...connectionFlags },
  examples: [`sigil feed show relay ${asRoot}`, "sigil feed show --key relay.pem --principal relay"],
  exits: ["0  shown", "1  refused, or it has no grant", "2  usage error, not found, or no answer"],
  run: (given, terminal) =>
    orRefusal(terminal, async () => {
      const [asked = ""] = given.words;
      const { principal } = await withConnection(given, terminal, ({ principals }) =>
        principals.getPrincipal({ principal: asked }),
      );
      const { id, feedGrant: grant } = requirePrincipal(principal);
      if (grant === undefined) {
        terminal.note(`sigil: ${printable(id)} was never given a feed grant`);
        return exitCodes.no;
      }
      terminal.print(
        given.has("json") ? JSON.stringify(FeedGrant.toJSON(grant)) : formatFeedGrant(id, grant, terminal),
      );
      return exitCodes.ok;
    }),
};
