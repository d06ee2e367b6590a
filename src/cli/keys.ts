/** `sigil keys list`, `rotate` and `retire`: the keys a deployment signs with, while it serves. */
import {
  KeyRole,
  KeyState,
  ListKeysResponse,
  RetireKeyResponse,
  RotateKeyResponse,
  type SigningKey,
} from "@sigil/client";
import { fromBase64Url, toBase64Url } from "../record/bytes.ts";
import { countOf, exitCodes, jsonFlag, usage, type Command } from "./command.ts";
import { connectionFlags, withConnection } from "./connection.ts";
import { orRefusal } from "./refusal.ts";
import { formatTable } from "./terminal.ts";

const thumbprintBytes = 32;
const roleNames: ReadonlyMap<KeyRole, string> = new Map([
  [KeyRole.KEY_ROLE_RECORD, "record"],
  [KeyRole.KEY_ROLE_CHECKPOINT, "checkpoint"],
]);
const stateNames: ReadonlyMap<KeyState, string> = new Map([
  [KeyState.KEY_STATE_ACTIVE, "active"],
  [KeyState.KEY_STATE_ENDED, "ended"],
  [KeyState.KEY_STATE_RETIRED, "retired"],
]);
const unknownName = "unknown";

const roleName = (role: KeyRole): string => roleNames.get(role) ?? unknownName;

const readRole = (text: string): KeyRole => {
  for (const [role, name] of roleNames) if (name === text) return role;
  return usage("ROLE must be record or checkpoint");
};

const readThumbprint = (text: string, what: string): Uint8Array => {
  try {
    const bytes = fromBase64Url(text);
    if (bytes.length === thumbprintBytes) return bytes;
  } catch {
    // Said below.
  }
  return usage(`${what} must be a key's thumbprint; sigil keys list shows them`);
};

const required = (key: SigningKey | undefined): SigningKey =>
  key ?? usage("the server answered without a key");

const formatKeys = (keys: readonly SigningKey[]): string =>
  formatTable(
    [
      { title: "ROLE" },
      { title: "THUMBPRINT" },
      { title: "FIRST", align: "right" },
      { title: "LAST", align: "right" },
      { title: "STATE" },
    ],
    keys.map(({ role, thumbprint, firstPosition, lastPosition, state, retiredFrom }) => [
      roleName(role),
      toBase64Url(thumbprint),
      String(firstPosition),
      String(lastPosition ?? "–"),
      (stateNames.get(state) ?? unknownName) + (retiredFrom === undefined ? "" : ` from ${retiredFrom}`),
    ]),
  );

const changeFlags = { ...jsonFlag, ...connectionFlags } as const;
const changeExits = ["0  done", "1  refused", "2  used wrongly, or could not ask"];
const asRoot = "--key root.pem --principal root";

export const keysList: Command = {
  name: "keys list",
  about:
    "List the keys that sign records and checkpoints, and where each begins and ends. Takes Root of tenant system.",
  flags: changeFlags,
  examples: [`sigil keys list ${asRoot}`],
  run: async (given, terminal) => {
    const response = await withConnection(given, terminal, ({ keys }) => keys.listKeys({}));
    const json = given.has("json");
    terminal.print(json ? JSON.stringify(ListKeysResponse.toJSON(response)) : formatKeys(response.keys));
    return exitCodes.ok;
  },
};

export const keysRotate: Command = {
  name: "keys rotate",
  about:
    "Put a new key in the place of the one that signs records or checkpoints, while the server serves. The old one signs\n" +
    "the record that announces the new one and is destroyed. Takes Root of tenant system.",
  words: ["ROLE"],
  flags: {
    expect: { value: "THUMBPRINT", about: "Rotate only while this key is in use." },
    ...changeFlags,
  },
  examples: [`sigil keys rotate record ${asRoot}`, `sigil keys rotate checkpoint ${asRoot}`],
  exits: changeExits,
  run: (given, terminal) => {
    const role = readRole(given.words[0] ?? "");
    const expected = given.text("expect");
    const expectedThumbprint =
      expected === undefined ? new Uint8Array(0) : readThumbprint(expected, "--expect");
    return orRefusal(terminal, async () => {
      const response = await withConnection(given, terminal, ({ keys }) =>
        keys.rotateKey({ role, expectedThumbprint }),
      );
      const key = required(response.key);
      if (given.has("json")) terminal.print(JSON.stringify(RotateKeyResponse.toJSON(response)));
      else terminal.print(formatKeys([key]));
      return exitCodes.ok;
    });
  },
};

export const keysRetire: Command = {
  name: "keys retire",
  about:
    "Believe a key only below a position, after it was or may have been stolen. One in use is rotated first. What it\n" +
    "signed before the position stands; what it signed from there on is refused as damaged, also what the server itself\n" +
    "wrote. Cannot be taken back. Takes Root of tenant system.",
  words: ["THUMBPRINT"],
  flags: {
    from: {
      value: "POSITION",
      about: "The first position at which it counts for nothing; the ledger's size unless told.",
    },
    ...changeFlags,
  },
  examples: [
    `sigil keys retire eTWTHiDz13f6sxr9FbrULRYx1xdU0ZyA6pGW8h2hqqM ${asRoot}`,
    `sigil keys retire eTWTHiDz13f6sxr9FbrULRYx1xdU0ZyA6pGW8h2hqqM --from 120450 ${asRoot}`,
  ],
  exits: changeExits,
  run: (given, terminal) => {
    const thumbprint = readThumbprint(given.words[0] ?? "", "THUMBPRINT");
    const fromPosition = countOf(given, "from", 1n);
    return orRefusal(terminal, async () => {
      const response = await withConnection(given, terminal, ({ keys }) =>
        keys.retireKey({ thumbprint, ...(fromPosition === undefined ? {} : { fromPosition }) }),
      );
      const key = required(response.key);
      if (given.has("json")) terminal.print(JSON.stringify(RetireKeyResponse.toJSON(response)));
      else terminal.print(formatKeys([key]));
      return exitCodes.ok;
    });
  },
};
