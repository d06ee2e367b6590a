/** The feed over a socket: every kind of record of every tenant, filtered, and verified by who trusts nobody. */
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import {
  ForkError,
  ProofError,
  RecordProof,
  RecordView,
  Space,
  Verdict,
  watchVerified,
  WatchResponse,
  type SigilConnection,
  type VerifiedEvent,
  type VerifiedWatchOptions,
  type WatchRequest,
} from "@sigil/client";
import { appendLeaves, emptyFrontier, rootOf } from "../../src/core/merkle/tree.ts";
import { signCheckpoint } from "../../src/core/merkle/checkpoint.ts";
import { toHex, type Hash } from "../../src/core/bytes.ts";
import { createSigner } from "../../src/crypto/signing/sign.ts";
import { put } from "./canon-writes.ts";
import { Council, newKey } from "./council.ts";
import { origin } from "./deployment.ts";
import { orderErasure, untilErased } from "./erased-world.ts";
import { refusalOf } from "./refusal.ts";

const everything = {
  tenants: ["*"],
  allKinds: true,
  spaces: [Space.SPACE_USER, Space.SPACE_SYSTEM],
} as const;

/** Requests as tables hold them, wrong ones among them. */
const asked = (request: object): Partial<WatchRequest> => request;

describe("the feed", function () {
  this.slow(20_000);
  let council: Council;
  let genesis: Uint8Array = new Uint8Array(0);
  const root = (): SigilConnection => council.as("root");
  const beta = (): SigilConnection =>
    council.served.by("operator-beta", council.deployment.privateKeys.operator);
  const size = (): bigint => council.served.server.ledger.reader.size;

  /** Records of a watch from 0 up to what there is now. */
  const read = async (request: object, by = root()) => {
    const [records, end] = [[] as { kind: string; tenant: string; id: string }[], size()];
    for await (const { event, nextPosition } of by.canon.watch(
      asked({ fromPosition: 0n, heartbeatSeconds: 1, ...request }),
    )) {
      if (event?.$case === "record") {
        const { kind = "", tenant = "", id = "" } = event.value.record ?? {};
        records.push({ kind, tenant, id });
      }
      if (nextPosition >= end) break;
    }
    return records;
  };

  /** Messages as the server sends them, up to what there is now. */
  const messagesOf = async (request: object): Promise<readonly WatchResponse[]> => {
    const [messages, end] = [[] as WatchResponse[], size()];
    const proved = {
      proof: RecordProof.RECORD_PROOF_INCLUSION,
      fromPosition: 0n,
      heartbeatSeconds: 1,
      ...request,
    };
    for await (const message of root().canon.watch(asked(proved))) {
      messages.push(message);
      if (message.nextPosition >= end) break;
    }
    return messages;
  };

  /** A server that sends these. */
  const sending = (messages: readonly WatchResponse[]): Pick<SigilConnection, "canon" | "keys"> => ({
    keys: root().keys,
    canon: {
      ...root().canon,
      async *watch() {
        yield* messages;
      },
    },
  });

  const verified = async (
    messages: readonly WatchResponse[],
    options: Partial<VerifiedWatchOptions> = {},
  ): Promise<readonly VerifiedEvent[]> => {
    const events: VerifiedEvent[] = [];
    for await (const event of watchVerified(sending(messages), {}, { genesis, ...options }))
      events.push(event);
    return events;
  };

  const faultOf = async (verifying: Promise<unknown>): Promise<ProofError> => {
    try {
      await verifying;
    } catch (error) {
      if (error instanceof ProofError) return error;
      throw error;
    }
    throw new Error("it was accepted");
  };

  /** One message changed. @param at counts messages of that case. */
  const changed = (
    messages: readonly WatchResponse[],
    wanted: "record" | "heartbeat",
    at: number,
    change: (message: WatchResponse) => void,
  ): readonly WatchResponse[] => {
    const copies = messages.map((message) => WatchResponse.decode(WatchResponse.encode(message).finish()));
    const found = copies.filter(({ event }) => event?.$case === wanted)[at];
    if (found === undefined) throw new Error("there is no such message");
    change(found);
    return copies;
  };

  before(async () => {
    council = await Council.open({ otherTenants: ["beta"] });
    genesis = (await council.served.server.ledger.reader.readAt(0n)).hash;
    for (let made = 0; made < 5; made += 1) {
      await put(council.as("operator"), `a/${made}`, { made });
      await put(beta(), `b/${made}`, { made }, { kind: "invoice" });
    }
    await council.as("guest").trust.check({ action: "write", target: "secret/keys" });
  });
  after(() => council[Symbol.asyncDispose]());

  it("has every kind of record of every tenant, once and in order", async () => {
    const records = await read(everything);
    expect(records.length).to.equal(Number(size()));
    expect(new Set(records.map(({ tenant }) => tenant))).to.include.all.keys(
      "system",
      "acme",
      "beta",
      "public",
    );
    expect(new Set(records.map(({ kind }) => kind))).to.include.all.keys("genesis", "note", "frozen_chain");
  });

  it("leaves decisions out unless they are asked for, as it always has", async () => {
    const listed = await read({ tenants: ["*"] });
    expect(listed.some(({ kind }) => kind === "frozen_chain")).to.equal(false);
    expect(listed.map(({ id }) => id)).to.include.members(["a/0", "b/4"]);
    expect(await read({ filter: { kind: "frozen_chain" } }, council.as("observer"))).to.deep.equal([]);
    const old = await read({ filter: { kind: "note" } }, council.as("observer"));
    expect(old.map(({ id }) => id)).to.deep.equal(["a/0", "a/1", "a/2", "a/3", "a/4"]);
  });

  it("is filtered by tenants, kinds, spaces, verdicts and who acted", async () => {
    const invoices = await read({ tenants: ["beta", "acme"], kinds: ["invoice", "principal"] });
    expect(invoices.map(({ id }) => id)).to.deep.equal(["b/0", "b/1", "b/2", "b/3", "b/4"]);
    const own = await read({ kinds: ["note", "none"] }, council.as("observer"));
    expect(own.every(({ tenant, kind }) => tenant === "acme" && kind === "note")).to.equal(true);
    expect(own.length).to.equal(5);
    const system = await read({ spaces: [Space.SPACE_SYSTEM], kinds: ["quorum"] }, council.as("observer"));
    expect(system.map(({ id }) => id)).to.deep.equal(["quorum"]);
    const denied = await read({
      tenants: ["*"],
      kinds: ["frozen_chain"],
      verdicts: [Verdict.VERDICT_DENY, Verdict.VERDICT_REVIEW],
    });
    expect(denied.map(({ tenant }) => tenant)).to.deep.equal(["public"]);
    const who = await read({ tenants: ["*"], allKinds: true, principals: ["operator-beta"] });
    expect(who.filter(({ kind }) => kind === "invoice").length).to.equal(5);
    expect(who.every(({ tenant }) => tenant === "beta")).to.equal(true);
  });

  it("refuses fields that contradict each other, naming the field and the rule", async () => {
    const refused: readonly (readonly [object, string])[] = [
      [{ tenants: ["*", "acme"] }, "tenants[0]"],
      [{ tenants: ["acme"], filter: { tenant: "acme" } }, "tenants"],
      [{ tenants: ["Acme"] }, "tenants[0]"],
      [{ kinds: [""] }, "kinds[0]"],
      [{ kinds: ["note"], filter: { kind: "note" } }, "kinds"],
      [{ kinds: ["note"], allKinds: true }, "all_kinds"],
      [{ spaces: [0] }, "spaces[0]"],
      [{ spaces: [Space.SPACE_USER], filter: { space: Space.SPACE_USER } }, "spaces"],
      [{ principals: [""] }, "principals[0]"],
      [{ principals: Array.from({ length: 65 }, () => "ann") }, "principals"],
      [{ verdicts: [Verdict.VERDICT_DENY] }, "verdicts"],
      [{ verdicts: [0], allKinds: true }, "verdicts[0]"],
      [{ tenants: ["acme"], spaces: [Space.SPACE_SYSTEM] }, "tenant"],
      [{ proof: RecordProof.RECORD_PROOF_INCLUSION, view: RecordView.RECORD_VIEW_METADATA }, "proof"],
      [{ proof: 9 }, "proof"],
      [{ knownSize: 1n }, "known_size"],
    ];
    for (const [request, field] of refused) {
      const { codeName, fieldViolations: fields } = await refusalOf(
        root().canon.watch(asked(request)).next(),
      );
      expect(
        [codeName, fields[0]?.field],
        JSON.stringify(request, (_, value) => String(value)),
      ).to.deep.equal(["INVALID_ARGUMENT", field]);
    }
    const ahead = { proof: RecordProof.RECORD_PROOF_INCLUSION, knownSize: size() + 1n };
    expect((await refusalOf(root().canon.watch(asked(ahead)).next())).codeName).to.equal("OUT_OF_RANGE");
  });

  it("is verified as it is read, whatever is watched, and goes on from a checkpoint that was kept", async () => {
    for (const request of [everything, { filter: { tenant: "acme" } }, { tenants: ["acme", "beta"] }]) {
      const messages = await messagesOf(request);
      const events = await verified(messages);
      expect(events[0]?.kind).to.equal("checkpoint");
      expect(events.filter(({ kind }) => kind === "record").length).to.equal(
        messages.filter(({ event }) => event?.$case === "record").length,
      );
    }
    const kept = (await verified(await messagesOf(everything))).findLast(({ kind }) => kind === "checkpoint");
    if (kept?.kind !== "checkpoint") throw new Error("there is no checkpoint");
    await put(council.as("operator"), "a/later", { made: 9 });
    const known = { checkpoint: kept.checkpoint, ...kept.tree };
    const request = { ...everything, fromPosition: kept.tree.size };
    const seen: string[] = [];
    for await (const event of watchVerified(root(), asked(request), { genesis, known })) {
      if (event.kind !== "record") continue;
      seen.push(event.record.id);
      if (event.record.id === "a/later") break;
    }
    expect(seen.at(-1)).to.equal("a/later");
  });

  it("proves records that are committed while it is watched, after the key was replaced too", async () => {
    const request = asked({ tenants: ["acme"], kinds: ["note"], fromPosition: size() });
    const watching = watchVerified(root(), request, { genesis });
    expect((await watching.next()).value?.kind).to.equal("checkpoint");
    const next = async (): Promise<string> => {
      for (;;) {
        const { value } = await watching.next();
        if (value?.kind === "record") return value.record.id;
      }
    };
    const first = next();
    await put(council.as("operator"), "a/live", {});
    expect(await first).to.equal("a/live");
    const second = next();
    await root().keys.rotateKey({ role: 1 });
    await root().keys.rotateKey({ role: 2 });
    await put(council.as("operator"), "a/rotated", {});
    expect(await second).to.equal("a/rotated");
    await watching.return();
  });

  it("rebuilds the tree and finds what was left out", async () => {
    const empty = { size: 0n, peaks: [] };
    const messages = await messagesOf(everything);
    const events = await verified(messages, { rebuild: empty });
    expect(events.filter(({ kind }) => kind === "record").length).to.equal(Number(size()));
    let left = 0;
    const without = messages.filter(({ event }) => event?.$case !== "record" || (left += 1) !== 7);
    expect((await faultOf(verified(without, { rebuild: empty }))).message).to.contain(
      "position 6 was left out",
    );
    // Without the tree nobody can tell: a filter may have left it out.
    expect((await verified(without)).length).to.equal(events.length - 1);
  });

  it("hands on nothing that was changed, moved, repeated or signed by somebody else", async () => {
    const messages = await messagesOf(everything);
    const flip = (bytes: Uint8Array): void => void (bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1);
    const proof = changed(messages, "record", 3, (message) => flip(message.proof?.hashes[0] as Uint8Array));
    expect((await faultOf(verified(proof))).message).to.contain("proof must lead to the root");
    const short = changed(messages, "record", 3, (message) => void message.proof?.hashes.pop());
    expect((await faultOf(verified(short))).message).to.contain("exactly");
    const record = changed(messages, "record", 3, ({ event }) => {
      if (event?.$case === "record") flip(event.value.record?.envelope as Uint8Array);
    });
    expect(await faultOf(verified(record))).to.be.instanceOf(ProofError);
    const moved = changed(messages, "record", 3, ({ event }) => {
      if (event?.$case === "record" && event.value.record !== undefined) event.value.record.position = 4n;
    });
    expect(await faultOf(verified(moved))).to.be.instanceOf(ProofError);
    const repeated = messages.flatMap((message) =>
      message.event?.$case === "record" ? [message, message] : [message],
    );
    expect((await faultOf(verified(repeated))).message).to.contain("is not the next of the watch");
    const stranger = createSigner(newKey());
    const note = changed(messages, "heartbeat", 0, () => {});
    const tree = (await verified(messages)).find(({ kind }) => kind === "checkpoint");
    if (tree?.kind !== "checkpoint") throw new Error("there is no checkpoint");
    const forged = await signCheckpoint({ origin, ...tree.tree, root: tree.tree.root as Hash }, stranger);
    const { event } = note[0] ?? {};
    if (event?.$case === "heartbeat") event.value.checkpoint = forged;
    expect((await faultOf(verified(note))).message).to.contain("must be signed by the log's key");
    expect(await faultOf(verified(messages.slice(1)))).to.be.instanceOf(ProofError);
  });

  it("tells a ledger with two pasts by both of its checkpoints", async () => {
    const leaves = Array.from({ length: Number(size()) }, () => new Uint8Array(32).fill(7) as Hash);
    const other = rootOf(appendLeaves(emptyFrontier, leaves).frontier);
    const messages = await messagesOf(everything);
    // As an earlier watch would have kept it of a server that showed it another past.
    const checkpoint = await signCheckpoint({ origin, size: size(), root: other }, createSigner(newKey()));
    const known = { checkpoint, size: size(), root: other };
    const fault = await faultOf(verified(messages, { known }));
    expect(fault).to.be.instanceOf(ForkError);
    expect(fault.message).to.contain(toHex(other)).and.contain("does not begin with");
    expect((fault as ForkError).known.checkpoint).to.equal(checkpoint);
    expect((fault as ForkError).newer.checkpoint).to.contain(origin);
  });

  it("gives of an erased tenant's records the position and the leaf, to whoever reads everything", async () => {
    const mine = (await read({ tenants: ["*"], allKinds: true })).filter(
      ({ tenant }) => tenant === "acme",
    ).length;
    await council.approve(await orderErasure(council), "ann", "ben");
    await untilErased(council);
    const messages = await messagesOf(everything);
    const events = await verified(messages, { rebuild: { size: 0n, peaks: [] } });
    const erased = events.filter(({ kind }) => kind === "erased");
    expect(erased.length).to.be.at.least(mine);
    const text = JSON.stringify(messages.map((message) => WatchResponse.toJSON(message)));
    expect(text).to.not.contain(Buffer.from('"a/1"').toString()).and.not.contain('"acme"');
    const filtered = await messagesOf({ ...everything, kinds: ["note"], allKinds: false });
    expect(filtered.some(({ event }) => event?.$case === "erased")).to.equal(false);
    const named = root()
      .canon.watch(asked({ tenants: ["acme", "beta"], fromPosition: 0n }))
      .next();
    expect((await refusalOf(named)).reason).to.equal("ERASED");
  });
});
