/** `sigil keys list`, `rotate` and `retire`: the signing and data keys of a running deployment. */
import {
  DataKey,
  DataKeyState,
  KeyRole,
  KeyState,
  ListKeysResponse,
  RetireKeyResponse,
  RotateDataKeyResponse,
  RotateKeyResponse,
  type KeyClient,
  type SigningKey,
} from "@sigil/client";
import { fromBase64Url, toBase64Url } from "@sigil/core/bytes";
import {
  countOf,
  exitCodes,
  jsonFlag,
  usage,
  type Arguments,
  type Command,
  type ExitCode,
} from "../terminal/command.ts";
import { connectionFlags, withConnection } from "../call/connection.ts";
import { listAll } from "../call/listing.ts";
import { orRefusal } from "../call/refusal.ts";
import { formatTable, printable, type Terminal } from "../terminal/terminal.ts";

const thumbprintBytes = 32;
const roleNames: ReadonlyMap<KeyRole, string> = new Map([
  [KeyRole.KEY_ROLE_RECORD, "record"],
  [KeyRole.KEY_ROLE_CHECKPOINT, "checkpoint"],
  [KeyRole.KEY_ROLE_CHECKPOINT_MLDSA44, "checkpoint_mldsa44"],
]);
const stateNames: ReadonlyMap<KeyState, string> = new Map([
  [KeyState.KEY_STATE_ACTIVE, "active"],
  [KeyState.KEY_STATE_ENDED, "ended"],
  [KeyState.KEY_STATE_RETIRED, "retired"],
]);
const dataStateNames: ReadonlyMap<DataKeyState, string> = new Map([
  [DataKeyState.DATA_KEY_STATE_SEALING, "sealing"],
  [DataKeyState.DATA_KEY_STATE_OPENING, "opening"],
  [DataKeyState.DATA_KEY_STATE_DESTROYED, "destroyed"],
]);
const unknownName = "unknown";
const dataRole = "data";

const roleName = (role: KeyRole): string => roleNames.get(role) ?? unknownName;

const readRole = (text: string): KeyRole => {
  for (const [role, name] of roleNames) if (name === text) return role;
  return usage("ROLE must be record, checkpoint, checkpoint_mldsa44 or data");
};

const readThumbprint = (text: string, what: string): Uint8Array => {
  try {
    const bytes = fromBase64Url(text);
    if (bytes.length === thumbprintBytes) return bytes;
  } catch {
    // Reported below.
  }
  return usage(`${what} must be a key's thumbprint; sigil keys list shows them`);
};

const required = <Key>(key: Key | undefined): Key => key ?? usage("the server answered without a key");

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

const formatDataKeys = (keys: readonly DataKey[]): string =>
  formatTable(
    [
      { title: "TENANT" },
      { title: "VERSION", align: "right" },
      { title: "SEALS", align: "right" },
      { title: "FIRST", align: "right" },
      { title: "STATE" },
    ],
    keys.map(({ tenant, version, seals, firstPosition, state }) => [
      printable(tenant),
      String(version),
      String(seals),
      String(firstPosition ?? "–"),
      dataStateNames.get(state) ?? unknownName,
    ]),
  );

const allSigningKeys = (keys: KeyClient, terminal: Terminal): Promise<readonly SigningKey[]> =>
  listAll(Infinity, terminal, async (page) => {
    const { keys: items, nextPageToken } = await keys.listKeys(page);
    return { items, nextPageToken };
  });

const allDataKeys = (keys: KeyClient, terminal: Terminal, tenant: string): Promise<readonly DataKey[]> =>
  listAll(Infinity, terminal, async (page) => {
    const { dataKeys: items, nextPageToken } = await keys.listDataKeys({ tenant, ...page });
    return { items, nextPageToken };
  });

const changeFlags = { ...jsonFlag, ...connectionFlags } as const;
const changeExits = ["0  done", "1  refused", "2  usage error, or no answer"];
const asRoot = "--key root.pem --principal root";

export const keysList: Command = {
  name: "keys list",
  about:
    "List the keys that sign records and checkpoints, and where each begins and ends; then the data keys that encrypt\n" +
    "tenants' records. Takes Root of tenant system.",
  flags: {
    tenant: { value: "TENANT", about: "Only the data keys of this tenant." },
    ...changeFlags,
  },
  examples: [`sigil keys list ${asRoot}`, `sigil keys list --tenant acme --json ${asRoot}`],
  run: async (given, terminal) => {
    const tenant = given.text("tenant") ?? "";
    const [signingKeys, dataKeys] = await withConnection(given, terminal, async ({ keys }) => [
      await allSigningKeys(keys, terminal),
      await allDataKeys(keys, terminal, tenant),
    ]);
    if (given.has("json")) {
      const signing = ListKeysResponse.toJSON({ keys: [...signingKeys], nextPageToken: "" }) as object;
      terminal.print(JSON.stringify({ ...signing, dataKeys: dataKeys.map((key) => DataKey.toJSON(key)) }));
    } else if (tenant === "") {
      terminal.print(`${formatKeys(signingKeys)}\n\n${formatDataKeys(dataKeys)}`);
    } else terminal.print(formatDataKeys(dataKeys));
    return exitCodes.ok;
  },
};

const rotateData = (given: Arguments, terminal: Terminal): Promise<ExitCode> => {
  const tenant = given.text("tenant") ?? usage("sigil keys rotate data needs --tenant TENANT");
  const expected = countOf(given, "expect", 1n);
  return orRefusal(terminal, async () => {
    const response = await withConnection(given, terminal, ({ keys }) =>
      keys.rotateDataKey({ tenant, expectedVersion: Number(expected ?? 0n) }),
    );
    const key = required(response.dataKey);
    if (given.has("json")) terminal.print(JSON.stringify(RotateDataKeyResponse.toJSON(response)));
    else terminal.print(formatDataKeys([key]));
    return exitCodes.ok;
  });
};

export const keysRotate: Command = {
  name: "keys rotate",
  about:
    "Put a new key in the place of the one that signs records or checkpoints, while the server serves. The old one signs\n" +
    "the record that announces the new one and is destroyed. With ROLE data a tenant gets a new version of its data key:\n" +
    "what is written from now on is encrypted with it, and the versions before it only open. Takes Root of tenant system.",
  words: ["ROLE"],
  flags: {
    tenant: { value: "TENANT", about: "Whose data key; with ROLE data alone." },
    expect: {
      value: "KEY",
      about: "Rotate only while this one is in use: a thumbprint, or a data key's version.",
    },
    ...changeFlags,
  },
  examples: [
    `sigil keys rotate record ${asRoot}`,
    `sigil keys rotate checkpoint ${asRoot}`,
    `sigil keys rotate checkpoint_mldsa44 ${asRoot}`,
    `sigil keys rotate data --tenant acme ${asRoot}`,
  ],
  exits: changeExits,
  run: (given, terminal) => {
    if (given.words[0] === dataRole) return rotateData(given, terminal);
    const role = readRole(given.words[0] ?? "");
    if (given.has("tenant")) usage("--tenant goes with ROLE data alone");
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
    "Trust a key only below a position, after it was or may have been stolen. A key in use is rotated first. What it\n" +
    "signed before the position stays valid; later signatures are refused as damaged, including those of the server\n" +
    "itself. Cannot be undone. Takes Root of tenant system.",
  words: ["THUMBPRINT"],
  flags: {
    from: {
      value: "POSITION",
      about: "The first position at which its signatures are invalid; default the ledger's size.",
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
