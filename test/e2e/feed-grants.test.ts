/** Who may read the feed: a grant that a quorum gives, what it opens and what it closes, and how it goes. */
import type { KeyObject } from "node:crypto";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import {
  SigilError,
  Space,
  type SigilConnection,
  type WatchRequest,
  type WatchResponse,
} from "@sigil/client";
import { put } from "./canon-writes.ts";
import { Council, json, newKey, tombstone } from "./council.ts";
import { inspect } from "./erased-world.ts";
import { refusalOf } from "./refusal.ts";

type Watching = AsyncGenerator<WatchResponse, void, undefined>;
type Grant = Partial<Record<"tenants" | "kinds" | "spaces", readonly string[]>>;

const nextOf = async (watching: Watching): Promise<WatchResponse> => {
  const { value } = await watching.next();
  if (value === undefined) throw new Error("the watch ended");
  return value;
};

/** How many messages come before it ends, and what it ends with. */
const endOf = async (watching: Watching): Promise<SigilError> => {
  try {
    for (;;) await nextOf(watching);
  } catch (error) {
    if (error instanceof SigilError) return error;
    throw error;
  }
};

describe("a feed grant", function () {
  this.slow(20_000);
  let council: Council;
  const keys = new Map<string, KeyObject>();
  const by = (id: string): SigilConnection => council.served.by(id, keys.get(id) ?? newKey());
  const grant = async (id: string, asked: Grant, proposer?: SigilConnection): Promise<void> => {
    const content = json({ tenants: ["*"], kinds: ["*"], spaces: ["*"], ...asked });
    await council.approve(await council.propose({ id: `feed_grant/${id}`, content }, proposer), "ann", "ben");
  };
  const watch = (id: string, request: Partial<WatchRequest>): Watching => by(id).canon.watch(request);
  const beta = (): SigilConnection =>
    council.served.by("operator-beta", council.deployment.privateKeys.operator);

  before(async () => {
    const also = ["relay", "billing", "narrow", "doomed", "stopped", "promoted"].map((id) => {
      const key = newKey();
      keys.set(id, key);
      return { id, loa: "observer", tenant: "relays", keys: [key] } as const;
    });
    council = await Council.open({ otherTenants: ["beta"], also });
    await put(council.as("operator"), "a/1", { n: 1 });
    await put(beta(), "b/1", { n: 2 }, { kind: "invoice" });
  });
  after(() => council[Symbol.asyncDispose]());

  it("is refused to whoever is no active Observer that a quorum enrolled", async () => {
    const content = json({ tenants: ["*"], kinds: ["*"], spaces: ["*"] });
    const refused = async (id: string, asked = content) => {
      const { codeName, fieldViolations: fields } = await refusalOf(council.propose({ id, content: asked }));
      return [codeName, fields[0]?.field];
    };
    for (const name of ["nobody", "operator", "mentor", "root", "witness/ann", "acme/ann"]) {
      expect(await refused(`feed_grant/${name}`), name).to.deep.equal(["INVALID_ARGUMENT", "id"]);
    }
    const wrong = json({ tenants: ["Acme"], kinds: ["*"], spaces: ["*"] });
    expect(await refused("feed_grant/relay", wrong)).to.deep.equal([
      "INVALID_ARGUMENT",
      "payload.tenants[0]",
    ]);
    const written = put(council.as("operator"), "feed_grant/relay", {}, { kind: "feed_grant" });
    expect((await refusalOf(written)).reason).to.equal("QUORUM_NEEDED");
  });

  it("lets its principal read every record of every tenant, and nothing else", async () => {
    await grant("relay", {});
    const { ledgerPosition } = await put(beta(), "b/2", { n: 3 });
    const spaces = [Space.SPACE_USER, Space.SPACE_SYSTEM];
    const everything = { tenants: ["*"], allKinds: true, spaces, fromPosition: 0n };
    const watching = watch("relay", everything);
    const kinds = new Set<string>();
    for (let next = 0n; next <= ledgerPosition;) {
      const { event, nextPosition } = await nextOf(watching);
      if (event?.$case !== "record") continue;
      expect(event.value.record?.position).to.equal(next);
      kinds.add(event.value.record?.kind ?? "");
      next = nextPosition;
    }
    await watching.return();
    expect([...kinds]).to.include.members(["genesis", "frozen_chain", "note", "invoice", "feed_grant"]);
    const relay = by("relay");
    const closed: Readonly<Record<string, () => Promise<unknown>>> = {
      get: () => relay.canon.getRecord({ id: "quorum", space: Space.SPACE_SYSTEM }),
      list: () => relay.canon.listRecords({}),
      history: () => relay.canon.listHistory({ id: "a/1" }),
      system: () => relay.canon.getSystemRecord({ id: "quorum" }),
      proposals: () => relay.canon.listProposals({}),
      chains: () => relay.audit.listFrozenChains({}),
      model: () => relay.trust.getActiveModel({}),
      write: () => put(relay, "r/1", {}),
      others: () => relay.trust.check({ action: "read", target: "public/docs", subject: "operator" }),
    };
    for (const [name, call] of Object.entries(closed)) {
      expect((await refusalOf(call())).reason, name).to.equal("LEVEL_TOO_LOW");
    }
    const { principal } = await relay.principals.getPrincipal({});
    expect(principal?.feedGrant).to.deep.include({
      recordId: "feed_grant/relay",
      withdrawn: false,
      tenants: ["*"],
    });
  });

  it("opens what it names and refuses what lies beyond, naming it", async () => {
    await grant("billing", { tenants: ["beta"], kinds: ["invoice"], spaces: ["user"] });
    const watching = watch("billing", { tenants: ["beta"], kinds: ["invoice"], fromPosition: 0n });
    await nextOf(watching);
    const { event } = await nextOf(watching);
    expect(event?.$case === "record" && event.value.record?.id).to.equal("b/1");
    await watching.return();
    const beyond: readonly (readonly [Partial<WatchRequest>, string, string])[] = [
      [{ tenants: ["acme"], kinds: ["invoice"] }, "TENANT_FORBIDDEN", "acme"],
      [{ tenants: ["beta", "acme"], kinds: ["invoice"] }, "TENANT_FORBIDDEN", "acme"],
      [{ tenants: ["*"], kinds: ["invoice"] }, "TENANT_FORBIDDEN", "*"],
      // Its own tenant, which the grant does not name either.
      [{ kinds: ["invoice"] }, "TENANT_FORBIDDEN", "relays"],
      [{ tenants: ["beta"], kinds: ["note"] }, "FEED_NOT_GRANTED", "note"],
      [{ tenants: ["beta"] }, "FEED_NOT_GRANTED", "*"],
      [{ tenants: ["beta"], allKinds: true }, "FEED_NOT_GRANTED", "*"],
      [
        { tenants: ["beta"], kinds: ["invoice"], principals: ["operator-beta"] },
        "FEED_NOT_GRANTED",
        "frozen_chain",
      ],
      [{ kinds: ["invoice"], spaces: [Space.SPACE_SYSTEM] }, "FEED_NOT_GRANTED", "system"],
    ];
    for (const [request, reason, named] of beyond) {
      const refused = await endOf(watch("billing", request));
      expect([refused.codeName, refused.reason], named).to.deep.equal(["PERMISSION_DENIED", reason]);
      expect(refused.message).to.contain(`"${named}"`);
    }
  });

  it("is needed by everybody but Root of tenant system, to look beyond its own tenant", async () => {
    const asked = async (connection: SigilConnection, request: Partial<WatchRequest>) =>
      (await endOf(connection.canon.watch(request))).reason;
    for (const tenants of [["*"], ["beta"], ["acme", "beta"], ["system"]]) {
      expect(await asked(council.as("observer"), { tenants }), tenants.join()).to.equal("TENANT_FORBIDDEN");
      expect(await asked(council.as("mentor"), { tenants, allKinds: true })).to.equal("TENANT_FORBIDDEN");
      expect(await asked(council.as("guest"), { tenants })).to.equal("LEVEL_TOO_LOW");
    }
    const own = council.as("observer").canon.watch({ kinds: ["frozen_chain"], fromPosition: 0n });
    await nextOf(own);
    for (;;) {
      const { event } = await nextOf(own);
      if (event?.$case !== "record") continue;
      expect(event.value.record).to.include({ tenant: "acme", kind: "frozen_chain" });
      break;
    }
    await own.return();
  });

  it("ends a watch with its withdrawal by Root alone, and gives nothing back", async () => {
    await grant("doomed", { tenants: ["acme"], kinds: ["note"], spaces: ["user"] });
    const request = { tenants: ["acme"], kinds: ["note"] };
    const watching = watch("doomed", request);
    await nextOf(watching);
    for (const level of ["observer", "operator", "mentor"] as const) {
      const refused = await refusalOf(
        council.as(level).principals.withdrawFeedGrant({ principal: "doomed" }),
      );
      expect(refused.reason, level).to.equal("LEVEL_TOO_LOW");
    }
    const ended = endOf(watching);
    const withdrawn = await council.as("root").principals.withdrawFeedGrant({ principal: "doomed" });
    expect(withdrawn).to.include({ recordId: "feed_grant/doomed", alreadyWithdrawn: false });
    await put(council.as("operator"), "a/2", { n: 4 });
    expect((await ended).reason).to.equal("LEVEL_TOO_LOW");
    expect((await endOf(watch("doomed", request))).reason).to.equal("LEVEL_TOO_LOW");
    const reads = by("doomed").canon.getRecord({ id: "quorum", space: Space.SPACE_SYSTEM });
    expect((await refusalOf(reads)).reason, "a withdrawal raises nothing").to.equal("LEVEL_TOO_LOW");
    const again = await council.as("root").principals.withdrawFeedGrant({ principal: "doomed" });
    expect(again).to.deep.include({
      alreadyWithdrawn: true,
      ledgerPosition: withdrawn.ledgerPosition,
      auditId: "",
    });
    const unknown = council.as("root").principals.withdrawFeedGrant({ principal: "observer" });
    expect((await refusalOf(unknown)).codeName).to.equal("NOT_FOUND");
    await grant("doomed", { tenants: ["beta"], kinds: ["*"], spaces: ["user"] });
    const back = watch("doomed", { tenants: ["beta"] });
    await nextOf(back);
    await back.return();
  });

  it("ends a watch when it changes, and when its principal is suspended", async () => {
    await grant("narrow", { tenants: ["acme", "beta"] });
    const watching = watch("narrow", { tenants: ["acme", "beta"], kinds: ["note"] });
    await nextOf(watching);
    const narrowed = endOf(watching);
    await grant("narrow", { tenants: ["beta"] });
    await put(council.as("operator"), "a/3", { n: 5 });
    expect((await narrowed).codeName).to.equal("UNAUTHENTICATED");
    await grant("stopped", {});
    const stopped = watch("stopped", { tenants: ["*"], kinds: ["note"] });
    await nextOf(stopped);
    const ended = endOf(stopped);
    await council.as("root").principals.suspendPrincipal({ principal: "stopped", reason: "stolen" });
    await put(council.as("operator"), "a/4", { n: 6 });
    expect((await ended).reason).to.equal("PRINCIPAL_SUSPENDED");
  });

  it("means nothing to a principal that a quorum raised afterwards", async () => {
    await grant("promoted", {});
    const { principal } = await council.as("root").principals.getPrincipal({ principal: "promoted" });
    const [key] = principal?.keys ?? [];
    const payload = {
      public_keys: [Buffer.from(key?.publicKey ?? []).toString("base64")],
      loa: "operator",
      tenant: "relays",
      active: true,
    };
    const raised = await council.propose({ id: "principal/promoted", content: json(payload) });
    await council.approve(raised, "ann", "ben");
    expect((await endOf(watch("promoted", { tenants: ["*"] }))).reason).to.equal("TENANT_FORBIDDEN");
    await put(by("promoted"), "r/1", {});
  });

  it("leaves a ledger that holds by the rules of the quorum, withdrawn by one or by all", async () => {
    const ended = await council.propose({ id: "feed_grant/narrow", content: tombstone });
    await council.approve(ended, "ann", "ben");
    expect((await endOf(watch("narrow", { tenants: ["beta"] }))).reason).to.equal("LEVEL_TOO_LOW");
    await council.restart();
    expect((await endOf(watch("narrow", { tenants: ["beta"] }))).reason).to.equal("LEVEL_TOO_LOW");
    const { directory } = council.deployment;
    await council.served[Symbol.asyncDispose]();
    expect((await inspect(directory)).problems).to.deep.equal([]);
  });
});
