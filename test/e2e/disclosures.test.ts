/**
 * What opens the commitments of records, beyond the server: of whoever may see inputs, where they ask for it, and of a
 * relay that is told to. Every record is the same with it and without.
 */
import type { KeyObject } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import {
  ProofError,
  RecordProof,
  RecordView,
  Space,
  watchVerified,
  type CanonicalRecord,
  type SigilConnection,
  type VerifiedEvent,
  type WatchRequest,
  type WatchResponse,
} from "@sigil/client";
import { readRelays } from "../../src/config/relays.ts";
import { toHex } from "../../src/core/bytes.ts";
import { cborDecode } from "../../src/core/cbor/cbor.ts";
import { decodeDisclosed } from "../../src/core/record/commitment.ts";
import { disclosedMediaType, envelopeMediaType } from "../../src/relay/event.ts";
import { readFileMessages } from "../contract/relay-messages.ts";
import { dataOf, disclosedCanary, holdsCanary, until, type SeenMessage } from "../contract/relay-world.ts";
import { running } from "./command.ts";
import { Council, json, newKey } from "./council.ts";
import { json as inputJson } from "./modules.ts";
import { refusalOf } from "./refusal.ts";

const spaces = [Space.SPACE_USER, Space.SPACE_SYSTEM];
const everything = { tenants: ["*"], allKinds: true, spaces, fromPosition: 0n } as const;
const asked = (request: object): Partial<WatchRequest> => request;

describe("what opens commitments", function () {
  this.slow(20_000);
  let council: Council;
  let genesis: Uint8Array = new Uint8Array(0);
  let auditId = "";
  let other = "";
  const key: KeyObject = newKey();
  const root = (): SigilConnection => council.as("root");
  const reader = () => council.served.server.ledger.reader;
  const path = (name: string): string => join(council.deployment.directory, "..", name);

  /** Records of a watch up to what there is now. */
  const read = async (request: object, by: SigilConnection): Promise<readonly CanonicalRecord[]> => {
    const [records, end] = [[] as CanonicalRecord[], reader().size];
    for await (const { event, nextPosition } of by.canon.watch(asked({ heartbeatSeconds: 1, ...request }))) {
      if (event?.$case === "record" && event.value.record !== undefined) records.push(event.value.record);
      if (nextPosition >= end) break;
    }
    return records;
  };

  const grant = async (names: object): Promise<void> => {
    const content = json({ tenants: ["*"], kinds: ["*"], spaces: ["*"], ...names });
    await council.approve(await council.propose({ id: "feed_grant/feed", content }), "ann", "ben");
  };

  before(async () => {
    const also = [{ id: "feed", loa: "observer", tenant: "relays", keys: [key] }] as const;
    const relay = (directory: string, name: string, more: object) => ({
      name,
      to: "files",
      directory: join(directory, "..", name),
      ...more,
    });
    council = await Council.open({ otherTenants: ["beta"], also }, (directory) => {
      const tables = [
        relay(directory, "opened", { disclosures: true }),
        relay(directory, "views", { disclosures: true, format: "json" }),
        relay(directory, "plain", {}),
        relay(directory, "plain-views", { format: "json" }),
        relay(directory, "facts", { data: "metadata" }),
      ];
      return { config: { relays: readRelays(JSON.stringify(tables)) } };
    });
    genesis = (await reader().readAt(0n)).hash;
    const question = { action: "read", target: "public/docs", keepInput: true };
    const kept = await council
      .as("operator")
      .trust.check({ ...question, input: Buffer.from(disclosedCanary) });
    const second = await council.as("operator").trust.check({ ...question, input: Buffer.from("another") });
    [auditId, other] = [kept.auditId, second.auditId];
    await council.as("operator").modules.run({ name: "hello", input: inputJson({ name: disclosedCanary }) });
    await grant({});
  });
  after(() => council[Symbol.asyncDispose]());

  describe("in a watch", () => {
    it("is sent to an Observer that asks for it, of decisions and of runs, and to nobody who does not ask", async () => {
      for (const [by, tenants] of [
        [council.as("observer"), []],
        [root(), ["*"]],
      ] as const) {
        for (const request of [
          // Of the feed, and of the index of a tenant.
          { tenants, allKinds: true, fromPosition: 0n },
          { tenants: ["acme"], kinds: ["module_run"], fromPosition: 0n },
        ]) {
          const withheld = await read(request, by);
          expect(withheld.some(({ disclosures }) => disclosures.length > 0)).to.equal(false);
          const opened = await read({ ...request, disclosures: true }, by);
          const ofKinds = new Set(
            opened.flatMap(({ disclosures, kind }) => (disclosures.length > 0 ? [kind] : [])),
          );
          expect([...ofKinds].sort()).to.deep.equal(
            "allKinds" in request ? ["frozen_chain", "module_run"] : ["module_run"],
          );
          const bare = (record: CanonicalRecord): CanonicalRecord => ({
            ...record,
            disclosures: Buffer.alloc(0),
          });
          expect(opened.slice(0, withheld.length).map(bare)).to.deep.equal(withheld.map(bare));
        }
      }
      const opened = await read({ ...everything, disclosures: true }, root());
      const record = opened.find(({ id }) => id === auditId);
      const openings = cborDecode(record?.disclosures ?? Buffer.alloc(0)) as {
        readonly input: { readonly raw: Uint8Array };
      };
      expect(Buffer.from(openings.input.raw).toString()).to.equal(disclosedCanary);
    });

    it("needs whole records", async () => {
      const view = RecordView.RECORD_VIEW_METADATA;
      const refused = await refusalOf(read({ disclosures: true, view }, council.as("observer")));
      expect(refused.codeName).to.equal("INVALID_ARGUMENT");
      expect(refused.fieldViolations[0]).to.include({ field: "disclosures" });
    });

    it("is not for a feed reader, whatever its grant names", async () => {
      const feed = council.served.by("feed", key);
      for (const request of [
        everything,
        { tenants: ["acme"], kinds: ["module_run"], fromPosition: 0n },
        { tenants: ["acme"], kinds: ["frozen_chain"], fromPosition: 0n },
      ]) {
        const records = await read(request, feed);
        expect(records.length).to.be.above(0);
        expect(records.every(({ disclosures }) => disclosures.length === 0)).to.equal(true);
        const refused = await refusalOf(read({ ...request, disclosures: true }, feed));
        expect([refused.codeName, refused.reason]).to.deep.equal(["PERMISSION_DENIED", "FEED_NOT_GRANTED"]);
        expect(refused.facts).to.deep.include({ field: "disclosures", value: "true" });
        // It would hold records of other kinds, the subject's enrolment among them.
        const proof = RecordProof.RECORD_PROOF_EVIDENCE;
        const unproved = await refusalOf(read({ ...request, proof }, feed));
        expect([unproved.codeName, unproved.reason]).to.deep.equal(["PERMISSION_DENIED", "FEED_NOT_GRANTED"]);
        expect(unproved.facts).to.deep.include({ field: "proof", value: "RECORD_PROOF_EVIDENCE" });
      }
    });

    const verifiedFrom = async (
      change: (record: CanonicalRecord) => void,
    ): Promise<readonly VerifiedEvent[]> => {
      const connection = root();
      const changing = async function* (
        ...call: Parameters<SigilConnection["canon"]["watch"]>
      ): AsyncGenerator<WatchResponse, void, undefined> {
        for await (const message of connection.canon.watch(...call)) {
          if (message.event?.$case === "record" && message.event.value.record !== undefined)
            change(message.event.value.record);
          yield message;
        }
      };
      const [events, end] = [[] as VerifiedEvent[], reader().size];
      const through = { ...connection, canon: { ...connection.canon, watch: changing } };
      const request = { ...everything, spaces, tenants: ["*"], disclosures: true, heartbeatSeconds: 1 };
      for await (const event of watchVerified(through, request, { genesis })) {
        events.push(event);
        if (event.nextPosition >= end) break;
      }
      return events;
    };

    it("is handed on once it opens what the record commits to, and a swapped or invented one is not", async () => {
      const kept = new Map<string, Uint8Array>();
      const events = await verifiedFrom(({ id, disclosures }) => void kept.set(id, disclosures));
      const found = events.find((event) => event.kind === "record" && event.record.id === auditId);
      const input = found?.kind === "record" ? found.disclosures?.["input"] : undefined;
      expect(Buffer.from(input?.raw ?? []).toString()).to.equal(disclosedCanary);
      const wrong: readonly (readonly [string, string, RegExp])[] = [
        [auditId, other, /disclosures.input|disclosures input/],
        ["quorum", auditId, /committed to by nothing/],
      ];
      for (const [id, of, rule] of wrong) {
        const swap = (record: CanonicalRecord): void => {
          if (record.id === id) record.disclosures = kept.get(of) ?? Buffer.alloc(0);
        };
        const fault: unknown = await verifiedFrom(swap).then(
          () => "handed on",
          (error: unknown) => error,
        );
        expect(fault, id).to.be.instanceOf(ProofError);
        expect(String(fault), id).to.match(rule);
      }
    });
  });

  describe("at a relay", () => {
    const untilPublished = (name: string): Promise<void> =>
      until(
        async () => BigInt((await readFileMessages(path(name))).length) === reader().size,
        `${name} published`,
      );
    const ofDecision = (messages: readonly SeenMessage[], id: string): SeenMessage =>
      messages.find(({ subject }) => String(subject).endsWith(id)) ?? expect.fail("not published");

    it("is published beside the envelope where it is told to, and no byte of it elsewhere", async () => {
      for (const name of ["opened", "views", "plain", "plain-views", "facts"]) await untilPublished(name);
      const opened = await readFileMessages(path("opened"));
      const plain = await readFileMessages(path("plain"));
      expect(ofDecision(opened, auditId)).to.include({ datacontenttype: disclosedMediaType });
      const { envelope, disclosures } = decodeDisclosed(dataOf(ofDecision(opened, auditId)));
      const whole = ofDecision(plain, auditId);
      expect(whole).to.include({ datacontenttype: envelopeMediaType });
      expect(Buffer.from(envelope).equals(Buffer.from(dataOf(whole)))).to.equal(true);
      const { raw } = disclosures["input"] as { readonly raw: Uint8Array };
      expect(Buffer.from(raw).toString()).to.equal(disclosedCanary);
      const view = ofDecision(await readFileMessages(path("views")), auditId)["data"];
      expect(view).to.have.nested.property(
        "disclosures.input.raw",
        Buffer.from(disclosedCanary).toString("base64"),
      );
      for (const name of ["plain", "plain-views", "facts"]) {
        const messages = await readFileMessages(path(name));
        expect(messages.filter(holdsCanary), name).to.deep.equal([]);
        expect(JSON.stringify(messages), name).not.to.contain(disclosedMediaType);
        expect(
          messages.some(({ data }) => typeof data === "object" && data !== null && "disclosures" in data),
        ).to.equal(false);
      }
    });

    it("comes to relays in a process of their own whose principal may see inputs; others say why they wait", async () => {
      const pem = (name: string, own: KeyObject): Promise<void> =>
        writeFile(path(name), own.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
      await pem("feed.pem", key);
      await pem("root.pem", council.deployment.privateKeys.root);
      const start = async (name: string, principal: string, lines: readonly string[] = []) => {
        const table = [
          `name = "${name}"`,
          `to = "files"`,
          `directory = ${JSON.stringify(path(name))}`,
          ...lines,
        ];
        const toml = `data = ${JSON.stringify(path(`${name}-data`))}\n[[relays]]\n${table.join("\n")}\n`;
        await writeFile(path(`${name}.toml`), toml);
        const words = ["--config", path(`${name}.toml`), "--genesis", toHex(genesis)];
        const by = ["--key", path(`${principal}.pem`), "--principal", principal];
        return running(["relay", "run", ...words, "--server", council.served.server.target, ...by], {
          cwd: path("."),
        });
      };
      await using refused = await start("refused", "feed", ["disclosures = true"]);
      await refused.printed(/a feed grant names no inputs/);
      expect(await readFileMessages(path("refused"))).to.deep.equal([]);
      await using told = await start("told", "root", ["disclosures = true"]);
      await untilPublished("told");
      const { disclosures } = decodeDisclosed(
        dataOf(ofDecision(await readFileMessages(path("told")), auditId)),
      );
      const { raw } = disclosures["input"] as { readonly raw: Uint8Array };
      expect(Buffer.from(raw).toString(), told.said()).to.equal(disclosedCanary);
      await using untold = await start("untold", "root");
      await untilPublished("untold");
      expect((await readFileMessages(path("untold"))).filter(holdsCanary), untold.said()).to.deep.equal([]);
    });
  });
});
