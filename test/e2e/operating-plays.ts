/** What each page of docs/operating assumes, and what happens beside its commands while they are played. */
import { copyFile, cp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { parse } from "smol-toml";
import { parseVerifierKey } from "../../src/core/merkle/index.ts";
import { createAuthority } from "../contract/certificates.ts";
import { skipWithoutToken, useSoftHsm } from "../contract/softhsm.ts";
import { verifyTiledLog } from "../contract/tiled-log.ts";
import { unpackFormat } from "../data/formats/unpack.ts";
import { asRoot, attestBy, found, genesisIn, proposalIn, wasm } from "./page-deployment.ts";
import { blocksOf, makeDirectory, type Replaced, type Stage } from "./page.ts";

type Play = {
  /** What is there before the page begins. */
  readonly set: (stage: Stage) => Promise<void>;
  readonly replaced?: (stage: Stage, command: string) => Replaced;
  /** What happens between two commands, as the page says it. */
  readonly before?: (stage: Stage, command: string) => Promise<void>;
  readonly after?: (stage: Stage, command: string, output: string) => Promise<void> | void;
  /** Skips what cannot be had everywhere, and says why. */
  readonly needs?: (context: Mocha.Context) => void;
};

export const plays: Readonly<Record<string, () => Play>> = {
  "running.md": () => ({
    set: async (stage) => void (await stage.run("sigil init --data data --dev --origin sigil.example")),
  }),

  "configuration.md": () => ({
    set: async (stage) => {
      const [file] = blocksOf("docs/operating/configuration.md");
      await writeFile(stage.path("sigil.toml"), file?.body ?? "");
      const shows = JSON.parse(await stage.run("sigil config --config sigil.toml --json")) as readonly {
        readonly key: string;
        readonly value: unknown;
        readonly source: string;
      }[];
      const set = shows.filter(({ source }) => source.includes("sigil.toml")).map(({ key }) => key);
      expect(set).to.have.members(["data", "listen", "drain_ms", "tls.cert", "tls.key", "tls.client_ca"]);
    },
  }),

  "tiles.md": () => ({
    set: async (stage) => {
      await found(stage, { witnesses: ["alice"] });
      await stage.serve("--data", "data", "--tiles", "public");
    },
    after: async (stage) => {
      const read = (path: string): Promise<Uint8Array | undefined> =>
        readFile(stage.path(`log/${path}`)).catch(() => undefined);
      expect((await verifyTiledLog(read))?.size).to.be.at.least(1);
    },
  }),

  "secrets.md": () => ({
    set: async (stage) => {
      await makeDirectory(join(stage.home, "etc/sigil"));
      await makeDirectory(join(stage.home, "var/lib"));
      await found(stage, { data: "/var/lib/sigil", witnesses: ["alice"] });
    },
    after: (_stage, command, output) => {
      if (command.startsWith("sigil fsck")) expect(output).to.match(/clean|nothing is wrong/i);
    },
  }),

  "upgrade.md": () => ({
    set: async (stage) => {
      await makeDirectory(join(stage.home, "backup"));
      await found(stage, { witnesses: ["alice"] });
      await stage.serve("--data", "data");
    },
    before: async (stage, command) => {
      if (!command.includes("--dry-run")) return;
      // What the old program left: a directory of the format before this one.
      await stage.stop();
      await rm(stage.path("data"), { recursive: true });
      const { kekName, kek } = unpackFormat(2, stage.cwd);
      stage.env[kekName] = kek;
    },
    after: (_stage, command, output) => {
      if (command.startsWith("sigil migrate")) expect(output).to.match(/\bformat 2\b/);
    },
  }),

  "hsm.md": () => {
    let remove = async (): Promise<void> => {};
    let library = "";
    return {
      needs: skipWithoutToken,
      set: async (stage) => {
        const hsm = await useSoftHsm({ tokens: { sigil: "1234" } });
        ({ remove, library } = hsm);
        Object.assign(stage.env, hsm.env, { SIGIL_PKCS11_PIN: "1234" });
        for (const name of ["root", "alice"]) await stage.run(`sigil key new ${name}.pem`);
      },
      replaced: () => [
        [/\/usr\/lib\/softhsm\/libsofthsm2\.so/g, library],
        [
          / … /g,
          ' --root "$(sigil key show root.pem)" --witness alice="$(sigil key show alice.pem)" --quorum 1 ',
        ],
      ],
      before: async (stage, command) => {
        if (command.startsWith("sigil keys rewrap")) await stage.stop();
      },
      after: async (_stage, command) => {
        if (command.startsWith("sigil keys rewrap")) await remove();
      },
    };
  },

  "keys.md": () => {
    let [genesis, proposal] = ["", ""];
    return {
      set: async (stage) => {
        genesis = await found(stage, { witnesses: ["witness"], principals: ["ann=operator:acme"] });
        await stage.run("sigil key show witness.pem");
        await copyFile(stage.path("witness.pem"), stage.path("witness.key"));
        await stage.serve("--data", "data", "--checkpoint-mldsa44");
        await stage.run("sigil check --action read --target public/docs --key ann.pem --principal ann");
      },
      replaced: () => [
        [/\bHASH\b/g, genesis],
        [/proposal\/…/g, proposal],
      ],
      after: (_stage, command, output) => {
        proposal = proposalIn(output) ?? proposal;
        if (command.startsWith("sigil keys walk")) expect(output).to.contain("verified");
        if (command.includes("rotate data")) expect(output).to.match(/acme +2 /);
      },
    };
  },

  "modules.md": () => {
    let proposal = "";
    return {
      set: async (stage) => {
        await found(stage, { witnesses: ["alice"], principals: ["max=mentor:acme", "ann=operator:acme"] });
        await stage.serve("--data", "data");
        await wasm(stage);
        await writeFile(stage.path("letter.json"), '{"text":"Ask ada@example.com"}');
      },
      replaced: () => [[/\bPROPOSAL\b/g, proposal]],
      before: async (stage, command) => {
        const who = command.startsWith("sigil module run") ? "ann" : "max";
        Object.assign(stage.env, { SIGIL_CLIENT_KEY: `${who}.pem`, SIGIL_CLIENT_PRINCIPAL: who });
      },
      after: (_stage, command, output) => {
        proposal = proposalIn(output) ?? proposal;
        if (command.startsWith("sigil module list")) expect(output).to.contain("redact");
      },
    };
  },

  "feed.md": () => ({
    set: async (stage) => {
      const principals = ["mentor=mentor:acme", "relay=observer:relays"];
      await found(stage, { witnesses: ["alice"], principals });
      await stage.serve("--data", "data");
    },
    after: async (stage, command, output) => {
      if (command.startsWith("sigil feed grant")) await attestBy(stage, proposalIn(output) ?? "", "alice");
      if (command.startsWith("sigil feed list")) expect(output).to.match(/relay +all +frozen_chain +user/);
      if (command.startsWith("sigil feed show")) expect(output).to.contain("GRANTED  relay");
      if (command.startsWith("sigil feed withdraw")) expect(output).to.contain("WITHDRAWN  relay");
    },
  }),

  "witness.md": () => {
    let genesis = "";
    return {
      set: async (stage) => {
        genesis = await found(stage, { witnesses: ["alice"] });
        await stage.serve("--data", "data");
      },
      replaced: () => [[/5be4f6a1…/g, genesis]],
      after: async (stage, command, output) => {
        if (command.includes("--vkey")) expect(parseVerifierKey(output.trim()).use).to.equal("cosigner");
        if (!command.startsWith("sigil keys walk")) return;
        // As the page says: its reader copies the key that was printed.
        const [, key = ""] = /^log key +(\S+)$/m.exec(output) ?? [];
        expect(parseVerifierKey(key).use).to.equal("log");
        await writeFile(stage.path("logs.policy"), `log ${key}\nquorum none\n`);
      },
    };
  },

  "relay.md": () => {
    let genesis = "";
    return {
      set: async (stage) => {
        const at = (name: string): string => join(stage.home, name);
        for (const name of ["var/log", "var/lib"]) await makeDirectory(at(name));
        const principals = ["feed=observer:relays"];
        genesis = await found(stage, { data: "/var/lib/sigil", witnesses: ["alice"], principals });
        const [served, own] = blocksOf("docs/operating/relay.md").filter(
          ({ language }) => language === "toml",
        );
        const [siem] = parse(served?.body ?? "")["relays"] as readonly Readonly<Record<string, unknown>>[];
        const relays = JSON.stringify([{ ...siem, kinds: undefined, directory: at("var/log/sigil") }]);
        await stage.serve("--data", at("var/lib/sigil"), "--relays", relays);
        // The server of the page has its relays still, which publish to the same place.
        const moved = own?.body.replace("/var/log/sigil", "/var/log/sigil-relay") ?? "";
        await writeFile(stage.path("relays.toml"), moved.replaceAll('"/var/', `"${at("var")}/`));
        const asked = await stage.run(
          `sigil feed grant feed --tenant '*' --kind '*' --space '*' --reason relays ${asRoot}`,
        );
        await attestBy(stage, proposalIn(asked) ?? "", "alice");
      },
      replaced: (stage) => [
        // The deployment of the page has more records than this one.
        [/--to 120450/g, "--to 2"],
        [/5be4f6a1…/g, genesis],
        [/sigil\.example:443/g, stage.target],
      ],
      after: (_stage, command, output) => {
        if (command.startsWith("sigil relay status")) expect(output).to.match(/^siem /m);
      },
    };
  },

  "stolen-key.md": () => {
    let proposal = "";
    const check = "sigil check --action read --target public/docs --key operator.pem --principal operator";
    return {
      set: async (stage) => {
        await stage.run("sigil init --data data --dev --origin sigil.example");
        for (const name of ["root", "mentor", "operator", "observer", "witness-1", "witness-2"]) {
          await copyFile(stage.path(`data.keys/${name}.pem`), stage.path(`${name}.pem`));
        }
        await stage.serve("--data", "data");
        // What the page lists of the tenant is there in a deployment that was in use.
        await stage.run(check);
      },
      before: async (stage) => void (stage.env["PROPOSAL"] = proposal),
      after: async (stage, command, output) => {
        proposal = command.startsWith("sigil principal lift") ? (proposalIn(output) ?? "") : proposal;
        if (command.startsWith("sigil principal show observer")) {
          stage.env["THUMBPRINT"] = /^([\w-]{43}) +good/m.exec(output)?.[1] ?? "";
        }
        if (command.startsWith("sigil principal suspend operator")) {
          expect(output).to.contain("SUSPENDED  operator").and.contain("laptop stolen on the train");
        }
        if (command.startsWith("sigil principal list")) {
          expect(output).to.match(/operator +demo +Operator +suspended/);
        }
        if (command.startsWith("sigil principal show operator"))
          expect(output).to.contain("ACTIVE  operator");
      },
    };
  },

  "backup.md": () => {
    let [genesis, auditId] = ["", ""];
    const elsewhere = (stage: Stage): string => join(stage.home, "elsewhere");
    return {
      set: async (stage) => {
        for (const name of ["backup", "secure/place"]) await makeDirectory(join(stage.home, name));
        genesis = await found(stage, { witnesses: ["alice"] });
        await stage.serve("--data", "data");
        const asked = await stage.run("sigil check --action read --target public/docs --json");
        ({ auditId } = JSON.parse(asked) as { readonly auditId: string });
        await stage.run("sigil audit checkpoint > last-checkpoint.txt");
      },
      replaced: () => [
        [/5be4f6a1…/g, genesis],
        [/0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11/g, auditId],
      ],
      before: async (stage, command) => {
        if (command.startsWith("sigil restore --from /backup")) {
          await stage.stop();
          await rename(stage.path("data"), stage.path("lost"));
          await copyFile(stage.path("kek"), join(stage.home, "secure/place/sigil.kek"));
        }
        if (!command.startsWith("sigil restore --from backup")) return;
        // Another machine, where nothing of the first one is left.
        await stage.stop();
        const there = elsewhere(stage);
        await makeDirectory(there);
        await cp(join(stage.home, "backup/sigil"), join(there, "backup"), { recursive: true });
        await cp(stage.path("kek"), join(there, "sigil.kek"));
        for (const name of ["alice.checkpoint", "root.pem"]) await cp(stage.path(name), join(there, name));
        for (const name of ["data", "lost", "kek", "backup", "secure"]) {
          await rm(join(stage.home, name), { recursive: true });
        }
        stage.cwd = there;
      },
      after: async (stage, command, output) => {
        // The ledger was set back to a backup once: whoever held more signs no more, and this backup is from after it.
        if (command.startsWith("sigil witness cosign")) {
          await stage.run("sigil audit checkpoint > last-checkpoint.txt");
          await stage.run(`sigil backup --to /backup/sigil ${asRoot}`);
        }
        if (command.startsWith("sigil canon list")) expect(output).to.match(/restoration\/[0-9a-f-]{36}/);
      },
    };
  },

  "first-deployment.md": () => {
    let [genesis, proposal] = ["", ""];
    const known = new Map<string, string>();
    const people = ["bob", "carol", "ann", "carol-2", "dave"];
    return {
      set: async (stage) => {
        await makeDirectory(join(stage.home, "var/lib"));
        using authority = await createAuthority();
        const { cert, key } = await authority.issue("server", "DNS:sigil.example,IP:127.0.0.1");
        await copyFile(authority.ca, stage.path("ca.pem"));
        await copyFile(cert, stage.path("server.pem"));
        await copyFile(key, stage.path("server-key.pem"));
        for (const name of people) await stage.run(`sigil key new ${name}.pem`);
      },
      replaced: (_stage, command) => {
        const keyOf = (name: string): string => known.get(name) ?? "";
        const changed = command.includes("replace carol") ? "carol-2" : "dave";
        return [
          [/--root ed25519:\S+/g, `--root ${keyOf("root")}`],
          ...["alice", "bob", "carol"].map(
            (name) => [new RegExp(`${name}=ed25519:\\S+`, "g"), `${name}=${keyOf(name)}`] as const,
          ),
          [/--public-key ed25519:\S+/g, `--public-key ${keyOf(changed)}`],
          [/\bHASH\b/g, genesis],
          [/\b01a20589-[0-9a-f-]{27}/g, proposal],
        ];
      },
      before: async (stage, command) => {
        if (command.startsWith("sigil init")) {
          for (const name of ["alice", "root", ...people]) {
            known.set(name, (await stage.run(`sigil key show ${name}.pem`)).trim());
          }
        }
        if (command.startsWith("sigil propose ann.json")) {
          const file = blocksOf("docs/operating/first-deployment.md").find(
            ({ language }) => language === "json",
          );
          const body = file?.body.replace(/ed25519:[\w-]+/, known.get("ann") ?? "") ?? "";
          await writeFile(stage.path("ann.json"), body);
        }
      },
      after: async (stage, command, output) => {
        if (command.startsWith("sigil init")) genesis = genesisIn(output);
        if (command.startsWith("sigil canon get genesis")) {
          expect(stage.notes).to.contain("Verified here, from the genesis hash");
        }
        if (command.startsWith("sigil attest")) return;
        proposal = proposalIn(output)?.slice("proposal/".length) ?? proposal;
        const caller = "--caller root --caller-key root.pem --yes";
        if (command.startsWith("sigil witness add dave")) {
          await stage.run(`sigil attest ${proposal} --key dave.pem ${caller}`);
          await attestBy(stage, proposal, "alice", "bob");
        }
        // The others sign before the new key does, whose line is printed next.
        if (command.startsWith("sigil witness replace")) await attestBy(stage, proposal, "alice", "bob");
      },
    };
  },

  "commands.md": () => {
    let [proposal, hash, first] = ["", "", ""];
    const propose = async (stage: Stage): Promise<void> => {
      const words = "sigil propose model.json --id trust_model/active --reason later";
      proposal = proposalIn(await stage.run(words)) ?? "";
    };
    const thumbprintOf = async (stage: Stage, principal: string): Promise<string> =>
      /^([\w-]{43}) +good/m.exec(await stage.run(`sigil principal show ${principal} ${asRoot}`))?.[1] ?? "";
    let thumbprint = "";
    return {
      set: async (stage) => {
        await found(stage, {
          witnesses: ["alice", "bob"],
          principals: ["max=mentor:acme", "operator=operator:acme", "deploy=operator:acme"],
        });
        for (const name of ["carol", "carol-2"]) await stage.run(`sigil key new ${name}.pem`);
        await stage.serve("--data", "data");
        await writeFile(stage.path("flags.json"), '{"dark":true}');
        await wasm(stage);
        thumbprint = await thumbprintOf(stage, "deploy");
        first = (await stage.run("sigil key show carol-2.pem")).trim();
      },
      replaced: () => [
        [/08e7db9c…/g, hash],
        [/proposal\/0199f3a1-7c1e-7d59-9d0a-3f1b8f6f2c11|\bID\b/g, proposal],
        [/ed25519:…/g, first],
        [/eTWTHiDz13f6sxr9FbrULRYx1xdU0ZyA6pGW8h2hqqM/g, thumbprint],
      ],
      before: async (stage, command) => {
        const isOperators = /^sigil (?:canon (?:put|rm|history|list)|canon get config|module run)/.test(
          command,
        );
        const who = isOperators ? "operator" : command.startsWith("sigil principal suspend") ? "root" : "max";
        Object.assign(stage.env, { SIGIL_CLIENT_KEY: `${who}.pem`, SIGIL_CLIENT_PRINCIPAL: who });
        if (command.includes("--expect 3")) {
          for (let version = 2; version <= 3; version += 1) {
            await stage.run("sigil canon put config/flags --kind config --json-file flags.json");
          }
        }
        if (command.includes("--link")) {
          await stage.run("sigil canon get config/flags");
          hash = genesisIn(stage.notes);
        }
        if (command.startsWith("sigil proposal ID")) await propose(stage);
        if (command.startsWith("sigil key new root.pem")) {
          // The operator's machine, at the beginning.
          stage.cwd = join(stage.home, "new");
          for (const name of [stage.cwd, ...["etc/sigil", "var/lib"].map((each) => join(stage.home, each))]) {
            await makeDirectory(name);
          }
        }
      },
      after: async (stage, command, output) => {
        if (command.startsWith("sigil attest")) return;
        proposal = proposalIn(output) ?? proposal;
        if (command.includes("> model.json")) {
          const model = JSON.parse(await stage.read("model.json")) as Record<string, unknown>;
          await writeFile(stage.path("model.json"), JSON.stringify({ ...model, threshold: 0.52 }));
        }
        const caller = "--caller max --caller-key max.pem --yes";
        if (command.startsWith("sigil witness add")) {
          await stage.run(`sigil attest ${proposal} --key carol.pem ${caller}`);
          await attestBy(stage, proposal, "alice");
        }
        if (command.startsWith("sigil quorum")) await attestBy(stage, proposal, "alice", "bob", "carol");
        if (command.startsWith("sigil module propose")) await attestBy(stage, proposal, "alice", "bob");
      },
    };
  },
};
