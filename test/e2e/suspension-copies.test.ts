/** A suspension is the ledger's: it stands after whatever makes a deployment again from its records. */
import { chmod, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { sigilHere } from "./command.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { refusalOf } from "./refusal.ts";
import { asks, people, thumbprintOf } from "./suspended-world.ts";

const enrolled = people();
const keyOf = (id: string, at = 0) => {
  const key = enrolled[id]?.keys[at];
  if (key === undefined) throw new Error(`${id} has no such key`);
  return key;
};
const also = Object.entries(enrolled).map(([id, { level: loa, ...named }]) => ({ id, loa, ...named }));

type Copying = {
  /** From a deployment, while it serves. */
  readonly before?: (at: Place) => Promise<void>;
  /** @returns where it is then, with nobody serving it. */
  readonly after: (at: Place) => Promise<string>;
};

type Place = {
  readonly parent: string;
  readonly run: (...words: readonly string[]) => Promise<void>;
};

/** As the program of that format left it, as far as its number says. */
const setFormat = async (path: string, format: number): Promise<void> => {
  const about = JSON.parse(await readFile(path, "utf8")) as object;
  await writeFile(path, JSON.stringify({ ...about, format }));
};

const copyings: Readonly<Record<string, Copying>> = {
  "a restart": { after: async ({ parent }) => join(parent, "data") },
  "a rebuild of the indexes": {
    after: async ({ parent, run }) => {
      await run("fsck", "--data", "data", "--rebuild-indexes");
      return join(parent, "data");
    },
  },
  "a migration": {
    after: async ({ parent, run }) => {
      await setFormat(join(parent, "data", "deployment.json"), 2);
      await run("migrate", "--data", "data");
      return join(parent, "data");
    },
  },
  "a backup and a restore": {
    before: ({ run }) => run("backup", "--to", "backup", "--key", "root.pem", "--principal", "root"),
    after: async ({ parent, run }) => {
      await run("restore", "--from", "backup", "--data", "restored", "--kek", "file:kek");
      return join(parent, "restored");
    },
  },
};

/** Whom the suspensions stop, and whom they do not. */
const expectSuspended = async (served: ServedDeployment): Promise<void> => {
  const by = (id: string, at = 0) => asks(served.by(id, keyOf(id, at)));
  expect(await refusalOf(by("owen"))).to.include({ reason: "PRINCIPAL_SUSPENDED" });
  expect(await refusalOf(by("may"))).to.include({ reason: "KEY_SUSPENDED" });
  await by("may", 1);
  await by("eve");
  const { principals } = await served.as("root").principals.listPrincipals({ suspendedOnly: true });
  expect(principals.map(({ id }) => id)).to.deep.equal(["may", "owen"]);
  const [may, owen] = principals;
  expect(owen?.suspension).to.include({ reason: "stolen", by: "root" });
  expect(may?.suspension).to.equal(undefined);
  expect(may?.keys.map(({ suspension }) => suspension?.by)).to.deep.equal(["root", undefined]);
};

const suspendBoth = async (served: ServedDeployment): Promise<void> => {
  const { principals } = served.as("root");
  const reason = "stolen";
  await principals.suspendPrincipal({ principal: "owen", reason });
  await principals.suspendPrincipal({ principal: "may", keyThumbprint: thumbprintOf(keyOf("may")), reason });
};

const placeOf = async ({ directory, privateKeys }: Deployment, target: string): Promise<Place> => {
  const parent = dirname(directory);
  const key = join(parent, "root.pem");
  await writeFile(key, privateKeys.root.export({ format: "pem", type: "pkcs8" }));
  await chmod(key, 0o600);
  const run = async (...words: readonly string[]): Promise<void> => {
    const env = { SIGIL_CLIENT_SERVER: target };
    const { exitCode, problems } = await sigilHere(words, { cwd: parent, env });
    expect(exitCode, `sigil ${words.join(" ")}: ${problems}`).to.equal(0);
  };
  return { parent, run };
};

describe("suspensions stand", function () {
  this.slow(5000);

  for (const [name, { before, after }] of Object.entries(copyings)) {
    it(`after ${name}, and the inspection finds nothing`, async () => {
      await using deployment = await makeDeployment({ also });
      let place: Place;
      {
        await using served = await deployment.serve();
        place = await placeOf(deployment, served.server.target);
        await suspendBoth(served);
        await before?.(place);
      }
      const data = await after(place);
      await place.run("fsck", "--data", data);
      await using again = await deployment.serve({ config: { data } });
      await expectSuspended(again);
    });
  }
});
